/** A clock that stands still until a test moves it. */
import type { Timers } from "../src/types.ts";

interface Due {
  readonly atMs: number;
  readonly callback: () => void;
}

export class Clock implements Timers {
  nowMs = Date.parse("2026-01-02T03:04:05.000Z");
  private readonly waiting = new Set<Due>();

  readonly now = (): number => this.nowMs;

  get timersWaiting(): number {
    return this.waiting.size;
  }

  after(delayMs: number, callback: () => void): () => void {
    const due: Due = { atMs: this.nowMs + delayMs, callback };
    this.waiting.add(due);
    return () => this.waiting.delete(due);
  }

  /** Moves on, running what becomes due in its order, and lets promises come through. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    await settled();
    for (let due = this.next(untilMs); due !== null; due = this.next(untilMs)) {
      this.waiting.delete(due);
      this.nowMs = Math.max(this.nowMs, due.atMs);
      due.callback();
      await settled();
    }
    this.nowMs = untilMs;
  }

  private next(untilMs: number): Due | null {
    let first: Due | null = null;
    for (const due of this.waiting) {
      if (due.atMs <= untilMs && (first === null || due.atMs < first.atMs)) first = due;
    }
    return first;
  }
}

/** A token takes a few turns of the promise queue, never time. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await Promise.resolve();
}
