import { describe, expect, test } from "vitest";
import { Backoff, fullJitterMs } from "../src/backoff.ts";
import { reconnectsAfter } from "../src/closes.ts";
import { faultOf } from "../src/delivery.ts";
import { judgeSilence } from "../src/heartbeat.ts";
import { newClientMsgId } from "../src/ids.ts";
import { TypingSaid, TypingSeen } from "../src/typing.ts";

const ALMOST_ONE = 1 - 2 ** -52;

describe("backoff", () => {
  test("full jitter spreads from nothing to the doubled base, and never beyond the cap", () => {
    const ceilings = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
    ceilings.forEach((ceiling, attempt) => {
      expect(fullJitterMs(attempt, 0)).toBe(0);
      expect(fullJitterMs(attempt, 0.5)).toBe(ceiling / 2);
      expect(fullJitterMs(attempt, ALMOST_ONE)).toBe(ceiling - 1);
    });
    expect(fullJitterMs(5_000, ALMOST_ONE)).toBe(29_999);
  });

  test("a short connection does not reset the attempts and 30 s of stability do", () => {
    const backoff = new Backoff();
    expect([1, 2, 3].map(() => backoff.next(0, 0.5))).toEqual([250, 500, 1_000]);
    backoff.online(1_000);
    expect(backoff.next(30_999, 0.5)).toBe(2_000);
    backoff.online(40_000);
    expect(backoff.next(70_000, 0.5)).toBe(250);
  });
});

describe("close codes", () => {
  test.each([1000, 1002, 1003, 1007, 1008, 1009, 4500, 4501, 4502, 4505, 4999])("%i is final", (code) => {
    expect(reconnectsAfter(code)).toBe(false);
  });

  test.each([1001, 1005, 1006, 1011, 1012, 1013, 4000, 4001, 4008, 4009, 4010, 4011, 4012, 4013, 4499])(
    "%i comes back",
    (code) => {
      expect(reconnectsAfter(code)).toBe(true);
    },
  );
});

describe("heartbeat", () => {
  test.each([
    [0, false, { do: "wait", forMs: 150 }],
    [149, false, { do: "wait", forMs: 1 }],
    [150, false, { do: "ping", forMs: 50 }],
    [170, true, { do: "wait", forMs: 30 }],
    [200, true, { do: "give up" }],
    [9_999, false, { do: "give up" }],
  ])("%i ms of silence (pinged: %s) at an interval of 100 ms", (silentMs, pinged, expected) => {
    expect(judgeSilence(silentMs, 100, pinged)).toEqual(expected);
  });
});

describe("typing", () => {
  test("an indicator expires by itself after 5 s and a stop ends it at once", () => {
    const seen = new TypingSeen();
    seen.set("c", "ann", true, 0);
    seen.set("c", "bob", true, 1_000);
    expect(seen.list("c")).toEqual(["ann", "bob"]);
    expect(seen.nextExpiryMs()).toBe(5_000);
    seen.expire(4_999);
    expect(seen.list("c")).toEqual(["ann", "bob"]);
    seen.expire(5_000);
    expect(seen.list("c")).toEqual(["bob"]);
    seen.set("c", "bob", false, 5_001);
    expect(seen.list("c")).toEqual([]);
    expect(seen.nextExpiryMs()).toBeNull();
  });

  test("a repeated start prolongs without a new list", () => {
    const seen = new TypingSeen();
    seen.set("c", "ann", true, 0);
    const list = seen.list("c");
    seen.set("c", "ann", true, 4_000);
    seen.expire(5_000);
    expect(seen.list("c")).toBe(list);
  });

  test("one start goes out per 2 s and channel, and one stop", () => {
    const said = new TypingSaid();
    expect(said.due("c", false, 0)).toBeNull();
    expect(said.due("c", true, 0)).toBe("typing_start");
    expect(said.due("c", true, 1_999)).toBeNull();
    expect(said.due("d", true, 1_999)).toBe("typing_start");
    expect(said.due("c", true, 2_000)).toBe("typing_start");
    expect(said.due("c", false, 2_001)).toBe("typing_stop");
    expect(said.due("c", false, 2_002)).toBeNull();
  });
});

describe("messages that go out", () => {
  test("ids fit the protocol's alphabet and differ", () => {
    const ids = new Set(Array.from({ length: 1_000 }, () => newClientMsgId(1_767_323_045_000, Math.random)));
    expect(ids.size).toBe(1_000);
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
    expect(newClientMsgId(0, () => ALMOST_ONE).length).toBeLessThanOrEqual(64);
  });

  test.each([
    ["8,000 characters", "a".repeat(8_000), true],
    ["8,001 characters", "a".repeat(8_001), false],
    ["8,000 characters of four bytes", "🚚".repeat(8_000), true],
  ])("%s", (_name, content, fits) => {
    expect(faultOf(content) === null).toBe(fits);
  });

  test("the largest content stays below the frame limit, however it is written", () => {
    const worst = JSON.stringify({ content: "\u0001".repeat(8_000) });
    expect(new TextEncoder().encode(worst).length).toBeLessThan(60_000);
  });
});
