/** One message at its place, and lists of them: ascending, each id once, untouched ones the same objects. */
import type { UnsentMessage } from "./outbox.ts";
import type { Frame, Position, WireMessage } from "./frames.ts";
import type { MessageChange, MessageView, ReactionView } from "./types.ts";

const NOTHING: readonly never[] = [];

export interface Placed extends Position {
  readonly id: string;
  readonly view: MessageView;
}

/** Positions of different epochs follow the age of the epochs, which their text order is. */
export function comparePositions(a: Position, b: Position): number {
  if (a.epoch !== b.epoch) return a.epoch < b.epoch ? -1 : 1;
  return a.seq - b.seq;
}

export function placed({ epoch, seq }: Position, message: WireMessage, me: string | null): Placed {
  const ownKey = message.sender.id === me ? message.client_msg_id : null;
  return {
    epoch,
    seq,
    id: message.id,
    view: {
      key: ownKey ?? message.id,
      id: message.id,
      seq,
      senderId: message.sender.id,
      senderName: message.sender.name,
      content: message.content,
      createdAt: message.created_at,
      messageType: message.message_type,
      priority: message.priority,
      isEmergency: message.is_emergency,
      replyTo: message.reply_to ?? null,
      threadId: message.thread_id ?? null,
      mentionedUsers: message.mentioned_users ?? NOTHING,
      editedAt: message.edited_at ?? null,
      deletedAt: message.deleted_at ?? null,
      isPinned: message.is_pinned === true,
      reactions: (message.reactions ?? NOTHING).map((one) => reactionView(one, me)),
      asked: NOTHING,
      status: "sent",
      error: null,
    },
  };
}

type WireReaction = NonNullable<WireMessage["reactions"]>[number];

function reactionView({ reaction, count, users }: WireReaction, me: string | null): ReactionView {
  return { reaction, count, users, mine: me !== null && users.includes(me) };
}

/** Returns an outbox entry as a page shows it. */
export function pendingView(entry: UnsentMessage, senderId: string, senderName: string): MessageView {
  return {
    key: entry.clientMsgId,
    id: null,
    seq: null,
    senderId,
    senderName,
    content: entry.content,
    createdAt: entry.createdAt,
    messageType: "TEXT",
    priority: "NORMAL",
    isEmergency: false,
    replyTo: entry.replyTo,
    threadId: entry.threadId,
    mentionedUsers: NOTHING,
    editedAt: null,
    deletedAt: null,
    isPinned: false,
    reactions: NOTHING,
    asked: NOTHING,
    status: entry.error === null ? "pending" : "failed",
    error: entry.error,
  };
}

/** Returns an own message that the log has, before its live copy came. */
export function placedFromAck(ack: Frame<"ack">, entry: UnsentMessage, me: string, name: string): Placed {
  const { epoch, seq, message_id: id } = ack;
  return { epoch, seq, id, view: { ...pendingView(entry, me, name), id, seq, status: "sent", error: null } };
}

/** Puts messages into a list; a known id keeps its place and key, and its object when nothing changed. */
export function merge(list: readonly Placed[], added: readonly Placed[]): readonly Placed[] {
  const last = list.at(-1);
  const [only] = added;
  // The ordinary case, a live message at the end, must not cost more as the list grows.
  if (only !== undefined && added.length === 1 && isAfter(only, last) && !endHolds(list, only.id)) {
    return [...list, only];
  }
  const byId = new Map(list.map((message) => [message.id, message]));
  let changed = false;
  for (const message of added) {
    const known = byId.get(message.id);
    const next = known === undefined ? message : renewed(known, message);
    changed ||= next !== known;
    byId.set(message.id, next);
  }
  return changed ? [...byId.values()].sort(comparePositions) : list;
}

function isAfter(message: Placed, last: Placed | undefined): boolean {
  return last === undefined || comparePositions(message, last) > 0;
}

function endHolds(list: readonly Placed[], id: string): boolean {
  return list.some((message) => message.id === id);
}

function renewed(known: Placed, message: Placed): Placed {
  // A copy from before the deletion must not bring it back.
  if (known.view.deletedAt !== null) return known;
  const { key, seq } = known.view;
  const reactions = message.view.reactions.map((one) => stillMine(one, known.view.reactions));
  const view: MessageView = { ...message.view, key, seq, reactions };
  return isSameView(known.view, view) ? known : { ...known, view };
}

/** Of many who reacted a page names the first ones only: whether oneself did was known from before. */
function stillMine(one: ReactionView, known: readonly ReactionView[]): ReactionView {
  const unsaid = !one.mine && one.users.length < one.count;
  return unsaid && known.some(({ reaction, mine }) => mine && reaction === one.reaction) ? { ...one, mine: true } : one;
}

/** Returns the view with what was asked of it. */
export function askedView(view: MessageView, asked: readonly MessageChange[] | undefined): MessageView {
  return asked === undefined ? view : { ...view, asked };
}

export function isSameView(a: MessageView, b: MessageView): boolean {
  const names = Object.keys(a) as (keyof MessageView)[];
  return names.every((name) => isSame(a[name], b[name]));
}

function isSame(a: MessageView[keyof MessageView], b: MessageView[keyof MessageView]): boolean {
  return a === b || (typeof a === "object" && typeof b === "object" && JSON.stringify(a) === JSON.stringify(b));
}
