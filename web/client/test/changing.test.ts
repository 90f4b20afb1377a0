/** Commands that change a message: what goes out, what shows meanwhile, and that none is done twice. */
import { describe, expect, test } from "vitest";
import type { ChatClient } from "../src/client.ts";
import type { ClientFrame } from "../src/frames.ts";
import { ack, deleted, established, live, reacted, resumed, updated } from "./frames.ts";
import { channelOf, Line } from "./line.ts";
import { settled } from "./clock.ts";

async function holding(): Promise<{ line: Line; client: ChatClient }> {
  const line = new Line();
  const client = await line.online();
  line.socket.receive(live({ seq: 11, by: "me" }));
  return { line, client };
}

function asked(client: ChatClient): string[] {
  return channelOf(client).messages.flatMap((message) => message.asked.map((change) => JSON.stringify(change)));
}

function commands(line: Line): ClientFrame[] {
  return line.socket.sent.filter(({ type }) => type.endsWith("_message"));
}

function refusal(ref: string, code: string): object {
  return { type: "error", code, message: `text of ${code}`, ref };
}

const THUMB = '{"kind":"react","reaction":"👍"}';

describe("what goes out", () => {
  test("names message, channel and the command's own id, one command after the other", async () => {
    const { line, client } = await holding();
    client.edit("general", "id-11", "  better ");
    await line.clock.advance(1);
    client.react("general", "id-11", "👍");
    await line.clock.advance(1);
    client.pin("general", "id-11", true);
    await line.clock.advance(1);
    client.delete("general", "id-11");
    const of = { channel_id: "general", message_id: "id-11" };
    const expected = [
      { type: "edit_message", content: "better", ...of },
      { type: "react_to_message", reaction: "👍", ...of },
      { type: "pin_message", pinned: true, ...of },
      { type: "delete_message", ...of },
    ];
    for (const [index, frame] of expected.entries()) {
      const sent = commands(line);
      expect(sent.length).toBe(index + 1);
      const { ref, client_msg_id, ...rest } = sent[index] as ClientFrame & { ref: string; client_msg_id: string };
      expect(ref).toBe(client_msg_id);
      expect(rest).toEqual(frame);
      line.socket.receive(ack(ref, 11));
    }
  });

  test("is nothing when there is nothing to say, and not what no server takes", async () => {
    const { line, client } = await holding();
    client.edit("general", "id-11", " \n");
    client.react("general", "id-11", " ");
    client.edit("general", "id-11", "x".repeat(8_001));
    expect(commands(line)).toEqual([]);
    expect(client.getSnapshot().notice).toBe("The message is too long");
    client.dismissNotice();
    expect(client.getSnapshot().notice).toBeNull();
  });
});

describe("what was asked shows", () => {
  test("from the click to its event, also when the ack comes first", async () => {
    const { line, client } = await holding();
    client.react("general", "id-11", "👍");
    expect(asked(client)).toEqual([THUMB]);
    const { ref } = line.socket.lastOf("react_to_message");
    line.socket.receive(ack(ref, 12));
    expect(asked(client)).toEqual([THUMB]);
    line.socket.receive(reacted(12, "id-11", "me"));
    expect(asked(client)).toEqual([]);
    expect(channelOf(client).messages[0]?.reactions).toMatchObject([{ reaction: "👍", count: 1, mine: true }]);
    expect(line.storage.text).toBe('{"version":1,"entries":[]}');
  });

  test("until the ack when the event came first", async () => {
    const { line, client } = await holding();
    client.pin("general", "id-11", true);
    line.socket.receive(updated(12, "pinned", { seq: 11 }, { is_pinned: true }));
    expect(asked(client).length).toBe(1);
    line.socket.receive(ack(line.socket.lastOf("pin_message").ref, 12));
    expect(asked(client)).toEqual([]);
  });

  test("until it is refused, which a notice says and which changes nothing", async () => {
    const { line, client } = await holding();
    const before = channelOf(client).messages[0];
    client.delete("general", "id-11");
    await line.clock.advance(1);
    client.send("general", "next");
    line.socket.receive(refusal(line.socket.lastOf("delete_message").ref, "permission_denied"));
    expect(client.getSnapshot().notice).toBe("The message was not deleted: you are not allowed to");
    expect(channelOf(client).messages[0]).toEqual(before);
    expect(line.socket.lastOf("send_message").content).toBe("next");
  });

  test.each([
    ["unknown_message", "The reaction 👍 was not taken: it is not there any more"],
    ["too_large", "The reaction 👍 was not taken: it is too long, or you have too many on this message"],
    ["conflict", "The reaction 👍 was not taken: text of conflict"],
  ])("and %s is said in words", async (code, words) => {
    const { line, client } = await holding();
    client.react("general", "id-11", "👍");
    line.socket.receive(refusal(line.socket.lastOf("react_to_message").ref, code));
    expect(client.getSnapshot().notice).toBe(words);
    expect(asked(client)).toEqual([]);
  });

  test("as the same object while nothing about it is new", async () => {
    const { line, client } = await holding();
    client.react("general", "id-11", "👍");
    const [before] = channelOf(client).messages;
    line.socket.receive(live({ seq: 12 }));
    expect(channelOf(client).messages[0]).toBe(before);
  });
});

describe("a command is done once", () => {
  test("when the connection falls before the ack: the toggle goes again under its id, as a retry", async () => {
    const { line, client } = await holding();
    client.react("general", "id-11", "👍");
    const { ref } = line.socket.lastOf("react_to_message");
    const socket = await line.reconnect(12);
    expect(commands(line)).toMatchObject([{ type: "react_to_message", client_msg_id: ref, retry: true }]);
    socket.receive(resumed(12, [reacted(12, "id-11", "me")]));
    expect(channelOf(client).messages[0]?.reactions).toMatchObject([{ count: 1, mine: true }]);
    socket.receive(ack(ref, 12, { duplicate: true }));
    expect(asked(client)).toEqual([]);
    expect(channelOf(client).messages[0]?.reactions).toMatchObject([{ count: 1, mine: true }]);
    expect(commands(line).length).toBe(1);
  });

  test.each(["unavailable", "unknown_outcome", "rate_limited"])("when the server says %s", async (code) => {
    const { line, client } = await holding();
    client.react("general", "id-11", "👍");
    const { ref } = line.socket.lastOf("react_to_message");
    line.socket.receive(refusal(ref, code));
    expect([asked(client), client.getSnapshot().notice]).toEqual([[THUMB], null]);
    await line.clock.advance(1_000);
    expect(commands(line).length).toBe(2);
    expect(line.socket.lastOf("react_to_message")).toMatchObject({ client_msg_id: ref, retry: true });
  });

  test("when the page is loaded anew, and two toggles made offline stay two", async () => {
    const { line, client } = await holding();
    line.socket.close(1006);
    client.react("general", "id-11", "👍");
    await line.clock.advance(1);
    client.react("general", "id-11", "👍");
    const reloaded = line.client();
    reloaded.start();
    await settled();
    line.socket.receive(established());
    const { ref } = line.socket.lastOf("react_to_message");
    line.socket.receive(ack(ref, 12));
    expect(line.socket.lastOf("react_to_message").ref).not.toBe(ref);
    expect(commands(line).map((frame) => "retry" in frame && frame.retry)).toEqual([true, true]);
  });

  test("and one that waits for a channel that was left is not done at all", async () => {
    const { line, client } = await holding();
    client.react("general", "id-11", "👍");
    line.socket.receive({ type: "channel_left", channel_id: "general", reason: "removed" });
    expect(line.storage.text).toBe('{"version":1,"entries":[]}');
    expect(client.getSnapshot().channels).toEqual([]);
  });
});

test("a change of a message that is deleted meanwhile leaves the tombstone", async () => {
  const { line, client } = await holding();
  client.edit("general", "id-11", "better");
  line.socket.receive(deleted(12, "id-11"), refusal(line.socket.lastOf("edit_message").ref, "unknown_message"));
  expect(channelOf(client).messages[0]).toMatchObject({ content: "", asked: [] });
  expect(client.getSnapshot().notice).toBe("The message was not changed: it is not there any more");
});
