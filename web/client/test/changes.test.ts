import { describe, expect, test } from "vitest";
import type { ChatClient } from "../src/client.ts";
import type { MessageView } from "../src/types.ts";
import { deleted, DELETED_AT, history, live, message, reacted, resumed, updated } from "./frames.ts";
import { channelOf, Line } from "./line.ts";

const EDITED = { content: "better", mentioned_users: ["ann"], edited_at: "2026-01-02T03:05:00.000Z" };
const PINNED = { is_pinned: true };

/** A client that holds message 11 of bob's. */
async function holding(): Promise<{ line: Line; client: ChatClient }> {
  const line = new Line();
  const client = await line.online();
  line.socket.receive(live({ seq: 11 }));
  return { line, client };
}

function first(client: ChatClient): MessageView {
  const [view] = channelOf(client).messages;
  if (view === undefined) throw new Error("no message");
  return view;
}

function chips(view: MessageView): string[] {
  return view.reactions.map(({ reaction, count, users, mine }) => `${reaction}${count} ${users}${mine ? " mine" : ""}`);
}

describe("a change", () => {
  test("of the content makes new what it says, whom it mentions and when it was edited, and nothing else", async () => {
    const { line, client } = await holding();
    line.socket.receive(updated(12, "content", { seq: 11 }, { ...EDITED, ...PINNED }));
    const now = { content: "better", mentionedUsers: ["ann"], editedAt: EDITED.edited_at, isPinned: false, seq: 11 };
    expect(first(client)).toMatchObject(now);
  });

  test("of the pin makes nothing else new", async () => {
    const { line, client } = await holding();
    line.socket.receive(updated(12, "pinned", { seq: 11 }, { ...EDITED, ...PINNED }));
    expect(first(client)).toMatchObject({ content: "text 11", editedAt: null, isPinned: true });
    line.socket.receive(updated(13, "pinned", { seq: 11 }));
    expect(first(client).isPinned).toBe(false);
  });

  test("of something that came after this client moves the position only", async () => {
    const { line, client } = await holding();
    const before = first(client);
    line.socket.receive(updated(12, "colour", { seq: 11 }, EDITED), live({ seq: 13 }));
    expect(first(client)).toBe(before);
    expect(line.socket.sentOf("resume")).toEqual([]);
  });

  test("is taken once: a repeated one changes nothing, one after a gap waits for the page", async () => {
    const { line, client } = await holding();
    line.socket.receive(reacted(12, "id-11", "bob"), reacted(13, "id-11", "bob", "removed", {}));
    line.socket.receive(reacted(12, "id-11", "bob"));
    expect(first(client).reactions).toEqual([]);
    line.socket.receive(reacted(15, "id-11", "ann", "added", { "👍": 2 }));
    expect(first(client).reactions).toEqual([]);
    const page = [reacted(14, "id-11", "bob"), reacted(15, "id-11", "ann", "added", { "👍": 2 })];
    line.socket.receive(resumed(15, page), { type: "resume_done", ref: "resume-1" });
    expect(chips(first(client))).toEqual(["👍2 bob,ann"]);
  });

  test("of a message that is not held moves the position, and history shows what it made", async () => {
    const line = new Line();
    const client = await line.online();
    const { socket } = line;
    socket.receive(reacted(11, "id-5"), deleted(12, "id-6"), updated(13, "pinned", { seq: 7 }, PINNED), live({ seq: 14 }));
    expect(socket.sentOf("resume")).toEqual([]);
    client.openChannel("general");
    const reactions = [{ reaction: "👍", count: 1, users: ["bob"] }];
    const page = [{ seq: 5, with: { reactions } }, { seq: 6, with: { content: "", deleted_at: DELETED_AT } }];
    socket.receive(history("history-1", [...page, { seq: 7, with: PINNED }, { seq: 14 }]));
    const [reactedTo, gone, pinned] = channelOf(client).messages;
    expect(reactedTo?.reactions).toEqual([{ ...reactions[0], mine: false }]);
    expect([gone?.deletedAt, gone?.content, pinned?.isPinned]).toEqual([DELETED_AT, "", true]);
  });

  test("that comes while a page is on its way holds for that page, which was written before", async () => {
    const { line, client } = await holding();
    client.openChannel("general");
    line.socket.receive(updated(12, "content", { seq: 5 }, EDITED), reacted(13, "id-11"), deleted(14, "id-6"));
    line.socket.receive(history("history-1", [{ seq: 5 }, { seq: 6 }, { seq: 11 }], true));
    expect(channelOf(client).messages.map(({ content }) => content)).toEqual(["better", "", "text 11"]);
    expect(chips(channelOf(client).messages[2] ?? first(client))).toEqual(["👍1 bob"]);
    // The next page was asked for after these, so what it says is newer.
    client.loadOlder("general");
    line.socket.receive(history("history-2", [{ seq: 4 }, { seq: 5, content: "best" }]));
    expect(channelOf(client).messages[1]?.content).toBe("best");
  });
});

describe("a tombstone", () => {
  test("shows who wrote it, when and where, and nothing else", async () => {
    const { line, client } = await holding();
    line.socket.receive(updated(12, "pinned", { seq: 11 }, PINNED), updated(13, "content", { seq: 11 }, EDITED));
    line.socket.receive(reacted(14, "id-11"), deleted(15, "id-11"));
    const gone = { content: "", mentionedUsers: [], editedAt: null, deletedAt: DELETED_AT, isPinned: false, reactions: [] };
    expect(first(client)).toMatchObject({ ...gone, senderName: "Bob", seq: 11, threadId: null });
  });

  test("stays one, whatever is said of it later", async () => {
    const { line, client } = await holding();
    line.socket.receive(deleted(12, "id-11"));
    const gone = first(client);
    line.socket.receive(updated(13, "content", { seq: 11 }, EDITED), updated(14, "pinned", { seq: 11 }, PINNED));
    line.socket.receive(reacted(15, "id-11"), live({ seq: 16, id: "id-11" }));
    client.openChannel("general");
    line.socket.receive(history("history-1", [{ seq: 11 }]));
    expect(channelOf(client).messages).toEqual([gone]);
    expect(first(client)).toBe(gone);
  });

  test("in a page of resumed is one before its deletion comes, and is not unread", async () => {
    const { line, client } = await holding();
    const grave = { content: "", deleted_at: DELETED_AT };
    const page = [updated(12, "content", { seq: 11 }, grave), live({ seq: 13, with: grave })];
    await line.reconnect(15);
    line.socket.receive(resumed(13, page, { more: true }));
    expect(channelOf(client).messages.map(({ deletedAt }) => deletedAt)).toEqual([DELETED_AT, DELETED_AT]);
    expect(channelOf(client).unread).toBe(1);
    line.socket.receive(resumed(15, [deleted(14, "id-11"), deleted(15, "id-13")]));
    expect(channelOf(client).messages.map(({ content }) => content)).toEqual(["", ""]);
  });
});

describe("reactions", () => {
  test("count what the server counted, name who did first, and know the own one", async () => {
    const { line, client } = await holding();
    line.socket.receive(reacted(12, "id-11"), reacted(13, "id-11", "me", "added", { "👍": 2 }));
    line.socket.receive(reacted(14, "id-11", "ann", "added", { "👍": 2, "✅": 1 }, "✅"));
    expect(chips(first(client))).toEqual(["👍2 bob,me mine", "✅1 ann"]);
    line.socket.receive(reacted(15, "id-11", "me", "removed", { "👍": 1, "✅": 1 }));
    expect(chips(first(client))).toEqual(["👍1 bob", "✅1 ann"]);
    line.socket.receive(reacted(16, "id-11", "bob", "removed", { "✅": 1 }));
    expect(chips(first(client))).toEqual(["✅1 ann"]);
  });

  test("of more than twenty name twenty, and still know the own one", async () => {
    const { line, client } = await holding();
    for (let n = 1; n <= 20; n++) line.socket.receive(reacted(11 + n, "id-11", `u${n}`, "added", { "👍": n }));
    line.socket.receive(reacted(32, "id-11", "me", "added", { "👍": 21 }));
    const mine = (): unknown => first(client).reactions.map(({ count, users, mine }) => [count, users.length, mine]);
    expect(mine()).toEqual([[21, 20, true]]);
    client.openChannel("general");
    const users = Array.from({ length: 20 }, (_, n) => `u${n + 1}`);
    line.socket.receive(history("history-1", [{ seq: 11, with: { reactions: [{ reaction: "👍", count: 21, users }] } }]));
    expect(mine()).toEqual([[21, 20, true]]);
    line.socket.receive(reacted(33, "id-11", "me", "removed", { "👍": 20 }));
    expect(mine()).toEqual([[20, 20, false]]);
  });

  test("leave the other messages the same objects", async () => {
    const { line, client } = await holding();
    line.socket.receive(live({ seq: 12 }));
    const [, before] = channelOf(client).messages;
    line.socket.receive(reacted(13, "id-11"));
    expect(channelOf(client).messages[1]).toBe(before);
  });
});

test("a message of the wire without any of the new fields is unchanged", async () => {
  const { line, client } = await holding();
  const bare = JSON.parse(JSON.stringify(message({ seq: 12 }), (_key, value: unknown) => value ?? undefined)) as object;
  line.socket.receive({ ...live({ seq: 12 }), message: bare });
  const unchanged = { editedAt: null, deletedAt: null, isPinned: false, reactions: [], asked: [] };
  expect(channelOf(client).messages[1]).toMatchObject(unchanged);
});
