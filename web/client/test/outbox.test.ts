import { describe, expect, test } from "vitest";
import { Outbox, OUTBOX_ENTRIES_MAX, type OutboxEntry } from "../src/outbox.ts";
import type { MessageChange } from "../src/types.ts";
import { Memory } from "./line.ts";

const CREATED = { createdAt: "2026-01-02T03:04:05.000Z", error: null };

function entry(clientMsgId: string, channelId = "general"): OutboxEntry {
  return { clientMsgId, channelId, content: clientMsgId, replyTo: null, threadId: null, ...CREATED };
}

function asked(clientMsgId: string, change: MessageChange, channelId = "general"): OutboxEntry {
  return { clientMsgId, channelId, messageId: "id-1", change, ...CREATED };
}

function filled(...ids: readonly string[]): { outbox: Outbox; storage: Memory } {
  const storage = new Memory();
  const outbox = new Outbox(storage);
  for (const id of ids) outbox.add(entry(id));
  return { outbox, storage };
}

function idsOf(outbox: Outbox, channelId = "general"): string[] {
  return outbox.ofChannel(channelId).map(({ clientMsgId }) => clientMsgId);
}

function taken(outbox: Outbox, channelId = "general"): [string, boolean] | null {
  const next = outbox.take(channelId);
  return next === null ? null : [next.entry.clientMsgId, next.retry];
}

describe("order", () => {
  test("one message is out per channel, the others wait for it", () => {
    const { outbox } = filled("a", "b");
    outbox.add(entry("c", "other"));
    expect(taken(outbox)).toEqual(["a", false]);
    expect(taken(outbox)).toBeNull();
    expect(taken(outbox, "other")).toEqual(["c", false]);
    expect(outbox.settle("a")?.clientMsgId).toBe("a");
    expect(taken(outbox)).toEqual(["b", false]);
  });

  test("after the connection was lost the same message goes first and as a retry", () => {
    const { outbox } = filled("a", "b");
    outbox.take("general");
    outbox.releaseAll();
    expect(taken(outbox)).toEqual(["a", true]);
    outbox.settle("a");
    expect(taken(outbox)).toEqual(["b", false]);
  });

  test("a failed message lets the next one pass, and goes last when revived", () => {
    const { outbox } = filled("a", "b", "c");
    outbox.take("general");
    outbox.fail("a", "no");
    expect(taken(outbox)).toEqual(["b", false]);
    expect(outbox.revive("b")).toBeNull();
    expect(outbox.revive("a")?.error).toBe("no");
    expect(idsOf(outbox)).toEqual(["b", "c", "a"]);
    outbox.settle("b");
    outbox.settle("c");
    expect(taken(outbox)).toEqual(["a", true]);
  });

  test("only a failed message can be discarded", () => {
    const { outbox } = filled("a", "b");
    outbox.fail("a", "no");
    outbox.discard("a");
    outbox.discard("b");
    expect(idsOf(outbox)).toEqual(["b"]);
  });

  test("an answer about an unknown message changes nothing", () => {
    const { outbox } = filled("a");
    const before = outbox.ofChannel("general");
    expect(outbox.settle("x")).toBeNull();
    outbox.fail("x", "no");
    expect(outbox.ofChannel("general")).toBe(before);
  });

  test("a change stands in the same order, and is gone when it was refused", () => {
    const { outbox } = filled("a");
    outbox.add(asked("b", { kind: "delete" }));
    outbox.add(entry("c"));
    outbox.take("general");
    outbox.settle("a");
    expect(taken(outbox)).toEqual(["b", false]);
    outbox.fail("b", "no");
    expect(idsOf(outbox)).toEqual(["c"]);
    expect(taken(outbox)).toEqual(["c", false]);
  });

  test("it says when it is full", () => {
    const { outbox } = filled(...Array.from({ length: OUTBOX_ENTRIES_MAX - 1 }, (_, index) => `m${index}`));
    expect(outbox.isFull()).toBe(false);
    outbox.add(entry("last"));
    expect(outbox.isFull()).toBe(true);
  });
});

describe("reload", () => {
  test("what was not settled is there again in order, and goes as a retry", () => {
    const { outbox, storage } = filled("a", "b", "c");
    outbox.take("general");
    outbox.settle("a");
    outbox.fail("c", "no");
    const again = new Outbox(storage);
    expect(idsOf(again)).toEqual(["b", "c"]);
    expect(again.find("c")?.error).toBe("no");
    expect(taken(again)).toEqual(["b", true]);
  });

  test("changes of each kind are there again, and what is none is not", () => {
    const storage = new Memory();
    const outbox = new Outbox(storage);
    const changes: readonly MessageChange[] = [
      { kind: "edit", content: "better" },
      { kind: "delete" },
      { kind: "pin", pinned: false },
      { kind: "react", reaction: "👍" },
    ];
    changes.forEach((change, index) => outbox.add(asked(`c${index}`, change)));
    const again = new Outbox(storage);
    expect(again.ofChannel("general")).toEqual(outbox.ofChannel("general"));
    expect(taken(again)).toEqual(["c0", true]);
    storage.text = JSON.stringify({ version: 1, entries: [{ ...asked("x", { kind: "delete" }), change: { kind: "eat" } }] });
    expect(new Outbox(storage).channelIds()).toEqual([]);
  });

  test("a message that a release without threads wrote is there again", () => {
    const storage = new Memory();
    const { clientMsgId, channelId, createdAt } = entry("a");
    storage.text = JSON.stringify({ version: 1, entries: [{ clientMsgId, channelId, createdAt, content: "a" }] });
    expect(new Outbox(storage).find("a")).toEqual({ ...entry("a") });
  });

  test.each(["", "{", "null", '{"version":2,"entries":[]}', '{"version":1,"entries":[7]}'])(
    "a storage that holds %j is taken for empty",
    (text) => {
      const storage = new Memory();
      storage.text = text;
      expect(new Outbox(storage).channelIds()).toEqual([]);
    },
  );

  test("an unreadable entry costs only itself", () => {
    const storage = new Memory();
    storage.text = JSON.stringify({ version: 1, entries: [{ clientMsgId: 7 }, entry("a")] });
    expect(idsOf(new Outbox(storage))).toEqual(["a"]);
  });

  test("a storage that fails does not stop the sending", () => {
    const broken = (): never => {
      throw new Error("quota");
    };
    const outbox = new Outbox({ load: broken, save: broken });
    outbox.add(entry("a"));
    expect(taken(outbox)).toEqual(["a", false]);
  });
});
