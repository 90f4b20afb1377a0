/** Two people in two tabs of a real browser, on a real server. */
import { type Browser, type Page, expect, test } from "@playwright/test";
import { BACK, SOON, box, messages, signIn, write } from "./people.ts";
import { Server } from "./server.ts";

let server: Server;

test.beforeEach(async () => {
  server = new Server();
  await server.start();
});
test.afterEach(() => server.remove());

async function open(browser: Browser, person: string): Promise<Page> {
  return signIn(await browser.newContext(), server, person);
}

test("another channel counts what is unread, and reading older pages keeps the place", async ({ browser }) => {
  const [dana, ines] = [await open(browser, "driver-1"), await open(browser, "dispatcher-1")];
  await ines.getByRole("button", { name: "Emergency" }).click();
  await expect(ines.getByRole("main", { name: "Emergency" })).toBeVisible();
  for (let n = 0; n < 60; n += 1) await write(dana, `line ${n}.`);
  await expect(ines.getByRole("button", { name: /General.*60 unread/ })).toBeVisible(BACK);
  await expect(ines).toHaveTitle(/^\(60\)/);
  const tom = await open(browser, "safety-1");
  await expect(messages(tom, "line 59.")).toBeInViewport();
  await expect(messages(tom, "UN 1203")).toHaveCount(0);

  const oldest = tom.getByTestId("message").first();
  await oldest.scrollIntoViewIfNeeded();
  const text = await oldest.locator(".content").textContent();
  const kept = tom.getByTestId("message").filter({ has: tom.getByText(text ?? "", { exact: true }) });
  const older = tom.getByRole("button", { name: "Load older messages" });
  await older.scrollIntoViewIfNeeded();
  const before = (await kept.boundingBox())?.y ?? NaN;
  await older.click();
  await expect(messages(tom, "UN 1203")).toHaveCount(1);
  const moved = async (): Promise<number> => Math.abs(((await kept.boundingBox())?.y ?? NaN) - before);
  expect(await moved(), "pixels that the place moved").toBeLessThan(40);
});

test("who reads further up is not moved, but told of new messages", async ({ browser }) => {
  const [dana, ines] = [await open(browser, "driver-1"), await open(browser, "dispatcher-1")];
  for (let n = 0; n < 20; n += 1) await write(dana, `line ${n}.`);
  await expect(messages(ines, "line 19.")).toBeInViewport();
  const newer = ines.getByRole("button", { name: "New messages" });
  await expect(newer).toHaveCount(0);

  await messages(ines, "UN 1203").scrollIntoViewIfNeeded();
  await write(dana, "Gate 4 is open again");
  await expect(newer).toBeVisible(SOON);
  await expect(messages(ines, "UN 1203")).toBeInViewport();
  await newer.click();
  await expect(messages(ines, "Gate 4 is open again")).toBeInViewport();
  await expect(newer).toHaveCount(0);
});

test("Enter sends, Shift and Enter start a line, and an input method keeps its Enter", async ({ browser }) => {
  const dana = await open(browser, "driver-1");
  await box(dana).fill("First line");
  await box(dana).press("Shift+Enter");
  await box(dana).pressSequentially("second line");
  await box(dana).dispatchEvent("keydown", { key: "Enter", isComposing: true, bubbles: true, cancelable: true });
  await box(dana).dispatchEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true, cancelable: true });
  await expect(box(dana)).toHaveValue("First line\nsecond line");
  await box(dana).press("Enter");
  await expect(box(dana)).toHaveValue("");
  await expect(messages(dana, "second line")).toHaveAttribute("data-status", "sent");
  await expect(messages(dana, "second line")).toHaveCount(1);
});

test("8000 characters are sent and one more is not", async ({ browser }) => {
  const dana = await open(browser, "driver-1");
  const send = dana.getByRole("button", { name: "Send" });
  await box(dana).fill("🚚".repeat(8001));
  await expect(dana.getByText("8001 of 8000 characters, 1 too many")).toBeVisible();
  await expect(send).toBeDisabled();
  await box(dana).press("Enter");
  await expect(messages(dana, "🚚🚚")).toHaveCount(0);
  await box(dana).fill("🚚".repeat(8000));
  await expect(dana.getByText("8000 of 8000 characters")).toBeVisible();
  await send.click();
  await expect(messages(dana, "🚚🚚")).toHaveAttribute("data-status", "sent");
});

test("what is being written waits while another channel is looked at", async ({ browser }) => {
  const dana = await open(browser, "driver-1");
  const asked = messages(dana, "UN 1203");
  await asked.hover();
  await asked.getByRole("button", { name: /^Reply/ }).click();
  await box(dana).fill("Half a sentence");
  await dana.getByRole("button", { name: "Emergency" }).click();
  await expect(box(dana)).toHaveValue("");
  await dana.getByRole("button", { name: "General" }).click();
  await expect(box(dana)).toHaveValue("Half a sentence");
  await expect(dana.locator(".replying")).toContainText("UN 1203");
});
