/** Server frames as the protocol page writes them. */

export function entry(channel: { id?: string; name?: string; seq?: number; epoch?: string } = {}) {
  const { id = "general", name = "General", seq = 10, epoch = "e1" } = channel;
  return {
    channel_id: id,
    name,
    channel_type: "GENERAL",
    role: "MEMBER",
    epoch,
    seq,
    read: null,
    unread: 0,
  };
}

export function established(head: { seq?: number; epoch?: string } = {}, ...more: ReturnType<typeof entry>[]) {
  const channels = [entry(head), ...more];
  return {
    type: "connection_established",
    user_id: "me",
    channels_subscribed: channels.length,
    session_id: "s",
    server_time: "2026-01-02T03:04:05.678Z",
    heartbeat_ms: 25_000,
    max_frame_bytes: 65_536,
    channels,
    more_channels: false,
    open_incidents: [],
  };
}

export interface Said {
  readonly seq: number;
  readonly prev?: number;
  readonly epoch?: string;
  readonly channel?: string;
  readonly id?: string;
  readonly by?: string;
  readonly content?: string;
  readonly clientMsgId?: string;
  /** Further fields of the message. */
  readonly with?: object;
}

const UNCHANGED = { mentioned_users: null, edited_at: null, deleted_at: null, is_pinned: null, reactions: null };

export function message(said: Said, fields: object = {}) {
  const { seq, channel = "general", id = `id-${seq}`, by = "bob", content = `text ${seq}`, clientMsgId = null } = said;
  return {
    id,
    channel_id: channel,
    sender: { id: by, name: by === "bob" ? "Bob" : by, email: "" },
    content,
    message_type: "TEXT",
    created_at: "2026-01-02T03:04:06.000Z",
    reply_to: null,
    thread_id: null,
    is_emergency: false,
    priority: "NORMAL",
    metadata: {},
    client_msg_id: clientMsgId,
    ...UNCHANGED,
    ...said.with,
    ...fields,
  };
}

function place(seq: number) {
  return { channel_id: "general", epoch: "e1", seq, prev: seq - 1 };
}

/** What became of the message `said`: of these fields only what `changed` names is new. */
export function updated(seq: number, changed: string, said: Said, fields: object = {}) {
  return { type: "message_updated", ...place(seq), changed, message: message(said, fields), user_id: "bob" };
}

export const DELETED_AT = "2026-01-02T03:06:00.000Z";

export function deleted(seq: number, messageId: string) {
  return { type: "message_deleted", ...place(seq), message_id: messageId, user_id: "bob", deleted_at: DELETED_AT };
}

/** Thumbs up, unless told otherwise. */
export function reacted(
  seq: number,
  messageId: string,
  user = "bob",
  action: "added" | "removed" = "added",
  counts: Readonly<Record<string, number>> = { "👍": 1 },
  reaction = "👍",
) {
  return { type: "reaction_update", message_id: messageId, reaction, user_id: user, action, ...place(seq), counts };
}

/** A live `chat_message`; the event before it is the one with the next smaller seq unless named. */
export function live(said: Said) {
  const { seq, prev = seq - 1, epoch = "e1", channel = "general" } = said;
  return { type: "chat_message", channel_id: channel, epoch, seq, prev, message: message(said) };
}

export function history(ref: string, said: readonly Said[], more = false) {
  const messages = said.map((one) => ({ ...message(one), epoch: one.epoch ?? "e1", seq: one.seq }));
  return { type: "history", ref, channel_id: "general", messages, more };
}

export function ack(clientMsgId: string, seq: number, fields: object = {}) {
  return {
    type: "ack",
    ref: clientMsgId,
    client_msg_id: clientMsgId,
    message_id: `id-${seq}`,
    channel_id: "general",
    epoch: "e1",
    seq,
    durability: "logged",
    duplicate: false,
    ...fields,
  };
}

export function resumed(seq: number, events: readonly object[], fields: object = {}) {
  return { type: "resumed", channel_id: "general", epoch: "e1", seq, events, more: false, reset: false, ...fields };
}
