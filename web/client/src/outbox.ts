/**
 * Messages and changes of messages on their way: in order per channel, one outstanding per channel, kept until the
 * log has them.
 *
 * Invariant: a message leaves only by `settle` (the server has it) or `discard` (a person gave it up), a change by
 * `settle` or `fail` (the server refused it).
 */
import { isFlag, isRecord, isText, listOf, oneOf, optional, parseJson, shape, word } from "./checks.ts";
import type { MessageChange, OutboxStorage } from "./types.ts";

/** Entries kept, failed ones included. Chosen: at 8,000 characters each they fit into a browser's 5 MB. */
export const OUTBOX_ENTRIES_MAX = 200;

const entryFields = { clientMsgId: isText, channelId: isText, createdAt: isText };
const isUnsent = shape({
  ...entryFields,
  content: isText,
  replyTo: optional(isText),
  threadId: optional(isText),
  error: optional(isText),
});
const isKnownChange = oneOf(
  shape({ kind: word("edit"), content: isText }),
  shape({ kind: word("delete") }),
  shape({ kind: word("pin"), pinned: isFlag }),
  shape({ kind: word("react"), reaction: isText }),
);
const isAsked = shape({ ...entryFields, messageId: isText, change: isKnownChange });
const isStored = shape({ version: (value): value is 1 => value === 1, entries: listOf(isRecord) });

interface Entry {
  readonly clientMsgId: string;
  readonly channelId: string;
  readonly createdAt: string;
}

export interface UnsentMessage extends Entry {
  readonly content: string;
  readonly replyTo: string | null;
  /** The thread that it will be in, as far as is known. */
  readonly threadId: string | null;
  /** Why it failed; null while it is on its way. */
  readonly error: string | null;
}

export interface AskedChange extends Entry {
  readonly messageId: string;
  readonly change: MessageChange;
  readonly error: null;
}

export type OutboxEntry = UnsentMessage | AskedChange;

export function isAskedChange(entry: OutboxEntry): entry is AskedChange {
  return "change" in entry;
}

const NONE: readonly OutboxEntry[] = [];

export class Outbox {
  private readonly lanes = new Map<string, readonly OutboxEntry[]>();
  /** By channel: the one entry that the server was given and has not answered. */
  private readonly outstanding = new Map<string, string>();
  /** Entries that the server may have already, so that they must be sent with `retry`. */
  private readonly tried = new Set<string>();

  constructor(private readonly storage: OutboxStorage | null) {
    for (const entry of stored(load(storage))) {
      this.put(entry);
      // It may have been sent after it was saved.
      this.tried.add(entry.clientMsgId);
    }
  }

  /** The entries of a channel in order of sending; the same object until one changed. */
  ofChannel(channelId: string): readonly OutboxEntry[] {
    return this.lanes.get(channelId) ?? NONE;
  }

  isFull(): boolean {
    return this.all().length >= OUTBOX_ENTRIES_MAX;
  }

  add(entry: OutboxEntry): void {
    this.put(entry);
    this.save();
  }

  /** Gives out the first entry of a channel that may go now, once; null when one is out or none waits. */
  take(channelId: string): { readonly entry: OutboxEntry; readonly retry: boolean } | null {
    const entry = this.ofChannel(channelId).find(({ error }) => error === null);
    if (entry === undefined || this.outstanding.has(channelId)) return null;
    const retry = this.tried.has(entry.clientMsgId);
    this.outstanding.set(channelId, entry.clientMsgId);
    this.tried.add(entry.clientMsgId);
    return { entry, retry };
  }

  /** The server has it: returns what it was, null if it is not known here. */
  settle(clientMsgId: string): OutboxEntry | null {
    return this.remove(clientMsgId);
  }

  /** A person gave up a failed entry; one that is on its way stays. */
  discard(clientMsgId: string): void {
    if (this.find(clientMsgId)?.error != null) this.remove(clientMsgId);
  }

  /** The server refused it for good: a message waits for a person's choice, a change is not made. */
  fail(clientMsgId: string, error: string): void {
    const entry = this.find(clientMsgId);
    if (entry === null) return;
    if (isAskedChange(entry)) {
      this.remove(clientMsgId);
      return;
    }
    this.release(entry);
    this.replace({ ...entry, error });
    this.save();
  }

  failChannel(channelId: string, error: string): void {
    for (const entry of this.ofChannel(channelId)) {
      if (entry.error === null) this.fail(entry.clientMsgId, error);
    }
  }

  /** A failed entry goes again, behind those that wait; returns it, or null if it did not fail. */
  revive(clientMsgId: string): OutboxEntry | null {
    const entry = this.find(clientMsgId);
    if (entry === null || entry.error === null) return null;
    this.remove(clientMsgId);
    this.tried.add(clientMsgId);
    this.add({ ...entry, error: null });
    return entry;
  }

  /** Its answer will not come or was "later": it may be taken again. */
  release({ channelId, clientMsgId }: OutboxEntry): void {
    if (this.outstanding.get(channelId) === clientMsgId) this.outstanding.delete(channelId);
  }

  /** The connection is gone, and every answer with it. */
  releaseAll(): void {
    this.outstanding.clear();
  }

  find(clientMsgId: string): OutboxEntry | null {
    return this.all().find((entry) => entry.clientMsgId === clientMsgId) ?? null;
  }

  channelIds(): readonly string[] {
    return [...this.lanes.keys()];
  }

  private all(): readonly OutboxEntry[] {
    return [...this.lanes.values()].flat();
  }

  private put(entry: OutboxEntry): void {
    this.lanes.set(entry.channelId, [...this.ofChannel(entry.channelId), entry]);
  }

  private replace(entry: OutboxEntry): void {
    const lane = this.ofChannel(entry.channelId);
    this.lanes.set(
      entry.channelId,
      lane.map((known) => (known.clientMsgId === entry.clientMsgId ? entry : known)),
    );
  }

  private remove(clientMsgId: string): OutboxEntry | null {
    const entry = this.find(clientMsgId);
    if (entry === null) return null;
    this.release(entry);
    this.tried.delete(clientMsgId);
    const rest = this.ofChannel(entry.channelId).filter((known) => known.clientMsgId !== clientMsgId);
    if (rest.length > 0) this.lanes.set(entry.channelId, rest);
    else this.lanes.delete(entry.channelId);
    this.save();
    return entry;
  }

  private save(): void {
    try {
      this.storage?.save(JSON.stringify({ version: 1, entries: this.all() }));
    } catch {
      // A full or forbidden storage costs the survival of a reload, not the sending.
    }
  }
}

function load(storage: OutboxStorage | null): string | null {
  try {
    return storage?.load() ?? null;
  } catch {
    return null;
  }
}

/** What an older release or another hand wrote is dropped entry by entry. */
function stored(text: string | null): readonly OutboxEntry[] {
  const value = text === null ? null : parseJson(text);
  if (!isStored(value)) return [];
  return value.entries.flatMap((entry) => fresh(entry) ?? []).slice(0, OUTBOX_ENTRIES_MAX);
}

function fresh(entry: Readonly<Record<string, unknown>>): OutboxEntry | null {
  if (isAsked(entry)) return { ...entry, error: null };
  if (!isUnsent(entry)) return null;
  const { replyTo = null, threadId = null, error = null } = entry;
  return { ...entry, replyTo, threadId, error };
}
