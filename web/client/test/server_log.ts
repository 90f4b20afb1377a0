/** The log of a simulated server: what was said, what became of it, and how both look on the wire. */
import type { Position } from "../src/frames.ts";
import type { MessageChange } from "../src/types.ts";
import { message } from "./frames.ts";

export interface Logged extends Position {
  readonly prev: number;
  /** Of the message: a change has that of the message that it changes. */
  readonly id: string;
  readonly by: string;
  readonly content: string;
  readonly clientMsgId: string | null;
  /** Null: this is the message itself. */
  readonly change: MessageChange | null;
}

/** A message as it is after so many events. */
export interface Now {
  readonly content: string;
  readonly edited: boolean;
  readonly deleted: boolean;
  readonly pinned: boolean;
  /** Who reacted, by reaction, in order. */
  readonly reactions: ReadonlyMap<string, readonly string[]>;
}

export const AT = "2026-01-02T03:05:00.000Z";

export function messagesOf(log: readonly Logged[]): readonly Logged[] {
  return log.filter(({ change }) => change === null);
}

/** Replays what became of a message, up to and including an event. */
export function nowOf(log: readonly Logged[], id: string, last?: Logged): Now {
  let now: Now = { content: "", edited: false, deleted: false, pinned: false, reactions: new Map() };
  for (const event of log) {
    if (event.id === id && !now.deleted) now = after(now, event);
    if (event === last) break;
  }
  return now;
}

function after(now: Now, { change, content, by }: Logged): Now {
  if (change === null) return { ...now, content };
  switch (change.kind) {
    case "edit":
      return { ...now, content: change.content, edited: true };
    case "pin":
      return { ...now, pinned: change.pinned };
    case "delete":
      return { content: "", edited: false, deleted: true, pinned: false, reactions: new Map() };
    case "react": {
      const users = now.reactions.get(change.reaction) ?? [];
      const toggled = users.includes(by) ? users.filter((user) => user !== by) : [...users, by];
      const reactions = new Map(now.reactions).set(change.reaction, toggled);
      if (toggled.length === 0) reactions.delete(change.reaction);
      return { ...now, reactions };
    }
  }
}

/** The fields of a message on the wire that tell what became of it. */
function fieldsOf({ content, edited, deleted, pinned, reactions }: Now): object {
  const list = [...reactions].map(([reaction, users]) => ({ reaction, count: users.length, users }));
  const times = { edited_at: edited ? AT : null, deleted_at: deleted ? AT : null };
  return { content, ...times, is_pinned: pinned, reactions: list };
}

function wireMessage(channel: string, log: readonly Logged[], id: string, now: object): object {
  const said = log.find((one) => one.id === id && one.change === null);
  if (said === undefined) throw new Error(`no message ${id}`);
  const { seq, by, content, clientMsgId } = said;
  return message({ seq, channel, id, by, content, ...(clientMsgId === null ? {} : { clientMsgId }) }, now);
}

/** A message of a page of history: as it is now. */
export function inHistory(channel: string, log: readonly Logged[], { id, epoch, seq }: Logged): object {
  return { ...wireMessage(channel, log, id, fieldsOf(nowOf(log, id))), epoch, seq };
}

/** An event as it is pushed, or replayed: then nothing is told of what was deleted since. */
export function frameOf(channel: string, log: readonly Logged[], event: Logged, how: "pushed" | "replayed"): object {
  const { id, epoch, seq, prev, change, by } = event;
  const place = { channel_id: channel, epoch, seq, prev };
  const end = nowOf(log, id);
  const then = how === "replayed" && end.deleted ? end : nowOf(log, id, event);
  if (change === null) return { type: "chat_message", ...place, message: wireMessage(channel, log, id, fieldsOf(then)) };
  switch (change.kind) {
    case "edit":
    case "pin": {
      const changed = change.kind === "edit" ? "content" : "pinned";
      const whole = wireMessage(channel, log, id, fieldsOf(then));
      return { type: "message_updated", ...place, changed, message: whole, user_id: by };
    }
    case "delete":
      return { type: "message_deleted", ...place, message_id: id, user_id: by, deleted_at: AT };
    case "react": {
      const { reactions } = nowOf(log, id, event);
      const action = reactions.get(change.reaction)?.includes(by) === true ? "added" : "removed";
      const counts = Object.fromEntries([...reactions].map(([reaction, users]) => [reaction, users.length]));
      const what = { message_id: id, reaction: change.reaction, user_id: by, action, counts };
      return { type: "reaction_update", ...place, ...what };
    }
  }
}
