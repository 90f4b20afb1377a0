import { describe, expect, test } from "vitest";
import {
  type ChannelState,
  newChannel,
  OPENED_MESSAGES_MAX,
  takeAcked,
  takeHistory,
  takeLive,
  takeResumed,
  UNOPENED_MESSAGES_MAX,
} from "../src/channel.ts";
import { decodeEvent, decodeFrame, type EventFrame, type Frame } from "../src/frames.ts";
import { placed } from "../src/message.ts";
import { entry, live, message, resumed, type Said } from "./frames.ts";

const READER = { me: "me", open: false };

function start(seq = 10): ChannelState {
  return newChannel(entry({ seq }));
}

function event(said: Said): EventFrame {
  const decoded = decodeEvent(live(said));
  if (decoded === null) throw new Error("not an event");
  return decoded;
}

function page(seq: number, events: readonly object[], fields: object = {}): Frame<"resumed"> {
  const decoded = decodeFrame(JSON.stringify(resumed(seq, events, fields)));
  if (decoded.kind !== "frame" || decoded.frame.type !== "resumed") throw new Error("not a page");
  return decoded.frame;
}

function take(state: ChannelState, ...said: readonly Said[]): ChannelState {
  return said.reduce((next, one) => takeLive(next, event(one), READER).state, state);
}

function seqs(state: ChannelState): number[] {
  return state.messages.map(({ seq }) => seq);
}

function old(...seqsOfPage: readonly number[]) {
  return seqsOfPage.map((seq) => placed({ epoch: "e1", seq }, message({ seq }), "me"));
}

describe("pushed events", () => {
  const table: readonly [string, Said, "nothing" | "resume", number[], number][] = [
    ["the next one is taken", { seq: 11 }, "nothing", [11], 11],
    ["the next one is taken though numbers are missing", { seq: 40, prev: 10 }, "nothing", [40], 40],
    ["one whose predecessor is older is taken", { seq: 12, prev: 3 }, "nothing", [12], 12],
    ["one from before is dropped", { seq: 10 }, "nothing", [], 10],
    ["one after a gap asks for resume and is not taken", { seq: 13, prev: 12 }, "resume", [], 10],
    ["one of a newer epoch asks for resume", { seq: 11, prev: 10, epoch: "e2" }, "resume", [], 10],
    ["one of an older epoch asks for resume", { seq: 99, prev: 10, epoch: "e0" }, "resume", [], 10],
  ];

  test.each(table)("%s", (_name, said, then, messages, position) => {
    const taken = takeLive(start(), event(said), READER);
    expect(taken.then).toBe(then);
    expect(seqs(taken.state)).toEqual(messages);
    expect(taken.state.position).toEqual({ epoch: "e1", seq: position });
  });

  test("a duplicate changes nothing at all", () => {
    const state = take(start(), { seq: 11 });
    expect(takeLive(state, event({ seq: 11 }), READER).state).toBe(state);
  });

  test("a message id that comes a second time at a later place is shown once, at its first", () => {
    const state = take(start(), { seq: 11, id: "x" }, { seq: 12 }, { seq: 13, id: "x" });
    expect(state.messages.map(({ id }) => id)).toEqual(["x", "id-12"]);
    expect(state.position.seq).toBe(13);
  });

  test("messages of others count as unread unless the channel is open, own ones never", () => {
    const state = take(start(), { seq: 11 }, { seq: 12, by: "me" }, { seq: 13 });
    expect(state.unread).toBe(2);
    expect(takeLive(state, event({ seq: 14 }), { me: "me", open: true }).state.unread).toBe(2);
  });

  test("names of senders are remembered, the same map until one is new", () => {
    const state = take(start(), { seq: 11 });
    expect([...state.members]).toEqual([["bob", "Bob"]]);
    expect(take(state, { seq: 12 }).members).toBe(state.members);
  });

  test("a channel that nobody opened keeps a bounded number", () => {
    const many = Array.from({ length: UNOPENED_MESSAGES_MAX + 5 }, (_, index) => ({ seq: 11 + index }));
    const state = take(start(), ...many);
    expect(state.messages.length).toBe(UNOPENED_MESSAGES_MAX);
    expect(seqs(state)[0]).toBe(16);
  });

  test("an opened channel lets its oldest go, says so, and waits with it while a page is on its way", () => {
    const page = old(...Array.from({ length: OPENED_MESSAGES_MAX }, (_, index) => index + 1));
    const full = takeHistory(start(OPENED_MESSAGES_MAX), page, false);
    const next = { seq: OPENED_MESSAGES_MAX + 1 };
    expect(take({ ...full, loading: true }, next).messages.length).toBe(OPENED_MESSAGES_MAX + 1);
    const trimmed = take(full, next);
    expect([seqs(trimmed)[0], trimmed.messages.length, trimmed.hasOlder]).toEqual([2, OPENED_MESSAGES_MAX, true]);
  });
});

describe("pages", () => {
  test("a resumed page fills the gap and what came twice is there once", () => {
    const before = take(start(), { seq: 11 });
    const taken = takeResumed(before, page(14, [live({ seq: 11 }), live({ seq: 12 }), live({ seq: 14, prev: 12 })]), READER);
    expect(seqs(taken.state)).toEqual([11, 12, 14]);
    expect(taken.state.position.seq).toBe(14);
    expect(taken.state.unread).toBe(3);
    expect(taken.then).toBe("nothing");
    expect(taken.state.messages[0]).toBe(before.messages[0]);
  });

  test("a cut page asks for the next one from its end, which may lie behind its last message", () => {
    const taken = takeResumed(start(), page(15, [live({ seq: 11 })], { more: true }), READER);
    expect(taken.then).toBe("resume");
    expect(taken.state.position).toEqual({ epoch: "e1", seq: 15 });
  });

  test("a page that is older than what was taken meanwhile does not go back", () => {
    const taken = takeResumed(take(start(), { seq: 11 }, { seq: 12 }), page(11, [live({ seq: 11 })]), READER);
    expect(taken.state.position.seq).toBe(12);
    expect(seqs(taken.state)).toEqual([11, 12]);
  });

  test("a page may lead into the next epoch, whose numbers start anew", () => {
    const events = [live({ seq: 11 }), live({ seq: 2, prev: 1, epoch: "e2", id: "new" })];
    const taken = takeResumed(start(), page(2, events, { epoch: "e2" }), READER);
    expect(taken.state.messages.map(({ id }) => id)).toEqual(["id-11", "new"]);
    expect(taken.state.position).toEqual({ epoch: "e2", seq: 2 });
  });

  test("an unreadable event or one of another channel is passed over", () => {
    const events = [{ type: "chat_message" }, live({ seq: 11, channel: "other" }), live({ seq: 12 })];
    const taken = takeResumed(start(), page(12, events), READER);
    expect(seqs(taken.state)).toEqual([12]);
    expect(taken.state.position.seq).toBe(12);
  });

  test("a reset forgets the messages and reloads what was loaded", () => {
    const state = takeHistory(take(start(), { seq: 11 }), old(9, 10), true);
    const taken = takeResumed(state, page(3, [], { epoch: "e2", reset: true }), READER);
    expect(taken.then).toBe("reload");
    expect(taken.state).toMatchObject({ messages: [], loaded: false, loading: true, hasOlder: false });
    expect(taken.state.position).toEqual({ epoch: "e2", seq: 3 });
    expect(takeResumed(start(), page(3, [], { reset: true }), READER).state.loading).toBe(false);
  });

  test("history is put before and between, and never moves the position", () => {
    const state = takeHistory(take(start(), { seq: 11 }), old(9, 10, 11, 12), true);
    expect(seqs(state)).toEqual([9, 10, 11, 12]);
    expect(state).toMatchObject({ loaded: true, loading: false, hasOlder: true, position: { seq: 11 } });
    const older = takeHistory(state, old(7, 8), false);
    expect(seqs(older)).toEqual([7, 8, 9, 10, 11, 12]);
    expect(older.hasOlder).toBe(false);
    expect(older.messages[3]).toBe(state.messages[1]);
  });

  test("a page without a message ends the asking, whatever it claims", () => {
    expect(takeHistory(start(), [], true).hasOlder).toBe(false);
  });
});

describe("acks", () => {
  test("an acked message shows before its live copy, which then takes its place", () => {
    const [message11] = old(11);
    if (message11 === undefined) throw new Error("no message");
    const shown = takeAcked(start(), message11);
    expect(seqs(shown)).toEqual([11]);
    expect(shown.position.seq).toBe(10);
    expect(seqs(take(shown, { seq: 11 }))).toEqual([11]);
  });

  test("an acked message from before unloaded history would hide a gap and is not shown", () => {
    const [message4] = old(4);
    if (message4 === undefined) throw new Error("no message");
    expect(takeAcked(start(), message4).messages).toEqual([]);
  });
});
