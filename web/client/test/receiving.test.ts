import { describe, expect, test } from "vitest";
import type { ChatClient } from "../src/client.ts";
import { entry, established, history, live, resumed } from "./frames.ts";
import { channelOf, contentsOf, Line } from "./line.ts";
import { settled } from "./clock.ts";

/** A client online in several channels. */
async function inMany(count: number): Promise<{ line: Line; client: ChatClient; first: object }> {
  const line = new Line();
  const others = Array.from({ length: count - 1 }, (_, index) => entry({ id: `c${index}`, name: `C ${index}` }));
  const first = established({}, ...others);
  const client = line.client();
  client.start();
  await settled();
  line.socket.receive(first);
  return { line, client, first };
}

describe("resume", () => {
  test("a gap asks once, and the page fills it", async () => {
    const line = new Line();
    const client = await line.online();
    const { socket } = line;
    socket.receive(live({ seq: 11 }), live({ seq: 13 }), live({ seq: 14 }));
    expect(contentsOf(client)).toEqual(["text 11"]);
    const channels = [{ channel_id: "general", epoch: "e1", seq: 11 }];
    expect(socket.sentOf("resume")).toEqual([{ type: "resume", ref: "resume-1", channels }]);
    socket.receive(resumed(14, [live({ seq: 12 }), live({ seq: 13 }), live({ seq: 14 })]));
    socket.receive({ type: "resume_done", ref: "resume-1" }, live({ seq: 15 }), live({ seq: 15 }));
    expect(contentsOf(client)).toEqual(["text 11", "text 12", "text 13", "text 14", "text 15"]);
    expect(socket.sentOf("resume").length).toBe(1);
  });

  test("another epoch resumes from the old position and keeps the messages", async () => {
    const line = new Line();
    const client = await line.online();
    line.socket.receive(live({ seq: 11 }), live({ seq: 1, prev: 0, epoch: "e2", id: "new" }));
    expect(line.socket.lastOf("resume").channels).toEqual([{ channel_id: "general", epoch: "e1", seq: 11 }]);
    const page = resumed(1, [live({ seq: 1, prev: 0, epoch: "e2", id: "new", content: "new" })], { epoch: "e2" });
    line.socket.receive(page, live({ seq: 2, prev: 1, epoch: "e2", id: "newer", content: "newer" }));
    expect(contentsOf(client)).toEqual(["text 11", "new", "newer"]);
  });

  test("a reset forgets, takes the new position and loads the newest page; an older answer is nobody's", async () => {
    const line = new Line();
    const client = await line.online();
    client.openChannel("general");
    const { socket } = line;
    socket.receive(history(socket.lastOf("fetch_history").ref, [{ seq: 9 }, { seq: 10 }], true));
    client.loadOlder("general");
    const older = socket.lastOf("fetch_history");
    expect(older.before).toEqual({ epoch: "e1", seq: 9 });
    socket.receive({ type: "resync", channel_ids: ["general"] });
    socket.receive(resumed(3, [], { epoch: "e2", reset: true }), history(older.ref, [{ seq: 8 }]));
    expect(channelOf(client)).toMatchObject({ messages: [], loading: true, loaded: false });
    const newest = socket.lastOf("fetch_history");
    expect(newest).not.toHaveProperty("before");
    socket.receive(history(newest.ref, [{ seq: 3, epoch: "e2" }]), live({ seq: 4, epoch: "e2" }));
    expect(contentsOf(client)).toEqual(["text 3", "text 4"]);
  });

  test("after a reconnect every known position is named, 400 a frame, the last one marked", async () => {
    const { line, first } = await inMany(900);
    line.socket.receive(live({ seq: 11 }));
    line.socket.close(1006);
    await line.clock.advance(250);
    line.socket.receive(first);
    const frames = line.socket.sentOf("resume");
    expect(frames.map(({ channels, last }) => [channels.length, last])).toEqual([
      [400, undefined],
      [400, undefined],
      [100, true],
    ]);
    expect(frames[0]?.channels[0]).toEqual({ channel_id: "general", epoch: "e1", seq: 11 });
  });

  test("a page with more is followed from its end, and done of the first resume does not end the second", async () => {
    const line = new Line();
    await line.online();
    const socket = await line.reconnect(20);
    socket.receive(resumed(15, [live({ seq: 15, prev: 10 })], { more: true }), { type: "resume_done", ref: "resume-1" });
    expect(socket.lastOf("resume")).toMatchObject({ ref: "resume-2", channels: [{ seq: 15 }] });
    socket.receive(live({ seq: 21 }));
    expect(socket.sentOf("resume").length).toBe(2);
    socket.receive({ type: "resume_done", ref: "resume-2" }, live({ seq: 22 }));
    expect(socket.sentOf("resume").length).toBe(3);
  });

  test("a refused resume is asked again later", async () => {
    const line = new Line();
    const client = await line.online();
    line.socket.receive(live({ seq: 12 }));
    line.socket.receive({ type: "error", code: "rate_limited", message: "slow", ref: "resume-1", retry_after_ms: 1_000 });
    await line.clock.advance(1_249);
    expect(line.socket.sentOf("resume").length).toBe(1);
    await line.clock.advance(1);
    expect(line.socket.lastOf("resume").channels).toEqual([{ channel_id: "general", epoch: "e1", seq: 10 }]);
    expect(client.getSnapshot().notice).toBeNull();
  });

  test("a channel that the server does not list any more is gone", async () => {
    const { line, client } = await inMany(3);
    await line.reconnect();
    expect(client.getSnapshot().channels.map(({ id }) => id)).toEqual(["general"]);
  });
});

describe("history", () => {
  test("the newest page is loaded once, older ones on request, and never twice at a time", async () => {
    const line = new Line();
    const client = await line.online();
    const { socket } = line;
    client.openChannel("general");
    client.openChannel("general");
    expect(channelOf(client)).toMatchObject({ loading: true, loaded: false });
    socket.receive(live({ seq: 11 }), history("history-1", [{ seq: 10 }, { seq: 11 }], true));
    expect(channelOf(client)).toMatchObject({ loading: false, loaded: true, hasOlder: true, unread: 0 });
    client.loadOlder("general");
    client.loadOlder("general");
    socket.receive(history("history-2", [{ seq: 8 }, { seq: 9 }]));
    client.loadOlder("general");
    expect(contentsOf(client)).toEqual(["text 8", "text 9", "text 10", "text 11"]);
    expect(socket.sentOf("fetch_history").map(({ before }) => before?.seq)).toEqual([undefined, 10]);
  });

  test("what was asked before the connection fell is asked again after it", async () => {
    const line = new Line();
    const client = line.client();
    client.openChannel("general");
    client.start();
    await settled();
    line.socket.receive(established());
    expect(line.socket.sentOf("fetch_history").length).toBe(1);
    const socket = await line.reconnect();
    expect(socket.sentOf("fetch_history").length).toBe(1);
    expect(channelOf(client).loading).toBe(true);
  });

  test("a refused page is asked again later, and for good reason not", async () => {
    const line = new Line();
    const client = await line.online();
    client.openChannel("general");
    line.socket.receive({ type: "error", code: "unavailable", message: "later", ref: "history-1" });
    expect(channelOf(client).loading).toBe(true);
    await line.clock.advance(500);
    line.socket.receive({ type: "error", code: "unknown_channel", message: "Unknown channel", ref: "history-2" });
    expect(channelOf(client).loading).toBe(false);
    expect(client.getSnapshot().notice).toBe("Unknown channel");
  });
});

describe("other frames", () => {
  test("unknown types are ignored, unreadable ones leave a notice, and neither costs a message", async () => {
    const line = new Line();
    const client = await line.online();
    const before = client.getSnapshot();
    line.socket.receive({ type: "feedback_update", data: {} });
    expect(client.getSnapshot()).toBe(before);
    line.socket.receiveText("{");
    expect(client.getSnapshot().notice).toBe("The server sent something unreadable (no frame)");
    line.socket.receive({ ...live({ seq: 11 }), message: {} }, live({ seq: 12 }));
    expect(client.getSnapshot().notice).toBe("The server sent something unreadable (chat_message)");
    line.socket.receive(resumed(12, [{ type: "chat_message" }, live({ seq: 12 })]));
    expect(contentsOf(client)).toEqual(["text 12"]);
  });

  test("an error without a request is the notice until the next connection", async () => {
    const line = new Line();
    const client = await line.online();
    line.socket.receive({ type: "error", code: "internal", message: "Internal server error" });
    expect(client.getSnapshot().notice).toBe("Internal server error");
    await line.reconnect();
    expect(client.getSnapshot().notice).toBeNull();
  });

  test("typing of others shows for 5 s, until their message, and never one's own", async () => {
    const line = new Line();
    const client = await line.online();
    const says = (user_id: string) => ({ type: "typing_indicator", user_id, channel_id: "general", is_typing: true });
    line.socket.receive(says("bob"), says("me"), says("ann"));
    expect(channelOf(client).typing).toEqual(["bob", "ann"]);
    line.socket.receive(live({ seq: 11, by: "bob" }));
    expect(channelOf(client).typing).toEqual(["ann"]);
    await line.clock.advance(4_999);
    expect(channelOf(client).typing).toEqual(["ann"]);
    await line.clock.advance(1);
    expect(channelOf(client).typing).toEqual([]);
  });
});

test("whatever did not change is the same object in the next snapshot", async () => {
  const { line, client } = await inMany(2);
  client.send("general", "pending");
  line.socket.receive(live({ seq: 11 }));
  const before = client.getSnapshot();
  let calls = 0;
  const unsubscribe = client.subscribe(() => calls++);
  line.socket.receive(live({ seq: 12 }), live({ seq: 12 }));
  expect(calls).toBe(1);
  const after = client.getSnapshot();
  expect(after.channels[0]).toBe(before.channels[0]);
  const [old, now] = [before, after].map(({ channels }) => channels.find(({ id }) => id === "general")?.messages);
  expect([now?.[0] === old?.[0], now?.[2] === old?.[1]]).toEqual([true, true]);
  line.socket.receive({ type: "typing_indicator", user_id: "bob", channel_id: "general", is_typing: true });
  expect(channelOf(client).messages).toBe(now);
  unsubscribe();
  client.send("general", "unheard");
  expect(calls).toBe(2);
});
