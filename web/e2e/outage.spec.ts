/** The server is killed, the network goes, tabs are closed: nothing is lost and nothing is twice. */
import { type Browser, type Page, expect, test } from "@playwright/test";
import { BACK, SOON, dot, messages, signIn, trouble, write } from "./people.ts";
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

test("a person sees why, and need not wait", async ({ browser }) => {
  test.setTimeout(120_000);
  const dana = await open(browser, "driver-1");
  await server.kill();
  await expect(trouble(dana)).toBeVisible();
  await expect(dot(dana).getByRole("status")).toHaveText(/Reconnecting|Connecting…/);
  await dana.context().setOffline(true);
  await expect(dot(dana)).toHaveAttribute("data-state", "offline");
  await expect(dot(dana).getByRole("status")).toHaveText("No network");
  await dana.context().setOffline(false);
  await expect(dot(dana)).not.toHaveAttribute("data-state", "offline");

  // The waits grow; in one of some seconds an attempt within the next one comes from the button.
  await expect(dana.getByText(/^Again in ([4-9]|[12]\d|30) s$/)).toBeVisible({ timeout: 40_000 });
  const attempt = dana.waitForRequest(/\/dev\/token/, SOON);
  const now = dana.getByRole("button", { name: "Reconnect now" });
  await now.click();
  await attempt;
  await server.start();
  await expect(dot(dana)).toHaveAttribute("data-state", "online", { timeout: 40_000 });
  await expect(now).toHaveCount(0);
});

test("unsent messages outlive their tab and come from the next one, once", async ({ browser }) => {
  const [dana, ines] = [await open(browser, "driver-1"), await open(browser, "dispatcher-1")];
  await server.kill();
  await write(dana, "Written in a tunnel");
  await expect(messages(dana, "Written in a tunnel")).toHaveAttribute("data-status", "pending");
  dana.on("dialog", (dialog) => dialog.accept());
  const asked = dana.waitForEvent("dialog");
  await dana.close({ runBeforeUnload: true });
  expect((await asked).type(), "the tab asks before it closes").toBe("beforeunload");
  await server.start();
  await expect(dot(ines)).toHaveAttribute("data-state", "online", BACK);
  await expect(messages(ines, "Written in a tunnel")).toHaveCount(0);

  const again = await signIn(dana.context(), server, "driver-1");
  for (const page of [again, ines]) {
    await expect(messages(page, "Written in a tunnel")).toHaveAttribute("data-status", "sent", BACK);
    await expect(messages(page, "Written in a tunnel")).toHaveCount(1);
  }
  await again.reload();
  await expect(dot(again)).toHaveAttribute("data-state", "online");
  await expect(messages(again, "Written in a tunnel")).toHaveCount(1);
});

test("two tabs of one person keep their unsent messages apart, and the next one sends both", async ({ browser }) => {
  const context = await browser.newContext();
  const [left, right] = [await signIn(context, server, "driver-1"), await signIn(context, server, "driver-1")];
  const ines = await open(browser, "dispatcher-1");
  await server.kill();
  await write(left, "From the left");
  await write(right, "From the right");
  await write(left, "From the left again");
  await expect(messages(left, "From the left again")).toHaveAttribute("data-status", "pending");
  await expect(messages(right, "From the left")).toHaveCount(0);
  await left.close();
  await right.close();
  await server.start();
  const next = await signIn(context, server, "driver-1");
  for (const page of [next, ines]) {
    await expect(messages(page, /From the/)).toHaveText([/left/, /right/, /left again/], BACK);
    await expect(page.locator('[data-testid="message"]:not([data-status="sent"])')).toHaveCount(0, BACK);
  }
});

test("a message that the server refuses can be tried again and discarded", async ({ browser }) => {
  const page = await (await browser.newContext()).newPage();
  await page.goto(server.url);
  // What a tab left that answered a message which is gone.
  await page.evaluate(() => {
    const entry = {
      clientMsgId: "018f2b6e-7a10-7000-8000-000000000001",
      channelId: "general",
      content: "An answer to nothing",
      replyTo: "018f2b6e-7a10-7000-8000-000000000002",
      createdAt: new Date().toISOString(),
    };
    localStorage.setItem("safeshipper.outbox.driver-1/left", JSON.stringify({ version: 1, entries: [entry] }));
  });
  await page.goto(server.as("driver-1"));
  const failed = messages(page, "An answer to nothing");
  await expect(failed).toHaveAttribute("data-status", "failed");
  await expect(failed.getByRole("alert")).toContainText("Not sent");
  await page.screenshot({ path: "e2e/artifacts/failed.png" });
  await failed.getByRole("button", { name: "Try again" }).click();
  await expect(failed).toHaveAttribute("data-status", "failed");
  await failed.getByRole("button", { name: "Discard" }).click();
  await expect(failed).toHaveCount(0);
  await page.reload();
  await expect(dot(page)).toHaveAttribute("data-state", "online");
  await expect(messages(page, "UN 1203")).toBeVisible();
  await expect(failed).toHaveCount(0);
});
