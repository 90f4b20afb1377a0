/** The page as people see it: wide and narrow, light and dark, by keyboard. Leaves pictures in `artifacts`. */
import { type Browser, type Page, expect, test } from "@playwright/test";
import { SOON, box, dot, messages, signIn, trouble, write } from "./people.ts";
import { Server } from "./server.ts";

const PHONE = { width: 360, height: 720 };

type Scheme = "light" | "dark";

let server: Server;

test.beforeEach(async () => {
  server = new Server();
  await server.start();
});
test.afterEach(() => server.remove());

async function open(browser: Browser, colorScheme: Scheme, viewport = { width: 1100, height: 760 }): Promise<Page> {
  const context = await browser.newContext({ viewport, colorScheme, reducedMotion: "reduce" });
  return signIn(context, server, "driver-1");
}

async function picture(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `e2e/artifacts/${name}.png`, animations: "disabled" });
}

async function fitsTheWidth(page: Page): Promise<void> {
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(sideways, "nothing is wider than the screen").toBeLessThanOrEqual(0);
}

for (const scheme of ["light", "dark"] as const) {
  test(`the page at desk width, ${scheme}`, async ({ browser }) => {
    const dana = await open(browser, scheme);
    const ines = await signIn(await browser.newContext(), server, "dispatcher-1");
    await write(dana, "Parked at the weighbridge.");
    await write(dana, "Papers are with the gatekeeper.\nI wait for your sign.");
    const asked = messages(dana, "Copy. Leaving the depot");
    await asked.hover();
    await asked.getByRole("button", { name: /^Reply/ }).click();
    await box(dana).fill("Correction: ETA is 11:55 now.");
    await box(ines).pressSequentially("Thanks");
    await expect(dana.getByText("Ines Okafor is typing…")).toBeVisible(SOON);
    await messages(dana, "Papers are with").hover();
    await picture(dana, `desk-${scheme}`);

    await write(ines, "Thanks");
    await ines.getByRole("button", { name: "Emergency" }).click();
    await write(ines, "Spill at the weighbridge, UN 1203, about 20 litres.");
    await expect(dana.getByRole("button", { name: /Emergency.*1 unread/ })).toBeVisible(SOON);
    await picture(dana, `desk-unread-${scheme}`);
    await dana.getByRole("button", { name: "Emergency" }).click();
    await write(dana, "I see it. Engine is off, extinguisher is in hand.");
    await expect(messages(dana, "I see it")).toHaveAttribute("data-status", "sent");
    await picture(dana, `emergency-${scheme}`);

    await server.kill();
    await write(dana, "Fire brigade is called.");
    await expect(trouble(dana)).toBeVisible();
    await picture(dana, `not-connected-${scheme}`);
  });

  test(`the page is usable at phone width, ${scheme}`, async ({ browser }) => {
    const page = await open(browser, scheme, PHONE);
    await fitsTheWidth(page);
    await picture(page, `phone-${scheme}`);
    await write(page, `A long word: ${"x".repeat(200)}`);
    await expect(messages(page, "A long word")).toHaveAttribute("data-status", "sent");
    await fitsTheWidth(page);
    await page.getByRole("button", { name: "Show channels" }).click();
    await expect(page.getByRole("button", { name: "General" })).toBeFocused();
    await expect(dot(page)).toHaveAttribute("data-state", "online");
    await fitsTheWidth(page);
    await picture(page, `phone-channels-${scheme}`);
    await page.getByRole("button", { name: "Emergency" }).click();
    await expect(page.getByRole("heading", { name: "Emergency" })).toBeFocused();
    await picture(page, `phone-emergency-${scheme}`);
    await server.kill();
    await expect(trouble(page)).toBeVisible();
    await fitsTheWidth(page);
    await picture(page, `phone-not-connected-${scheme}`);
  });
}

/** A conversation in which everything happened that can happen to a message. */
async function eventful(dana: Page, browser: Browser): Promise<void> {
  const ines = await signIn(await browser.newContext(), server, "dispatcher-1");
  const of = async (page: Page, text: string, name: string): Promise<void> => {
    await messages(page, text).hover();
    await messages(page, text).getByRole("button", { name: /and more$/ }).click();
    await page.getByRole("dialog").getByRole("button", { name, exact: true }).click();
  };
  await write(dana, "Gate 4 is closed, use gate 2 until noon.");
  await write(dana, "Sent by mistake");
  await write(dana, "Parked at the weighbridge, papers are with the gatekeeper.");
  await expect(messages(ines, "Parked at")).toBeVisible(SOON);
  await of(ines, "Gate 4 is closed", "Pin");
  await of(ines, "UN 1203", "Pin");
  await of(dana, "Sent by mistake", "Delete…");
  await dana.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  for (const reaction of ["👍", "✅"]) await of(ines, "Parked at", `React with ${reaction}`);
  await of(dana, "Parked at", "React with 👍");
  await of(ines, "Parked at", "Reply in thread");
  await ines.getByRole("textbox", { name: "Reply in the thread" }).fill("Thanks. Wait for the green light, then go to ramp 3.");
  await ines.getByRole("textbox", { name: "Reply in the thread" }).press("Enter");
  await of(dana, "Gate 4 is closed", "Edit");
  await dana.getByRole("textbox", { name: "Edit the message" }).fill("Gate 4 is closed, use gate 2 until 13:00.");
  await dana.keyboard.press("Enter");
  await expect(dana.getByText("(edited)")).toBeVisible();
  await expect(messages(dana, "Parked at").first().getByRole("button", { name: "1 reply" })).toBeVisible(SOON);
}

for (const [width, viewport] of [["desk", { width: 1100, height: 760 }], ["phone", PHONE]] as const) {
  for (const scheme of ["light", "dark"] as const) {
    test(`what became of messages, at ${width} width, ${scheme}`, async ({ browser }) => {
      const dana = await open(browser, scheme, viewport);
      await eventful(dana, browser);
      const parked = messages(dana, "Parked at").first();
      await parked.hover();
      await picture(dana, `changes-${width}-${scheme}`);
      await parked.getByRole("button", { name: /and more$/ }).click();
      await expect(dana.getByRole("dialog")).toBeVisible();
      await picture(dana, `menu-${width}-${scheme}`);
      await dana.getByRole("dialog").getByRole("button", { name: "Edit" }).click();
      await expect(dana.getByRole("textbox", { name: "Edit the message" })).toBeFocused();
      await picture(dana, `editor-${width}-${scheme}`);
      await dana.keyboard.press("Escape");
      await parked.getByRole("button", { name: /and more$/ }).click();
      await dana.getByRole("dialog").getByRole("button", { name: "Delete…" }).click();
      await picture(dana, `delete-${width}-${scheme}`);
      await dana.keyboard.press("Escape");
      await dana.getByRole("region", { name: "Pinned messages" }).getByRole("button", { name: "1 more" }).click();
      await picture(dana, `pins-${width}-${scheme}`);
      await parked.getByRole("button", { name: "1 reply" }).click();
      await expect(dana.getByRole("complementary").getByTestId("message")).toHaveCount(2);
      await fitsTheWidth(dana);
      await picture(dana, `thread-${width}-${scheme}`);
      await dana.getByRole("button", { name: "Close the thread" }).click();
      await fitsTheWidth(dana);
    });
  }
}

test("the keyboard alone is enough", async ({ browser }) => {
  const dana = await open(browser, "light");
  await expect(box(dana)).toBeFocused();
  await expect(dana.getByRole("log", { name: "Messages in General" })).toBeVisible();
  await expect(messages(dana, "Copy. Leaving the depot")).toBeVisible();
  await dana.keyboard.press("Shift+Tab");
  const more = messages(dana, "Copy. Leaving the depot").getByRole("button", { name: /and more$/ });
  await expect(more).toBeFocused();
  await dana.keyboard.press("Enter");
  await expect(dana.getByRole("button", { name: "React with 👍" })).toBeFocused();
  await dana.keyboard.press("ArrowRight");
  await expect(dana.getByRole("button", { name: "React with ❤️" })).toBeFocused();
  await dana.keyboard.press("Escape");
  await expect(dana.getByRole("dialog")).toHaveCount(0);
  await expect(more).toBeFocused();
  await dana.keyboard.press("Shift+Tab");
  const reply = messages(dana, "Copy. Leaving the depot").getByRole("button", { name: /^Reply/ });
  await expect(reply).toBeFocused();
  await dana.keyboard.press("Enter");
  await expect(box(dana)).toBeFocused();
  await expect(dana.locator(".replying")).toBeVisible();
  await dana.keyboard.press("Escape");
  await expect(dana.locator(".replying")).toHaveCount(0);
  await dana.getByRole("button", { name: "Emergency" }).focus();
  await dana.keyboard.press("Enter");
  await expect(dana.getByRole("textbox", { name: "Message to Emergency" })).toBeFocused();
});
