/** Sends what the outbox holds, messages and changes: waits for each answer, and tries again what may pass later. */
import { fullJitterMs } from "./backoff.ts";
import type { ClientFrame, Frame } from "./frames.ts";
import { isAskedChange, type Outbox, type OutboxEntry } from "./outbox.ts";
import { Alarms } from "./timers.ts";
import type { Timers } from "./types.ts";

/** Milliseconds without an answer after which a message is sent again. Chosen: twice what the log may take. */
export const ANSWER_TIME_MS = 15_000;
/** Characters of a message's content. Protocol page; even all escaped they stay below its limits in bytes. */
export const CONTENT_CHARS_MAX = 8_000;

/** Error codes that pass by themselves; the message is kept and sent again. */
const TRANSIENT: ReadonlySet<string> = new Set(["unavailable", "unknown_outcome", "rate_limited"]);

export function isTransient(code: string): boolean {
  return TRANSIENT.has(code);
}

/** Returns what is wrong with a content, before a server has to refuse it; null if nothing. */
export function faultOf(content: string): string | null {
  return [...content].length > CONTENT_CHARS_MAX ? "The message is too long" : null;
}

export interface DeliveryPorts {
  readonly send: (frame: ClientFrame) => void;
  /** Whether the user is a member, as far as is known. */
  readonly isChannel: (channelId: string) => boolean;
  readonly random: () => number;
  readonly timers: Timers;
}

export class Delivery {
  private up = false;
  /** By channel: waits for an answer, or before the next attempt. */
  private readonly alarms: Alarms;
  private readonly paused = new Set<string>();
  private readonly attempts = new Map<string, number>();

  constructor(
    private readonly outbox: Outbox,
    private readonly ports: DeliveryPorts,
  ) {
    this.alarms = new Alarms(ports.timers);
  }

  online(): void {
    this.up = true;
    for (const channelId of this.outbox.channelIds()) this.pump(channelId);
  }

  offline(): void {
    this.up = false;
    this.alarms.cancelAll();
    this.paused.clear();
    this.outbox.releaseAll();
  }

  /** Sends the next message of a channel, if it may go now. */
  pump(channelId: string): void {
    if (!this.up || this.paused.has(channelId) || !this.ports.isChannel(channelId)) return;
    const taken = this.outbox.take(channelId);
    if (taken === null) return;
    this.alarms.set(channelId, ANSWER_TIME_MS, () => this.postpone(taken.entry, 0));
    this.ports.send(frameOf(taken.entry, taken.retry));
  }

  /** The server has it; returns what it was, null if it was settled before. */
  settle(clientMsgId: string): OutboxEntry | null {
    const entry = this.outbox.settle(clientMsgId);
    if (entry !== null) this.next(entry.channelId);
    return entry;
  }

  /** The server refused it, for now or for good; returns what it was, null if it is not of this outbox. */
  refused(error: Frame<"error">): OutboxEntry | null {
    const entry = this.outbox.find(error.ref ?? "");
    if (entry === null) return null;
    if (isTransient(error.code)) {
      this.postpone(entry, error.retry_after_ms ?? 0);
    } else {
      this.outbox.fail(entry.clientMsgId, error.message);
      this.next(entry.channelId);
    }
    return entry;
  }

  resend(clientMsgId: string): void {
    const entry = this.outbox.find(clientMsgId);
    // Too long stays too long, and the server would close the socket over it.
    if (entry === null || isAskedChange(entry) || faultOf(entry.content) !== null) return;
    if (this.outbox.revive(clientMsgId) !== null) this.pump(entry.channelId);
  }

  private next(channelId: string): void {
    this.attempts.delete(channelId);
    this.paused.delete(channelId);
    this.alarms.cancel(channelId);
    this.pump(channelId);
  }

  private postpone(entry: OutboxEntry, atLeastMs: number): void {
    const { channelId } = entry;
    const attempt = this.attempts.get(channelId) ?? 0;
    this.attempts.set(channelId, attempt + 1);
    this.outbox.release(entry);
    this.paused.add(channelId);
    this.alarms.set(channelId, atLeastMs + fullJitterMs(attempt, this.ports.random()), () => {
      this.paused.delete(channelId);
      this.pump(channelId);
    });
  }
}

/** The entry's own id is the `ref` too, so that an `error` names its entry. */
function frameOf(entry: OutboxEntry, retry: boolean): ClientFrame {
  const { clientMsgId, channelId: channel_id } = entry;
  const common = { ref: clientMsgId, channel_id, client_msg_id: clientMsgId, ...(retry ? { retry } : {}) };
  if (!isAskedChange(entry)) {
    const reply = entry.replyTo === null ? {} : { reply_to: entry.replyTo };
    return { type: "send_message", content: entry.content, ...reply, ...common };
  }
  const { messageId: message_id, change } = entry;
  switch (change.kind) {
    case "edit":
      return { type: "edit_message", message_id, content: change.content, ...common };
    case "delete":
      return { type: "delete_message", message_id, ...common };
    case "pin":
      return { type: "pin_message", message_id, pinned: change.pinned, ...common };
    case "react":
      return { type: "react_to_message", message_id, reaction: change.reaction, ...common };
  }
}
