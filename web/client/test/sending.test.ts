import { describe, expect, test } from "vitest";
import { ANSWER_TIME_MS } from "../src/delivery.ts";
import type { ChatClient } from "../src/client.ts";
import { settled } from "./clock.ts";
import { ack, entry, established, history, live, resumed } from "./frames.ts";
import { channelOf, contentsOf, Line } from "./line.ts";

/** A client that just sent `hello`, and that message's id. */
async function sent(): Promise<{ line: Line; client: ChatClient; id: string }> {
  const line = new Line();
  const client = await line.online();
  client.send("general", "  hello ");
  // The test's randomness stands still: only the time tells the next message's id from this one's.
  await line.clock.advance(1);
  return { line, client, id: line.socket.lastOf("send_message").client_msg_id };
}

function statuses(client: ChatClient): (string | number | null)[][] {
  return channelOf(client).messages.map(({ key, seq, status, content }) => [key, seq, status, content]);
}

function refusal(ref: string, code: string, fields: object = {}): object {
  return { type: "error", code, message: `text of ${code}`, ref, ...fields };
}

describe("one message shows", () => {
  test("when the ack comes before the live copy", async () => {
    const { line, client, id } = await sent();
    expect(statuses(client)).toEqual([[id, null, "pending", "hello"]]);
    line.socket.receive(ack(id, 11));
    expect(statuses(client)).toEqual([[id, 11, "sent", "hello"]]);
    line.socket.receive(live({ seq: 11, by: "me", content: "hello", clientMsgId: id }));
    expect(statuses(client)).toEqual([[id, 11, "sent", "hello"]]);
    line.socket.receive(live({ seq: 12 }));
    expect(line.socket.sentOf("resume")).toEqual([]);
  });

  test("when the live copy comes before the ack", async () => {
    const { line, client, id } = await sent();
    line.socket.receive(live({ seq: 11, by: "me", content: "hello", clientMsgId: id }));
    expect(statuses(client)).toEqual([[id, 11, "sent", "hello"]]);
    const before = client.getSnapshot();
    line.socket.receive(ack(id, 11));
    expect(client.getSnapshot()).toBe(before);
  });

  test("when the ack was lost with the connection and the page of resumed brings the copy", async () => {
    const { line, client, id } = await sent();
    const socket = await line.reconnect(11);
    expect(socket.lastOf("send_message")).toMatchObject({ client_msg_id: id, retry: true });
    socket.receive(resumed(11, [live({ seq: 11, by: "me", content: "hello", clientMsgId: id })]));
    expect(statuses(client)).toEqual([[id, 11, "sent", "hello"]]);
    socket.receive(ack(id, 11, { duplicate: true }));
    expect(statuses(client)).toEqual([[id, 11, "sent", "hello"]]);
  });

  test("when messages of others stand between the ack and the live copy", async () => {
    const { line, client, id } = await sent();
    line.socket.receive(ack(id, 13), live({ seq: 11 }), live({ seq: 12 }));
    line.socket.receive(live({ seq: 13, by: "me", content: "hello", clientMsgId: id }));
    expect(contentsOf(client)).toEqual(["text 11", "text 12", "hello"]);
  });
});

describe("the order of sending", () => {
  test("the second message waits for the first one's answer", async () => {
    const { line, client, id } = await sent();
    client.send("general", "second");
    expect(line.socket.sentOf("send_message").length).toBe(1);
    expect(contentsOf(client)).toEqual(["hello", "second"]);
    line.socket.receive(ack(id, 11));
    expect(line.socket.sentOf("send_message").map(({ content }) => content)).toEqual(["hello", "second"]);
  });

  test("after a reconnect the unanswered message goes first, as a retry, and the new one is none", async () => {
    const { line, client, id } = await sent();
    client.send("general", "second", { replyTo: "id-9" });
    const socket = await line.reconnect();
    expect(socket.sentOf("send_message")).toEqual([
      { type: "send_message", ref: id, channel_id: "general", content: "hello", client_msg_id: id, retry: true },
    ]);
    socket.receive(ack(id, 11));
    const second = socket.lastOf("send_message");
    expect(second).toMatchObject({ content: "second", reply_to: "id-9" });
    expect(second).not.toHaveProperty("retry");
  });

  test("what is written while offline is sent when it is back", async () => {
    const line = new Line();
    const client = await line.online();
    line.socket.close(1006);
    client.send("general", "from the tunnel");
    expect(statuses(client).map((row) => row[2])).toEqual(["pending"]);
    await line.clock.advance(250);
    line.socket.receive(established());
    expect(line.socket.lastOf("send_message").content).toBe("from the tunnel");
  });

  test("what an earlier page did not get rid of is shown and sent again after a reload", async () => {
    const { line, id } = await sent();
    const reloaded = await line.online();
    expect(statuses(reloaded)).toEqual([[id, null, "pending", "hello"]]);
    expect(line.socket.lastOf("send_message")).toMatchObject({ client_msg_id: id, retry: true });
    reloaded.openChannel("general");
    const { ref } = line.socket.lastOf("fetch_history");
    line.socket.receive(history(ref, [{ seq: 9, by: "me", content: "hello", clientMsgId: id }]));
    expect(statuses(reloaded)).toEqual([[id, 9, "sent", "hello"]]);
    line.socket.receive(ack(id, 9, { duplicate: true }));
    expect(statuses(reloaded)).toEqual([[id, 9, "sent", "hello"]]);
    expect(line.storage.text).toBe('{"version":1,"entries":[]}');
  });
});

describe("refusals", () => {
  test.each(["unavailable", "unknown_outcome", "rate_limited"])("%s keeps the message and tries again", async (code) => {
    const { line, client, id } = await sent();
    line.socket.receive(refusal(id, code, { retry_after_ms: 1_000 }));
    expect(statuses(client)).toEqual([[id, null, "pending", "hello"]]);
    await line.clock.advance(1_249);
    expect(line.socket.sentOf("send_message").length).toBe(1);
    await line.clock.advance(1);
    expect(line.socket.sentOf("send_message").length).toBe(2);
    expect(line.socket.lastOf("send_message")).toMatchObject({ client_msg_id: id, retry: true });
    expect(client.getSnapshot().notice).toBeNull();
  });

  test("another code fails the message, lets the next one pass and leaves the choice to a person", async () => {
    const { line, client, id } = await sent();
    client.send("general", "second");
    line.socket.receive(refusal(id, "permission_denied"));
    expect(channelOf(client).messages[0]).toMatchObject({ status: "failed", error: "text of permission_denied" });
    const second = line.socket.lastOf("send_message");
    expect(second.content).toBe("second");
    client.resend(id);
    line.socket.receive(ack(second.client_msg_id, 11));
    expect(line.socket.lastOf("send_message")).toMatchObject({ client_msg_id: id, retry: true });
    line.socket.receive(refusal(id, "permission_denied"));
    client.discard(id);
    expect(contentsOf(client)).toEqual(["second"]);
  });

  test("a message without an answer is sent again on the same connection", async () => {
    const { line, id } = await sent();
    await line.clock.advance(ANSWER_TIME_MS + 249);
    expect(line.socket.lastOf("send_message")).toMatchObject({ client_msg_id: id, retry: true });
    line.socket.receive(ack(id, 11));
    await line.clock.advance(5_000);
    expect(line.socket.sentOf("send_message").length).toBe(2);
  });

  test("a message that is too long fails here, also when it is sent again", async () => {
    const line = new Line();
    const client = await line.online();
    client.send("general", "x".repeat(8_001));
    client.resend(channelOf(client).messages[0]?.key ?? "");
    expect(channelOf(client).messages[0]).toMatchObject({ status: "failed", error: "The message is too long" });
    expect(line.socket.sentOf("send_message")).toEqual([]);
  });

  test("an empty message is none", async () => {
    const line = new Line();
    const client = await line.online();
    client.send("general", " \n ");
    expect(channelOf(client).messages).toEqual([]);
  });

  test("messages for a channel that was left fail", async () => {
    const line = new Line();
    const client = line.client();
    client.start();
    await settled();
    const other = entry({ id: "other", name: "Other" });
    line.socket.receive(established({}, other));
    client.send("other", "too late");
    line.socket.receive({ type: "channel_left", channel_id: "other", reason: "removed" });
    expect(client.getSnapshot().channels.map(({ id }) => id)).toEqual(["general"]);
    const joined = { type: "channel_joined", role: "MEMBER", channel_id: "other", epoch: "e1", seq: 12 };
    line.socket.receive({ ...joined, channel: { id: "other", name: "Other", channel_type: "GENERAL" } });
    expect(channelOf(client, "other").messages[0]).toMatchObject({ status: "failed" });
  });
});
