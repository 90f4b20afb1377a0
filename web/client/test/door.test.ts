import { describe, expect, test } from "vitest";
import { decodeEvent, decodeFrame, decodeHistory } from "../src/frames.ts";
import { ack, deleted, established, history, live, message, reacted, resumed, updated } from "./frames.ts";

function kindOf(frame: unknown): string {
  return decodeFrame(JSON.stringify(frame)).kind;
}

describe("the door for server frames", () => {
  const good: readonly object[] = [
    established(),
    ack("m-1", 11),
    live({ seq: 11 }),
    resumed(12, [live({ seq: 12 })]),
    history("h", [{ seq: 1 }]),
    updated(12, "pinned", { seq: 11 }, { is_pinned: true }),
    deleted(13, "id-11"),
    reacted(14, "id-11"),
    { type: "channel_list", channels: [], more: false },
    { type: "resume_done" },
    { type: "resume_done", ref: null },
    { type: "pong", server_time: "2026-01-02T03:04:05.678Z" },
    { type: "reconnect", after_ms: 100, reason: "restart" },
    { type: "error", code: "internal", message: "Internal server error" },
    { type: "typing_indicator", user_id: "bob", channel_id: "general", is_typing: true },
  ];

  test.each(good)("takes %j", (frame) => {
    expect(decodeFrame(JSON.stringify(frame))).toMatchObject({ kind: "frame", frame: { type: Reflect.get(frame, "type") } });
  });

  test("takes fields and types that came after it", () => {
    expect(kindOf({ ...live({ seq: 11 }), colour: [] })).toBe("frame");
    expect(kindOf(updated(12, "colour", { seq: 11 }))).toBe("frame");
    expect(kindOf({ type: "presence", users: [] })).toBe("unknown");
    expect(kindOf({ type: "constructor" })).toBe("unknown");
  });

  test("keeps the place of an event whose type came after it", () => {
    const event = { type: "message_sealed", channel_id: "general", epoch: "e1", seq: 12, prev: 11, message: {} };
    const place = { type: "unknown_event", channel_id: "general", epoch: "e1", seq: 12, prev: 11 };
    expect(decodeFrame(JSON.stringify(event))).toEqual({ kind: "frame", frame: place });
    expect(decodeEvent(event)).toEqual(place);
  });

  test.each(["", "{", "null", "[]", "7", '"x"', "{}", '{"type":7}', '{"type":null}'])("refuses %j", (text) => {
    expect(decodeFrame(text)).toEqual({ kind: "malformed", what: "no frame" });
  });

  test.each([
    { ...live({ seq: 11 }), seq: "11" },
    { ...live({ seq: 11 }), seq: 1.5 },
    { ...live({ seq: 11 }), seq: -1 },
    { ...live({ seq: 11 }), seq: 2 ** 53 },
    { ...live({ seq: 11 }), message: null },
    { ...live({ seq: 11 }), message: { ...message({ seq: 11 }), sender: "bob" } },
    { ...live({ seq: 11 }), message: message({ seq: 11 }, { reactions: [{ reaction: "👍", count: 1 }] }) },
    { ...live({ seq: 11 }), message: message({ seq: 11 }, { deleted_at: 7 }) },
    { ...updated(12, "content", { seq: 11 }), changed: null },
    { ...deleted(12, "id-11"), deleted_at: null },
    { ...reacted(12, "id-11"), counts: { "👍": -1 } },
    { ...reacted(12, "id-11"), action: "moved" },
    { ...established(), channels: [{}] },
    { ...established(), channels: {} },
    { ...ack("m-1", 11), message_id: null },
    { ...resumed(12, []), events: [7] },
    { type: "error", code: 4, message: "x" },
    { type: "reconnect", after_ms: "soon" },
    { type: "typing_indicator", user_id: 7, channel_id: "general", is_typing: true },
  ])("refuses %j", (frame) => {
    expect(decodeFrame(JSON.stringify(frame))).toEqual({ kind: "malformed", what: frame.type });
  });

  test("an unreadable event or message of a page costs only itself", () => {
    expect(decodeEvent({ type: "chat_message", channel_id: "general" })).toBeNull();
    expect(decodeEvent({ type: "pong" })).toBeNull();
    const page = history("h", [{ seq: 1 }, { seq: 2 }]).messages;
    const read = decodeHistory([...page, { id: 7 }]);
    expect(read.messages.map(({ seq }) => seq)).toEqual([1, 2]);
    expect(read.malformed).toBe(1);
  });
});
