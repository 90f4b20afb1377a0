/**
 * The frames of the protocol page that this client speaks, and the door at which server frames are checked.
 *
 * Unknown types are no fault: a newer server may send them. Invariant: behind `decodeFrame` no field is checked again.
 */
import { type Checked, isCount, isFlag, isRecord, isText, listOf, oneOf } from "./checks.ts";
import { optional, parseJson, recordOf, shape, word } from "./checks.ts";

/** A place in a channel's history. Epochs are texts whose order is age order. */
export interface Position {
  readonly epoch: string;
  readonly seq: number;
}

const isReaction = shape({ reaction: isText, count: isCount, users: listOf(isText) });
const messageFields = {
  id: isText,
  sender: shape({ id: isText, name: isText }),
  content: isText,
  message_type: isText,
  created_at: isText,
  reply_to: optional(isText),
  thread_id: optional(isText),
  is_emergency: isFlag,
  priority: isText,
  client_msg_id: optional(isText),
  mentioned_users: optional(listOf(isText)),
  edited_at: optional(isText),
  deleted_at: optional(isText),
  is_pinned: optional(isFlag),
  reactions: optional(listOf(isReaction)),
};
const isMessage = shape(messageFields);
const isPlacedMessage = shape({ ...messageFields, epoch: isText, seq: isCount });

const entryFields = { channel_id: isText, name: isText, channel_type: isText, role: isText };
const isChannelEntry = shape({ ...entryFields, epoch: isText, seq: isCount });
const isDescription = shape({ name: isText, channel_type: isText });
const isNamedChannel = shape({ channel_id: isText });

/** Where a durable event stands: its own position and the seq of the event before it. */
const place = { channel_id: isText, epoch: isText, seq: isCount, prev: isCount };
const isPlace = shape(place);

/** Durable events: they share one sequence per channel. */
const eventChecks = {
  chat_message: shape({ ...place, message: isMessage }),
  /** Of `message` only what `changed` names is new; what a newer server names is passed over. */
  message_updated: shape({ ...place, changed: isText, message: isMessage }),
  message_deleted: shape({ ...place, message_id: isText, deleted_at: isText }),
  reaction_update: shape({
    ...place,
    message_id: isText,
    reaction: isText,
    user_id: isText,
    action: oneOf(word("added"), word("removed")),
    counts: recordOf(isCount),
  }),
  channel_updated: shape({ ...place, channel: isDescription }),
  member_added: shape({ ...place, user_id: isText }),
  member_removed: shape({ ...place, user_id: isText }),
};

const otherChecks = {
  connection_established: shape({
    user_id: isText,
    heartbeat_ms: isCount,
    channels: listOf(isChannelEntry),
    more_channels: optional(isFlag),
  }),
  channel_list: shape({ channels: listOf(isChannelEntry), more: optional(isFlag) }),
  ack: shape({
    ref: optional(isText),
    client_msg_id: optional(isText),
    message_id: isText,
    channel_id: isText,
    epoch: isText,
    seq: isCount,
  }),
  channel_joined: shape({ channel_id: isText, epoch: isText, seq: isCount, role: isText, channel: isDescription }),
  channel_left: shape({ channel_id: isText }),
  typing_indicator: shape({ user_id: isText, channel_id: isText, is_typing: isFlag }),
  resumed: shape({
    channel_id: isText,
    epoch: isText,
    seq: isCount,
    events: listOf(isRecord),
    more: optional(isFlag),
    reset: optional(isFlag),
  }),
  resume_done: shape({ ref: optional(isText) }),
  history: shape({ ref: optional(isText), channel_id: isText, messages: listOf(isRecord), more: isFlag }),
  lagging: shape({ channels: listOf(isNamedChannel) }),
  resync: shape({ channel_ids: listOf(isText) }),
  reconnect: shape({ after_ms: isCount }),
  pong: shape({}),
  error: shape({ code: isText, message: isText, ref: optional(isText), retry_after_ms: optional(isCount) }),
};

const frameChecks = { ...eventChecks, ...otherChecks };

type EventTable = typeof eventChecks;
type FrameTable = typeof frameChecks;

/** An event of a type that came after this client: only its place matters. */
type UnknownEvent = { readonly type: "unknown_event" } & Checked<typeof isPlace>;

export type Frame<K extends keyof FrameTable> = { readonly type: K } & Checked<FrameTable[K]>;
export type EventFrame = { [K in keyof EventTable]: Frame<K> }[keyof EventTable] | UnknownEvent;
export type ServerFrame = { [K in keyof FrameTable]: Frame<K> }[keyof FrameTable] | UnknownEvent;
export type WireMessage = Checked<typeof isMessage>;
export type PlacedMessage = Checked<typeof isPlacedMessage>;
export type ChannelEntry = Checked<typeof isChannelEntry>;
export type Place = Checked<typeof isPlace>;

export type Decoded =
  | { readonly kind: "frame"; readonly frame: ServerFrame }
  | { readonly kind: "unknown" }
  | { readonly kind: "malformed"; readonly what: string };

/** Checks a text frame; never throws. */
export function decodeFrame(text: string): Decoded {
  const value = parseJson(text);
  if (!isRecord(value) || !isText(value["type"])) return { kind: "malformed", what: "no frame" };
  const type = value["type"];
  if (isKnown(type)) return isFrame(type, value) ? { kind: "frame", frame: value } : { kind: "malformed", what: type };
  return isPlace(value) ? { kind: "frame", frame: unknownEvent(value) } : { kind: "unknown" };
}

/** Checks one event of a `resumed` page; null when it is none. */
export function decodeEvent(value: Readonly<Record<string, unknown>>): EventFrame | null {
  const type = value["type"];
  if (isText(type) && isEventType(type)) return isFrame(type, value) ? value : null;
  return isPlace(value) ? unknownEvent(value) : null;
}

/** Checks the messages of a `history` page; what is none is left out and counted. */
export function decodeHistory(values: readonly Readonly<Record<string, unknown>>[]) {
  const messages: readonly PlacedMessage[] = values.filter(isPlacedMessage);
  return { messages, malformed: values.length - messages.length };
}

function isKnown(type: string): type is keyof FrameTable {
  return Object.hasOwn(frameChecks, type);
}

function isEventType(type: string): type is keyof EventTable {
  return Object.hasOwn(eventChecks, type);
}

function isFrame<K extends keyof FrameTable>(type: K, value: unknown): value is { [T in K]: Frame<T> }[K] {
  return frameChecks[type](value);
}

/** Without its place the next event would look like a gap, for ever. */
function unknownEvent({ channel_id, epoch, seq, prev }: Place): UnknownEvent {
  return { type: "unknown_event", channel_id, epoch, seq, prev };
}

export interface ResumePoint extends Position {
  readonly channel_id: string;
}

/** What a frame that changes a message says besides the change; a repeated one with `retry` changes nothing more. */
interface OfMessage {
  readonly ref: string;
  readonly channel_id: string;
  readonly message_id: string;
  readonly client_msg_id: string;
  readonly retry?: true;
}

/** What this client sends; `ref` comes back with the answer. */
export type ClientFrame =
  | ({ readonly type: "edit_message"; readonly content: string } & OfMessage)
  | ({ readonly type: "delete_message" } & OfMessage)
  | ({ readonly type: "pin_message"; readonly pinned: boolean } & OfMessage)
  | ({ readonly type: "react_to_message"; readonly reaction: string } & OfMessage)
  | {
      readonly type: "send_message";
      readonly ref: string;
      readonly channel_id: string;
      readonly content: string;
      readonly client_msg_id: string;
      readonly reply_to?: string;
      readonly retry?: true;
    }
  | { readonly type: "resume"; readonly ref: string; readonly channels: readonly ResumePoint[]; readonly last?: true }
  | {
      readonly type: "fetch_history";
      readonly ref: string;
      readonly channel_id: string;
      readonly thread_id?: string;
      readonly before?: Position;
      readonly limit: number;
    }
  | { readonly type: "typing_start" | "typing_stop"; readonly channel_id: string }
  | { readonly type: "ping" };
