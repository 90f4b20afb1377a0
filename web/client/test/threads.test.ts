import { describe, expect, test } from "vitest";
import type { ChatClient } from "../src/client.ts";
import type { ThreadView } from "../src/types.ts";
import { ack, deleted, history, live, reacted, resumed } from "./frames.ts";
import { channelOf, Line } from "./line.ts";

const IN_THREAD = { reply_to: "id-3", thread_id: "id-3" };

/** A client that loaded messages 9 and 10 and opened the thread of message 3, which it does not hold. */
async function opened(): Promise<{ line: Line; client: ChatClient }> {
  const line = new Line();
  const client = await line.online();
  client.openChannel("general");
  line.socket.receive(history("history-1", [{ seq: 9, with: IN_THREAD }, { seq: 10 }], true));
  client.openThread("general", "id-3");
  return { line, client };
}

function thread(client: ChatClient): ThreadView {
  const view = channelOf(client).thread;
  if (view === null) throw new Error("no thread");
  return view;
}

function seqs(client: ChatClient): (number | null)[] {
  return thread(client).messages.map(({ seq }) => seq);
}

describe("an open thread", () => {
  test("shows what is held of it, asks for its newest page and then for older ones", async () => {
    const { line, client } = await opened();
    expect(thread(client)).toMatchObject({ rootId: "id-3", loading: true, loaded: false });
    expect(seqs(client)).toEqual([9]);
    const asked = line.socket.lastOf("fetch_history");
    expect(asked).toMatchObject({ channel_id: "general", thread_id: "id-3", limit: 50 });
    expect(asked).not.toHaveProperty("before");
    line.socket.receive(history(asked.ref, [{ seq: 7, with: IN_THREAD }, { seq: 9, with: IN_THREAD }], true));
    expect([seqs(client), thread(client).hasOlder]).toEqual([[7, 9], true]);
    client.loadOlderReplies("general");
    client.loadOlderReplies("general");
    const older = line.socket.lastOf("fetch_history");
    expect(older).toMatchObject({ thread_id: "id-3", before: { epoch: "e1", seq: 7 } });
    line.socket.receive(history(older.ref, [{ seq: 3 }, { seq: 4, with: IN_THREAD }]));
    expect([seqs(client), thread(client).hasOlder]).toEqual([[3, 4, 7, 9], false]);
    expect(channelOf(client).messages.map(({ seq }) => seq), "the channel keeps its gap").toEqual([9, 10]);
    expect(line.socket.sentOf("fetch_history").length).toBe(3);
  });

  test("takes replies and changes as they come, and those of other messages not", async () => {
    const { line, client } = await opened();
    line.socket.receive(history("thread-2", [{ seq: 3 }, { seq: 9, with: IN_THREAD }]));
    line.socket.receive(live({ seq: 11, with: IN_THREAD }), live({ seq: 12 }), reacted(13, "id-3"), deleted(14, "id-9"));
    expect(seqs(client)).toEqual([3, 9, 11]);
    const [root, reply] = thread(client).messages;
    expect([root?.reactions[0]?.count, reply?.deletedAt !== null]).toEqual([1, true]);
    expect(channelOf(client).messages[0]?.deletedAt).not.toBeNull();
  });

  test("takes a change that came while its page was on its way", async () => {
    const { line, client } = await opened();
    line.socket.receive(reacted(11, "id-3"), history("thread-2", [{ seq: 3 }, { seq: 9, with: IN_THREAD }]));
    expect(thread(client).messages[0]?.reactions[0]?.count).toBe(1);
  });

  test("shows an own reply from the sending on, once, and a reply to a reply too", async () => {
    const { line, client } = await opened();
    line.socket.receive(history("thread-2", [{ seq: 3 }, { seq: 9, with: IN_THREAD }]));
    client.send("general", "hello", { replyTo: "id-9" });
    expect(thread(client).messages.at(-1)).toMatchObject({ content: "hello", status: "pending", threadId: "id-3" });
    const { ref } = line.socket.lastOf("send_message");
    line.socket.receive(ack(ref, 11));
    expect(thread(client).messages.at(-1)).toMatchObject({ content: "hello", status: "sent", seq: 11 });
    line.socket.receive(live({ seq: 11, by: "me", content: "hello", clientMsgId: ref, with: IN_THREAD }));
    expect(seqs(client)).toEqual([3, 9, 11]);
  });

  test("is the same object while nothing in it changed", async () => {
    const { line, client } = await opened();
    line.socket.receive(history("thread-2", [{ seq: 3 }]));
    const before = thread(client);
    line.socket.receive(live({ seq: 11 }), reacted(12, "id-11"));
    expect(thread(client)).toBe(before);
  });

  test("goes on after a reconnect and is loaded anew after a reset", async () => {
    const { line, client } = await opened();
    let socket = await line.reconnect(11);
    expect(socket.lastOf("fetch_history")).toMatchObject({ thread_id: "id-3" });
    socket.receive(history(socket.lastOf("fetch_history").ref, [{ seq: 3 }, { seq: 9, with: IN_THREAD }]));
    socket.receive(resumed(11, [live({ seq: 11, with: IN_THREAD })]));
    expect(seqs(client)).toEqual([3, 9, 11]);
    socket = await line.reconnect(3, "e2");
    socket.receive(resumed(3, [], { epoch: "e2", reset: true }));
    expect(thread(client)).toMatchObject({ messages: [], loading: true });
    expect(socket.lastOf("fetch_history")).toMatchObject({ thread_id: "id-3" });
  });

  test("that was closed takes no page any more, and another one takes its own", async () => {
    const { line, client } = await opened();
    client.openThread("general", "id-10");
    line.socket.receive(history("thread-2", [{ seq: 3 }]));
    expect(seqs(client)).toEqual([10]);
    line.socket.receive(history("thread-3", [{ seq: 10 }]));
    expect(thread(client)).toMatchObject({ rootId: "id-10", loaded: true });
    client.closeThread("general");
    expect(channelOf(client).thread).toBeNull();
  });

  test("whose page is refused is asked for later, or not at all", async () => {
    const { line, client } = await opened();
    line.socket.receive({ type: "error", code: "unavailable", message: "later", ref: "thread-2" });
    await line.clock.advance(500);
    expect(line.socket.sentOf("fetch_history").length).toBe(3);
    line.socket.receive({ type: "error", code: "unknown_channel", message: "Unknown channel", ref: "thread-3" });
    expect(thread(client).loading).toBe(false);
  });
});
