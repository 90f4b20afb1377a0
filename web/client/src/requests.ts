/**
 * What was asked about channels and not answered yet: `resume` and `fetch_history`.
 *
 * Invariant: of each channel at most one `resume` counts, the last one sent; while it runs, gaps are its business.
 */
import { fullJitterMs } from "./backoff.ts";
import type { ChannelState } from "./channel.ts";
import { isTransient } from "./delivery.ts";
import type { ClientFrame, Frame, Position } from "./frames.ts";
import type { Paged } from "./pages.ts";
import { Alarms } from "./timers.ts";
import type { Timers } from "./types.ts";

/** Channels in one `resume` frame. Protocol page. */
export const RESUME_CHANNELS_MAX = 400;
/** Messages asked for at once. Chosen: two screens. */
export const HISTORY_LIMIT = 50;

export interface RequestPorts {
  readonly send: (frame: ClientFrame) => void;
  readonly random: () => number;
  readonly timers: Timers;
}

type Kind = "resume" | "history" | "thread";
interface Asked {
  readonly kind: Kind;
  readonly channelIds: readonly string[];
}

/** What an `error` means for the requests that it answers. */
export type Refusal =
  | { readonly outcome: "not a request" }
  /** `again` is called for each channel when it is time. */
  | { readonly outcome: "later" }
  | { readonly outcome: "final"; readonly kind: Kind; readonly channelIds: readonly string[] };

export class Requests {
  private up = false;
  private readonly asked = new Map<string, Asked>();
  /** By channel: the `ref` of the `resume` that counts. */
  private readonly counting = new Map<string, string>();
  private readonly retries: Alarms;
  private attempts = 0;
  private refs = 0;

  constructor(
    private readonly ports: RequestPorts,
    private readonly again: (kind: Kind, channelId: string) => void,
  ) {
    this.retries = new Alarms(ports.timers);
  }

  online(): void {
    this.up = true;
  }

  /** Nothing that was asked will be answered. */
  offline(): void {
    this.up = false;
    this.attempts = 0;
    this.retries.cancelAll();
    this.asked.clear();
    this.counting.clear();
  }

  isResuming(channelId: string): boolean {
    return this.counting.has(channelId);
  }

  /** Asks what happened since these positions; `last` ends the server's waiting for further ones. */
  resume(states: readonly ChannelState[], last?: "last"): void {
    let from = 0;
    do {
      const part = states.slice(from, from + RESUME_CHANNELS_MAX);
      from += RESUME_CHANNELS_MAX;
      const ref = this.ask("resume", part.map(({ id }) => id));
      for (const { id } of part) this.counting.set(id, ref);
      const channels = part.map(({ id, position }) => ({ channel_id: id, ...position }));
      const isLast = last === "last" && from >= states.length;
      this.ports.send({ type: "resume", ref, channels, ...(isLast ? { last: true } : {}) });
    } while (from < states.length);
  }

  /** Asks for the page before the oldest message, or the newest; offline it waits for `online` to ask again. */
  history(state: ChannelState): void {
    if (!this.up) return;
    const ref = this.ask("history", [state.id]);
    this.ports.send({ type: "fetch_history", ref, channel_id: state.id, ...before(state), limit: HISTORY_LIMIT });
  }

  /** The same of a channel's open thread. */
  thread(state: ChannelState): void {
    const { id: channel_id, thread } = state;
    if (!this.up || thread === null) return;
    const ref = this.ask("thread", [channel_id]);
    const of = { channel_id, thread_id: thread.rootId };
    this.ports.send({ type: "fetch_history", ref, ...of, ...before(thread), limit: HISTORY_LIMIT });
  }

  resumed(channelId: string): void {
    this.attempts = 0;
    this.counting.delete(channelId);
  }

  /** Channels of that `resume` without a `resumed` had nothing new. */
  resumeDone(ref: string): void {
    for (const channelId of this.asked.get(ref)?.channelIds ?? []) {
      if (this.counting.get(channelId) === ref) this.counting.delete(channelId);
    }
    this.asked.delete(ref);
  }

  /** Returns what the page was asked for; null when nobody waits for it any more. */
  historyAnswered(ref: string): Kind | null {
    this.attempts = 0;
    const kind = this.asked.get(ref)?.kind ?? null;
    this.asked.delete(ref);
    return kind;
  }

  /** Pages of messages that were forgotten must not come back. */
  forgetHistory(channelId: string): void {
    this.forget("history", channelId);
    this.forgetThread(channelId);
  }

  /** Nor pages of a thread that was closed. */
  forgetThread(channelId: string): void {
    this.forget("thread", channelId);
  }

  forgetChannel(channelId: string): void {
    this.counting.delete(channelId);
    this.retries.cancel(`resume ${channelId}`);
    this.forgetHistory(channelId);
  }

  refused(error: Frame<"error">): Refusal {
    const ref = error.ref ?? "";
    const asked = this.asked.get(ref);
    if (asked === undefined) return { outcome: "not a request" };
    this.asked.delete(ref);
    const { kind, channelIds } = asked;
    if (isTransient(error.code)) {
      const delayMs = (error.retry_after_ms ?? 0) + fullJitterMs(this.attempts++, this.ports.random());
      for (const id of channelIds) this.retries.set(`${kind} ${id}`, delayMs, () => this.again(kind, id));
      return { outcome: "later" };
    }
    for (const id of channelIds) if (this.counting.get(id) === ref) this.counting.delete(id);
    return { outcome: "final", kind, channelIds };
  }

  private forget(forgotten: Kind, channelId: string): void {
    this.retries.cancel(`${forgotten} ${channelId}`);
    for (const [ref, { kind, channelIds }] of this.asked) {
      if (kind === forgotten && channelIds.includes(channelId)) this.asked.delete(ref);
    }
  }

  private ask(kind: Kind, channelIds: readonly string[]): string {
    const ref = `${kind}-${++this.refs}`;
    this.asked.set(ref, { kind, channelIds });
    return ref;
  }
}

/** The bound of the page before the oldest message; the newest page has none. */
function before({ loaded, messages }: Paged): { before?: Position } {
  const oldest = loaded ? messages[0] : undefined;
  return oldest === undefined ? {} : { before: { epoch: oldest.epoch, seq: oldest.seq } };
}
