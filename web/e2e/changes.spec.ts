/** What becomes of messages, in two tabs: reactions, edits, deletions, pins and threads. */
import { type Browser, type Locator, type Page, expect, test } from "@playwright/test";
import { BACK, SOON, complaints, dot, messages, signIn, trouble, write } from "./people.ts";
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

/** Dana, a driver, and Ines, to whom the channel belongs. */
async function both(browser: Browser): Promise<[Page, Page]> {
  return [await open(browser, "driver-1"), await open(browser, "dispatcher-1")];
}

/** Opens the menu of a message. */
async function menuOf(message: Locator): Promise<Locator> {
  await message.hover();
  await message.getByRole("button", { name: /and more$/ }).click();
  const menu = message.page().getByRole("dialog", { name: /^Message of/ });
  await expect(menu).toBeVisible();
  return menu;
}

async function choose(message: Locator, name: string): Promise<void> {
  await (await menuOf(message)).getByRole("button", { name, exact: true }).click();
}

function chip(message: Locator, reaction: string): Locator {
  return message.getByRole("list", { name: "Reactions" }).getByRole("button", { name: new RegExp(`^${reaction}`) });
}

async function reload(page: Page): Promise<void> {
  await page.reload();
  await expect(dot(page)).toHaveAttribute("data-state", "online");
}

test("a reaction shows in the other tab, a second click takes it away, and any emoji will do", async ({ browser }) => {
  const [dana, ines] = await both(browser);
  const heard = complaints(dana);
  const [seen, said] = [messages(ines, "UN 1203"), messages(dana, "UN 1203")];
  await choose(said, "React with 👍");
  await expect(chip(seen, "👍")).toHaveText("👍 1", SOON);
  await expect(chip(seen, "👍")).toHaveAttribute("title", "Dana Reyes");
  await expect(chip(seen, "👍")).toHaveAttribute("aria-pressed", "false");
  await expect(chip(said, "👍")).toHaveAttribute("aria-pressed", "true");
  await expect(said.getByRole("button", { name: /and more$/ })).toBeFocused();
  await chip(seen, "👍").click();
  await expect(chip(said, "👍")).toHaveText("👍 2", SOON);
  await expect(chip(said, "👍")).toHaveAttribute("title", "You and Ines Okafor");

  const menu = await menuOf(said);
  await menu.getByRole("textbox", { name: "Another reaction" }).fill("🦺");
  await menu.getByRole("button", { name: "Add" }).click();
  await expect(chip(seen, "🦺")).toHaveText("🦺 1", SOON);
  await reload(ines);
  await expect(chip(seen, "👍")).toHaveText("👍 2");
  await expect(chip(seen, "👍")).toHaveAttribute("aria-pressed", "true");
  await expect(chip(seen, "🦺")).toHaveText("🦺 1");

  await chip(said, "👍").click();
  await expect(chip(seen, "👍")).toHaveText("👍 1", SOON);
  await chip(seen, "👍").click();
  await expect(chip(said, "👍")).toHaveCount(0, SOON);
  await expect(chip(seen, "👍")).toHaveCount(0);
  expect(heard).toEqual([]);
});

test("an own message is edited in its place, and Escape leaves it as it was", async ({ browser }) => {
  const [dana, ines] = await both(browser);
  await write(dana, "ETA is 11:35");
  const [seen, said] = [messages(ines, "ETA is 11:"), messages(dana, /ETA is 11:|Cancel/)];
  await expect(said).toHaveAttribute("data-status", "sent");
  await choose(said, "Edit");
  const editor = dana.getByRole("textbox", { name: "Edit the message" });
  await expect(editor).toBeFocused();
  await editor.fill("ETA is 11:99");
  await editor.press("Escape");
  await expect(editor).toHaveCount(0);
  await expect(said).toContainText("ETA is 11:35");
  await expect(said.getByRole("button", { name: /and more$/ })).toBeFocused();

  await dana.keyboard.press("Enter");
  await dana.getByRole("button", { name: "Edit", exact: true }).press("Enter");
  await editor.fill("ETA is 11:55");
  await editor.press("Enter");
  await expect(seen).toContainText("ETA is 11:55", SOON);
  await expect(seen.getByText("(edited)")).toBeVisible();
  for (const page of [dana, ines]) {
    await reload(page);
    await expect(messages(page, "ETA is 11:55").getByText("(edited)")).toBeVisible();
    await expect(messages(page, "ETA is 11:35")).toHaveCount(0);
  }
  await expect((await menuOf(seen)).getByRole("button", { name: "Edit", exact: true })).toHaveCount(0);
});

test("a message is deleted after a question, for everybody and for good", async ({ browser }) => {
  const [dana, ines] = await both(browser);
  await write(dana, "Sent by mistake");
  const said = messages(dana, "Sent by mistake");
  await expect(said).toHaveAttribute("data-status", "sent");
  await choose(said, "React with ❤️");
  const question = dana.getByRole("dialog", { name: "Delete this message for everybody?" });
  await choose(said, "Delete…");
  await expect(question).toContainText("Sent by mistake");
  await dana.keyboard.press("Escape");
  await expect(question).toHaveCount(0);
  await expect(said.getByRole("button", { name: /and more$/ })).toBeFocused();
  await expect(said).toHaveCount(1);

  await choose(said, "Delete…");
  await question.getByRole("button", { name: "Delete" }).click();
  await expect(messages(ines, "Message deleted")).toBeVisible(SOON);
  for (const page of [dana, ines]) {
    await expect(messages(page, "Sent by mistake")).toHaveCount(0, SOON);
    await reload(page);
    await expect(messages(page, "Message deleted")).toHaveCount(1);
    await expect(messages(page, "Message deleted").getByRole("button")).toHaveCount(0);
    await expect(messages(page, "Sent by mistake")).toHaveCount(0);
  }
});

test("a moderator pins and deletes what others wrote, and others may not", async ({ browser }) => {
  const [dana, tom] = [await open(browser, "driver-1"), await open(browser, "safety-1")];
  await write(dana, "Gate 4 is closed until noon");
  const [said, seen] = [messages(dana, "Gate 4 is closed"), messages(tom, "Gate 4 is closed")];
  await expect(said).toHaveAttribute("data-status", "sent");
  await expect((await menuOf(said)).getByRole("button", { name: "Pin" })).toHaveCount(0);
  await dana.keyboard.press("Escape");
  await expect(dana.getByRole("dialog")).toHaveCount(0);

  await choose(seen, "Pin");
  const pins = dana.getByRole("region", { name: "Pinned messages" });
  await expect(pins).toContainText("You Gate 4 is closed until noon", SOON);
  for (let n = 0; n < 20; n += 1) await write(dana, `line ${n}.`);
  await expect(messages(dana, "line 19.")).toBeInViewport();
  await reload(dana);
  await expect(said).not.toBeInViewport();
  await pins.getByRole("button", { name: /Gate 4/ }).click();
  await expect(said).toBeInViewport();
  await expect(said).toBeFocused();

  await choose(seen, "Unpin");
  await expect(pins).toHaveCount(0, SOON);
  await choose(seen, "Delete…");
  await tom.getByRole("button", { name: "Delete", exact: true }).click();
  await expect(messages(dana, "Message deleted")).toHaveCount(1, SOON);
});

test("a thread opens beside the conversation and is answered there", async ({ browser }) => {
  const [dana, ines] = await both(browser);
  const heard = complaints(dana);
  await write(dana, "Who has the key of gate 4?");
  const asked = messages(dana, "Who has the key");
  await expect(asked).toHaveAttribute("data-status", "sent");
  await choose(asked, "Reply in thread");
  const thread = dana.getByRole("complementary", { name: "Thread" });
  const answer = thread.getByRole("textbox", { name: "Reply in the thread" });
  await expect(answer).toBeFocused();
  await expect(thread.getByTestId("message")).toHaveText([/Who has the key/]);
  await answer.fill("I found it");
  await answer.press("Enter");
  await expect(answer).toHaveValue("");
  await expect(thread.getByTestId("message")).toHaveText([/Who has the key/, /I found it/]);

  const replies = messages(ines, "Who has the key").getByRole("button", { name: "1 reply" });
  await expect(replies).toBeVisible(SOON);
  await replies.click();
  const theirs = ines.getByRole("complementary", { name: "Thread" });
  await expect(theirs.getByTestId("message")).toHaveText([/Who has the key/, /I found it/]);
  await theirs.getByRole("textbox").fill("Thanks");
  await theirs.getByRole("textbox").press("Enter");
  await expect(thread.getByTestId("message")).toHaveText([/Who has the key/, /I found it/, /Thanks/], SOON);
  await choose(thread.getByTestId("message").last(), "React with ✅");
  await expect(chip(theirs.getByTestId("message").last(), "✅")).toBeVisible(SOON);

  await answer.press("Escape");
  await expect(thread).toHaveCount(0);
  await expect(asked.getByRole("button", { name: "2 replies" })).toBeFocused();
  await reload(dana);
  await asked.getByRole("button", { name: "2 replies" }).click();
  await expect(thread.getByTestId("message")).toHaveText([/Who has the key/, /I found it/, /Thanks/]);
  await expect(chip(thread.getByTestId("message").last(), "✅")).toHaveAttribute("aria-pressed", "true");
  expect(heard).toEqual([]);
});

test("what is asked while the server is away is done once when it is back", async ({ browser }) => {
  const [dana, ines] = await both(browser);
  const [said, seen] = [messages(dana, "UN 1203"), messages(ines, "UN 1203")];
  await choose(said, "React with 👍");
  await expect(chip(seen, "👍")).toHaveText("👍 1", SOON);
  await server.kill();
  await expect(trouble(dana)).toBeVisible();
  await choose(said, "React with ✅");
  await expect(chip(said, "✅")).toHaveAttribute("data-pending", "true");
  await chip(said, "👍").click();
  await server.start();
  await expect(chip(seen, "✅")).toHaveText("✅ 1", BACK);
  await expect(chip(seen, "👍")).toHaveCount(0, SOON);
  await expect(chip(said, "✅")).toHaveAttribute("data-pending", "false", SOON);
  await reload(dana);
  await expect(chip(said, "✅")).toHaveText("✅ 1");
  await expect(chip(said, "👍")).toHaveCount(0);
});

test("an edit that comes too late is refused in words, and the tombstone stays", async ({ browser }) => {
  const [dana, ines] = await both(browser);
  await write(dana, "Soon gone");
  await expect(messages(ines, "Soon gone")).toBeVisible(SOON);
  await server.kill();
  await expect(trouble(dana)).toBeVisible();
  await choose(messages(dana, "Soon gone"), "Edit");
  const editor = dana.getByRole("textbox", { name: "Edit the message" });
  await editor.fill("Not gone yet");
  await editor.press("Enter");
  await expect(messages(dana, "Not gone yet")).toContainText("Saving…");
  await dana.context().setOffline(true);
  await server.start();
  await expect(dot(ines)).toHaveAttribute("data-state", "online", BACK);
  await choose(messages(ines, "Soon gone"), "Delete…");
  await ines.getByRole("button", { name: "Delete", exact: true }).click();
  await expect(messages(ines, "Message deleted")).toBeVisible(SOON);

  await dana.context().setOffline(false);
  const notice = dana.getByRole("alert");
  await expect(notice).toContainText("The message was not changed: it is not there any more", BACK);
  await expect(messages(dana, "Message deleted")).toHaveCount(1);
  await notice.getByRole("button", { name: "Dismiss" }).click();
  await expect(notice).toHaveCount(0);
});
