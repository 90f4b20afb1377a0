/**
 * Lists that are loaded page by page from their newest end: a channel's messages, and those of a thread.
 *
 * Invariant: `messages` ascend by position, hold each message id once, and have no gap between the oldest of them
 * and the channel's position; what is older lies behind `hasOlder` or, before the first page, behind `loaded: false`.
 */
import { merge, type Placed } from "./message.ts";

export interface Paged {
  readonly messages: readonly Placed[];
  readonly loading: boolean;
  readonly loaded: boolean;
  readonly hasOlder: boolean;
}

/** The thread that is open: a message and its replies. */
export interface Thread extends Paged {
  readonly rootId: string;
}

/** Opens a thread with what the channel holds of it, which is all of it since the oldest message there. */
export function newThread(rootId: string, channel: readonly Placed[]): Thread {
  return { ...forgotten({ rootId }), messages: channel.filter((message) => isOf(rootId, message)) };
}

/** Takes a page: the newest one, or the one before the oldest message. */
export function withPage<P extends Paged>(paged: P, page: readonly Placed[], more: boolean): P {
  // A page without a message cannot be asked past, whatever it claims.
  const hasOlder = more && page.length > 0;
  return { ...paged, messages: merge(paged.messages, page), loading: false, loaded: true, hasOlder };
}

/** Takes messages at the newest end, as far as they are the thread's. */
export function withReplies(thread: Thread | null, messages: readonly Placed[]): Thread | null {
  if (thread === null) return null;
  const replies = messages.filter((message) => isOf(thread.rootId, message));
  return replies.length === 0 ? thread : { ...thread, messages: merge(thread.messages, replies) };
}

/** Lets the oldest go when there are too many, but never while a page is on its way: its place is before them. */
export function trimmed<P extends Paged>(paged: P, most: number): P {
  if (paged.loading || paged.messages.length <= most) return paged;
  return { ...paged, messages: paged.messages.slice(-most), hasOlder: paged.loaded };
}

/** Returns the thread without its messages, to be loaded. */
export function forgotten({ rootId }: Pick<Thread, "rootId">): Thread {
  return { rootId, messages: [], loading: true, loaded: false, hasOlder: false };
}

function isOf(rootId: string, { id, view }: Placed): boolean {
  return id === rootId || view.threadId === rootId;
}
