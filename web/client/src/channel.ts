/**
 * One channel as this client knows it: its position and its messages. Pure: state and event in, state out.
 *
 * Invariant: `messages` ascend by position, hold each message id once, and have no gap between the oldest of them
 * and `position`; what is older lies behind `hasOlder` or, before the first page, behind `loaded: false`.
 */
import { decodeEvent, type ChannelEntry, type EventFrame, type Frame, type Position } from "./frames.ts";
import { comparePositions, merge, type Placed, placed } from "./message.ts";

/** Messages kept of a channel that nobody opened. Chosen: enough for a preview. */
export const UNOPENED_MESSAGES_MAX = 200;
/** Messages kept of an opened channel before the oldest give way to live ones. Chosen: days of a busy channel. */
export const OPENED_MESSAGES_MAX = 5_000;

export interface ChannelState {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly role: string;
  /** The last event taken. */
  readonly position: Position;
  readonly messages: readonly Placed[];
  readonly loading: boolean;
  readonly loaded: boolean;
  readonly hasOlder: boolean;
  readonly unread: number;
  readonly members: ReadonlyMap<string, string>;
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
  };
}

/** Takes a pushed event, or finds that something is missing before it. */
export function takeLive(state: ChannelState, event: EventFrame, reader: Reader): Taken {
  if (event.epoch !== state.position.epoch) return { state, then: "resume" };
  if (event.seq <= state.position.seq) return { state, then: "nothing" };
  if (event.prev > state.position.seq) return { state, then: "resume" };
  return { state: trim(apply(state, event, reader)), then: "nothing" };
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
  return { state: trim(next), then: more ? "resume" : "nothing" };
}

/** Takes a page of history: the newest one, or the one before the oldest message. */
export function takeHistory(state: ChannelState, messages: readonly Placed[], more: boolean): ChannelState {
  const merged = merge(state.messages, messages);
  return {
    ...state,
    messages: merged,
    members: withNames(state.members, messages),
    loading: false,
    loaded: true,
    // A page without a message cannot be asked past, whatever it claims.
    hasOlder: more && messages.length > 0,
  };
}

/**
 * Shows an own message whose `ack` came before its live copy. An `ack` of a message from long ago is not shown
 * here: standing before unloaded history it would hide the gap.
 */
export function takeAcked(state: ChannelState, message: Placed): ChannelState {
  const pushedLater = comparePositions(message, state.position) > 0;
  return pushedLater ? { ...state, messages: merge(state.messages, [message]) } : state;
}

function apply(state: ChannelState, event: EventFrame, reader: Reader): ChannelState {
  const moved = { ...state, position: { epoch: event.epoch, seq: event.seq } };
  switch (event.type) {
    case "chat_message": {
      const message = placed(event, event.message, reader.me);
      const countsAsUnread = !reader.open && event.message.sender.id !== reader.me;
      return {
        ...moved,
        messages: merge(state.messages, [message]),
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

/** In another epoch only the server can tell what is ahead; it names one when it moved there itself. */
function isAhead(place: Position, own: Position): boolean {
  return place.epoch !== own.epoch || place.seq > own.seq;
}

function forget(state: ChannelState, position: Position): ChannelState {
  const wanted = state.loaded || state.loading;
  return { ...state, position, messages: [], loaded: false, loading: wanted, hasOlder: false };
}

function trim(state: ChannelState): ChannelState {
  const most = state.loaded ? OPENED_MESSAGES_MAX : UNOPENED_MESSAGES_MAX;
  // While a page is on its way, its place before the oldest message must stay.
  if (state.loading || state.messages.length <= most) return state;
  return { ...state, messages: state.messages.slice(-most), hasOlder: state.loaded };
}

function withNames(names: ReadonlyMap<string, string>, messages: readonly Placed[]): ReadonlyMap<string, string> {
  const fresh = messages.filter(({ view }) => names.get(view.senderId) !== view.senderName);
  if (fresh.length === 0) return names;
  return new Map([...names, ...fresh.map(({ view }) => [view.senderId, view.senderName] as const)]);
}
