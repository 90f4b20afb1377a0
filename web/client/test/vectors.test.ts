/** The golden frames, which the Rust tests read too: a difference is a fault of the code. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeFrame } from "../src/frames.ts";

interface ServerVector {
  readonly name: string;
  readonly v1: { readonly type: string };
}

interface BadVector {
  readonly name: string;
  readonly text: string;
}

function read<T>(file: string): readonly T[] {
  const url = new URL(`../../../shared/protocol/vectors/${file}`, import.meta.url);
  return JSON.parse(readFileSync(url, "utf8")) as readonly T[];
}

/** Frames that this client has no use for. */
const UNUSED = new Set(["user_joined", "user_left", "messages_marked_read"]);

describe("golden frames", () => {
  for (const { name, v1 } of read<ServerVector>("server.json")) {
    it(`takes ${name}`, () => {
      const decoded = decodeFrame(JSON.stringify(v1));
      if (UNUSED.has(v1.type)) expect(decoded.kind).not.toBe("malformed");
      else expect(decoded).toMatchObject({ kind: "frame", frame: v1 });
    });
  }

  for (const { name, text } of read<BadVector>("server_bad.json")) {
    it(`refuses ${name}`, () => {
      expect(decodeFrame(text).kind).not.toBe("frame");
    });
  }
});
