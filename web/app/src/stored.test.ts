import { describe, expect, it } from "vitest";
import { joined } from "./stored.ts";

function outbox(...entries: readonly (readonly [id: string, second: number])[]): string {
  const written = entries.map(([clientMsgId, second]) => ({
    clientMsgId,
    createdAt: `2026-01-02T03:04:0${second}.000Z`,
  }));
  return JSON.stringify({ version: 1, entries: written });
}

describe("two outboxes become one", () => {
  it("in the order of writing", () => {
    expect(joined(outbox(["a", 1], ["c", 3]), outbox(["b", 2], ["d", 4]))).toBe(
      outbox(["a", 1], ["b", 2], ["c", 3], ["d", 4]),
    );
    expect(joined(null, outbox(["a", 1]))).toBe(outbox(["a", 1]));
  });

  it("with each message once, as after a tab that died while it took over", () => {
    expect(joined(outbox(["a", 1], ["b", 2]), outbox(["a", 1]))).toBe(outbox(["a", 1], ["b", 2]));
  });

  it("but not when one of them is unreadable or both are too many", () => {
    expect(joined(null, "{")).toBeNull();
    expect(joined(null, '{"version":2,"entries":[]}')).toBeNull();
    expect(joined(null, '{"version":1,"entries":[7]}')).toBeNull();
    const many = outbox(...Array.from({ length: 150 }, (_, n) => [`m${n}`, 1] as const));
    expect(joined(many, many)).toBe(many);
    expect(joined(many, many.replaceAll('"m', '"n'))).toBeNull();
  });
});
