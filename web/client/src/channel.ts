/**
 * One channel as this client knows it: its position and its messages. Pure: state and event in, state out.
 *
 * Invariant: every change of a message up to `position` is in the messages that are held, once; those that came while
 * a page was on its way are in that page too, which may have been written before them.
 */
import { type ChangeEvent, isChange, withChange } from "./changes.ts";
import { decodeEvent, type ChannelEntry, type EventFrame, type Frame, type Position } from "./frames.ts";
import { comparePositions, merge, type Placed, placed } from "./message.ts";
import type { AskedChange } from "./outbox.ts";
import { forgotten, type Paged, type Thread, trimmed, withPage, withReplies } from "./pages.ts";

/** Messages kept of a channel that nobody opened. Chosen: enough for a preview. */
export const UNOPENED_MESSAGES_MAX = 200;
/** Messages kept of an opened channel before the oldest give way to live ones. Chosen: days of a busy channel. */
export const OPENED_MESSAGES_MAX = 5_000;

export interface ChannelState extends Paged {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly role: string;
  /** The last event taken. */
  readonly position: Position;
  readonly unread: number;
  readonly members: ReadonlyMap<string, string>;
  readonly thread: Thread | null;
  /** Changes taken since the page that is on its way was asked for. */
  readonly late: readonly ChangeEvent[];
  /** Changes of this user that the log has and whose events did not come yet. */
  readonly acked: readonly AckedChange[];
}

export interface AckedChange extends Position {
  readonly asked: AskedChange;
}

/** Who reads, and whether this channel is the one on the screen. */
export interface Reader {
  readonly me: string | null;
  readonly open: boolean;
}

export interface Taken {
  readonly state: ChannelState;
  /** What the client has to ask for. */
  readonly then: "nothing" | "resume" | "reload";
}

export function newChannel(entry: ChannelEntry): ChannelState {
  return {
    id: entry.channel_id,
    name: entry.name,
    type: entry.channel_type,
    role: entry.role,
    position: { epoch: entry.epoch, seq: entry.seq },
    messages: [],
    loading: false,
    loaded: false,
    hasOlder: false,
    unread: 0,
    members: new Map(),
    thread: null,
    late: [],
    acked: [],
  };
}

/** Takes a pushed event, or finds that something is missing before it. */
export function takeLive(state: ChannelState, event: EventFrame, reader: Reader): Taken {
  if (event.epoch !== state.position.epoch) return { state, then: "resume" };
  if (event.seq <= state.position.seq) return { state, then: "nothing" };
  if (event.prev > state.position.seq) return { state, then: "resume" };
  return { state: trim(unacked(apply(state, event, reader))), then: "nothing" };
}

/** Takes a page of what happened since the position that was named in `resume`. */
export function takeResumed(state: ChannelState, page: Frame<"resumed">, reader: Reader): Taken {
  const end: Position = { epoch: page.epoch, seq: page.seq };
  const more = page.more === true;
  if (page.reset === true) return { state: forget(state, end), then: more ? "resume" : "reload" };
  let next = state;
  for (const raw of page.events) {
    const event = decodeEvent(raw);
    if (event !== null && event.channel_id === state.id && isAhead(event, next.position)) {
      next = apply(next, event, reader);
    }
  }
  if (isAhead(end, next.position)) next = { ...next, position: end };
  return { state: trim(unacked(next)), then: more ? "resume" : "nothing" };
}

/** Takes a page of history: the newest one, or the one before the oldest message. */
export function takeHistory(state: ChannelState, messages: readonly Placed[], more: boolean): ChannelState {
  return settled({ ...withPage(state, messages, more), members: withNames(state.members, messages) });
}

/** Takes a page of the open thread. */
export function takeThread(state: ChannelState, messages: readonly Placed[], more: boolean): ChannelState {
  const thread = state.thread === null ? null : withPage(state.thread, messages, more);
  return settled({ ...state, thread, members: withNames(state.members, messages) });
}

/** A page that is asked for later knows the changes until then. */
function settled(state: ChannelState): ChannelState {
  return isWaiting(state) || state.late.length === 0 ? state : { ...state, late: [] };
}

/** Whether a page is on its way. */
function isWaiting({ loading, thread }: ChannelState): boolean {
  return loading || thread?.loading === true;
}

/** Returns a page with the changes that came while it was on its way. */
export function broughtUpToDate(state: ChannelState, page: readonly Placed[], me: string | null): readonly Placed[] {
  return state.late.reduce((list, event) => withChange(list, event, me), page);
}

/**
 * Shows an own message whose `ack` came before its live copy. An `ack` of a message from long ago is not shown
 * here: standing before unloaded history it would hide the gap.
 */
export function takeAcked(state: ChannelState, message: Placed): ChannelState {
  const pushedLater = comparePositions(message, state.position) > 0;
  if (!pushedLater) return state;
  return { ...state, messages: merge(state.messages, [message]), thread: withReplies(state.thread, [message]) };
}

/** Keeps an own change in view from its `ack` until its event comes. */
export function takeAckedChange(state: ChannelState, change: AckedChange): ChannelState {
  return unacked({ ...state, acked: [...state.acked, change] });
}

function unacked(state: ChannelState): ChannelState {
  if (state.acked.length === 0) return state;
  return { ...state, acked: state.acked.filter((change) => comparePositions(change, state.position) > 0) };
}

function apply(state: ChannelState, event: EventFrame, reader: Reader): ChannelState {
  const moved = { ...state, position: { epoch: event.epoch, seq: event.seq } };
  if (isChange(event)) return change(moved, event, reader.me);
  switch (event.type) {
    case "chat_message": {
      const message = placed(event, event.message, reader.me);
      const ofOthers = event.message.sender.id !== reader.me && message.view.deletedAt === null;
      const countsAsUnread = !reader.open && ofOthers;
      return {
        ...moved,
        messages: merge(state.messages, [message]),
        thread: withReplies(state.thread, [message]),
        members: withNames(state.members, [message]),
        unread: state.unread + (countsAsUnread ? 1 : 0),
      };
    }
    case "channel_updated":
      return { ...moved, name: event.channel.name, type: event.channel.channel_type };
    case "member_added":
    case "member_removed":
    case "unknown_event":
      return moved;
  }
}

/** A message that is not held changes behind the view: the page that shows it shows it as it is then. */
function change(state: ChannelState, event: ChangeEvent, me: string | null): ChannelState {
  const { messages, thread } = state;
  const changed = thread === null ? null : withChange(thread.messages, event, me);
  return {
    ...state,
    messages: withChange(messages, event, me),
    thread: thread === null || changed === null || changed === thread.messages ? thread : { ...thread, messages: changed },
    late: isWaiting(state) ? [...state.late, event] : [],
  };
}

/** In another epoch only the server can tell what is ahead; it names one when it moved there itself. */
function isAhead(place: Position, own: Position): boolean {
  return place.epoch !== own.epoch || place.seq > own.seq;
}

function forget(state: ChannelState, position: Position): ChannelState {
  const wanted = state.loaded || state.loading;
  const thread = state.thread === null ? null : forgotten(state.thread);
  const empty = { messages: [], loaded: false, loading: wanted, hasOlder: false, late: [], acked: [] };
  return { ...state, position, thread, ...empty };
}

function trim(state: ChannelState): ChannelState {
  const most = state.loaded ? OPENED_MESSAGES_MAX : UNOPENED_MESSAGES_MAX;
  const thread = state.thread === null ? null : trimmed(state.thread, OPENED_MESSAGES_MAX);
  return trimmed(thread === state.thread ? state : { ...state, thread }, most);
}

function withNames(names: ReadonlyMap<string, string>, messages: readonly Placed[]): ReadonlyMap<string, string> {
  const fresh = messages.filter(({ view }) => names.get(view.senderId) !== view.senderName);
  if (fresh.length === 0) return names;
  return new Map([...names, ...fresh.map(({ view }) => [view.senderId, view.senderName] as const)]);
}
