/** Two people in two tabs of a real browser, on a real server that is killed under them. */
import { type Browser, type Locator, type Page, expect, test } from "@playwright/test";
import { Server } from "./server.ts";

/** What one tab does must be seen in the other within this time. */
const SOON = { timeout: 1000 };

/** A server that comes back is found again within this time. */
const BACK = { timeout: 20_000 };

let server: Server;

test.beforeEach(async () => {
  server = new Server();
  await server.start();
});
test.afterEach(() => server.remove());

function messages(page: Page, text: string | RegExp): Locator {
  return page.getByTestId("message").filter({ hasText: text });
}

function dot(page: Page): Locator {
  return page.getByTestId("connection").filter({ visible: true });
}

async function open(browser: Browser, person: string): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  await page.goto(server.as(person));
  await expect(dot(page)).toHaveAttribute("data-state", "online");
  return page;
}

async function write(page: Page, text: string): Promise<void> {
  const box = page.getByRole("textbox", { name: /^Message to/ });
  await box.fill(text);
  await box.press("Enter");
}

test("message, typing and reply appear in the other tab within a second", async ({ browser }) => {
  const [dana, ines] = [await open(browser, "driver-1"), await open(browser, "dispatcher-1")];
  await expect(messages(ines, "UN 1203")).toBeVisible();

  const box = dana.getByRole("textbox", { name: "Message to General" });
  await box.pressSequentially("Smoke at gate 4");
  await expect(ines.getByText("Dana Reyes is typing…")).toBeVisible(SOON);
  await box.press("Enter");
  await expect(messages(ines, "Smoke at gate 4")).toBeVisible(SOON);
  await expect(messages(dana, "Smoke at gate 4")).toHaveAttribute("data-status", "sent", SOON);
  await expect(ines.getByText("Dana Reyes is typing…")).toBeHidden(SOON);

  const asked = messages(ines, "Smoke at gate 4");
  await asked.hover();
  await asked.getByRole("button", { name: "Reply to Dana Reyes" }).click();
  await write(ines, "On my way");
  const reply = messages(dana, "On my way");
  await expect(reply).toBeVisible(SOON);
  await expect(reply.locator(".quote")).toContainText("Smoke at gate 4");
  await expect(messages(dana, "Smoke at gate 4").and(dana.locator(":not(:has(.quote))"))).toHaveCount(1);
});

test("a kill of the server loses nothing and repeats nothing", async ({ browser }) => {
  const [dana, ines] = [await open(browser, "driver-1"), await open(browser, "dispatcher-1")];
  const pages = [dana, ines];
  const written: string[] = [];
  for (let round = 0; round < 3; round += 1) {
    for (let n = 0; n < 5; n += 1) {
      for (const [who, page] of [["dana", dana] as const, ["ines", ines] as const]) {
        written.push(`${who} ${round}.${n}.`);
        await write(page, `${who} ${round}.${n}.`);
      }
    }
    // Whatever is on its way now is cut off.
    await server.kill();
    for (const page of pages) await expect(dot(page)).toHaveAttribute("data-state", "waiting");
    written.push(`offline ${round}.`);
    await write(dana, `offline ${round}.`);
    await expect(messages(dana, `offline ${round}.`)).toHaveAttribute("data-status", "pending");
    if (round === 0) await dana.screenshot({ path: "e2e/artifacts/not-connected.png" });
    await server.start();
    for (const page of pages) await expect(dot(page)).toHaveAttribute("data-state", "online", BACK);
  }
  for (const page of pages) {
    for (const text of written) await expect(messages(page, text), text).toHaveCount(1, BACK);
    await expect(page.locator('[data-testid="message"]:not([data-status="sent"])')).toHaveCount(0, BACK);
  }
  const order = (page: Page): Promise<string[]> => page.locator(".content").allTextContents();
  expect(await order(dana)).toEqual(await order(ines));
  // What a fresh tab reads from history is the same again.
  const marek = await open(browser, "driver-2");
  await expect(messages(marek, written.at(-1) ?? "")).toHaveCount(1);
  expect(await order(marek)).toEqual(await order(dana));
});

test("unsent messages survive a reload of the page", async ({ browser }) => {
  const dana = await open(browser, "driver-1");
  await server.kill();
  await expect(dot(dana)).toHaveAttribute("data-state", "waiting");
  await write(dana, "Written in a tunnel");
  await server.start();
  await expect(messages(dana, "Written in a tunnel")).toHaveAttribute("data-status", "sent", BACK);
  await dana.reload();
  await expect(messages(dana, "Written in a tunnel")).toHaveCount(1);
  await expect(messages(dana, "Written in a tunnel")).toHaveAttribute("data-status", "sent");
});

test("another channel counts what is unread, and reading older pages keeps the place", async ({ browser }) => {
  const [dana, ines] = [await open(browser, "driver-1"), await open(browser, "dispatcher-1")];
  await ines.getByRole("button", { name: "Emergency" }).click();
  await expect(ines.getByRole("main", { name: "Emergency" })).toBeVisible();
  for (let n = 0; n < 60; n += 1) await write(dana, `line ${n}.`);
  await expect(ines.getByRole("button", { name: /General.*60 unread/ })).toBeVisible(BACK);
  await ines.screenshot({ path: "e2e/artifacts/emergency.png" });
  const tom = await open(browser, "safety-1");
  await expect(messages(tom, "line 59.")).toBeInViewport();
  await expect(messages(tom, "UN 1203")).toHaveCount(0);
  await tom.getByRole("button", { name: "Load older messages" }).click();
  await expect(messages(tom, "UN 1203")).toHaveCount(1);
  await expect(messages(tom, "line 10.")).toBeInViewport();
});

test("a person is chosen, and a wrong one is named", async ({ page }) => {
  await page.goto(server.as("nobody"));
  await expect(page.getByRole("alert")).toContainText("nobody");
  await page.screenshot({ path: "e2e/artifacts/chooser.png" });
  await page.getByRole("link", { name: /Marek Novak/ }).click();
  await expect(dot(page)).toHaveAttribute("data-state", "online");
  await expect(page.getByText("Marek Novak").first()).toBeVisible();
});

for (const scheme of ["light", "dark"] as const) {
  test(`the page is usable at phone width, ${scheme}`, async ({ browser }) => {
    const viewport = { width: 360, height: 720 };
    const page = await (await browser.newContext({ viewport, colorScheme: scheme })).newPage();
    await page.goto(server.as("driver-1"));
    await expect(dot(page)).toHaveAttribute("data-state", "online");
    await write(page, `A long word: ${"x".repeat(200)}`);
    await expect(messages(page, "A long word")).toHaveAttribute("data-status", "sent");
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(sideways, "nothing is wider than the screen").toBeLessThanOrEqual(0);
    await page.screenshot({ path: `e2e/artifacts/phone-${scheme}.png` });
    await page.getByRole("button", { name: "Show channels" }).click();
    await page.getByRole("button", { name: "Emergency" }).click();
    await expect(page.getByRole("heading", { name: "Emergency" })).toBeVisible();
    await page.setViewportSize({ width: 1100, height: 760 });
    await page.getByRole("button", { name: "General" }).click();
    await page.screenshot({ path: `e2e/artifacts/desk-${scheme}.png` });
  });
}
