/**
 * What becomes of a message after it was written, as `shared/protocol/src/changes.rs` has it.
 *
 * Each change is absolute: it says how something is from now on. A deletion holds for ever.
 */
import type { EventFrame, Frame } from "./frames.ts";
import type { Placed } from "./message.ts";
import type { MessageView, ReactionView } from "./types.ts";

/** Users named with a reaction. Protocol page. */
export const REACTORS_SHOWN_MAX = 20;

export type ChangeEvent = Frame<"message_updated"> | Frame<"message_deleted"> | Frame<"reaction_update">;

export function isChange(event: EventFrame): event is ChangeEvent {
  return event.type === "message_updated" || event.type === "message_deleted" || event.type === "reaction_update";
}

/** Changes the message in a list; the list is the same one when it does not hold it or nothing of it is new. */
export function withChange(list: readonly Placed[], event: ChangeEvent, me: string | null): readonly Placed[] {
  const id = event.type === "message_updated" ? event.message.id : event.message_id;
  const at = list.findLastIndex((message) => message.id === id);
  const message = list[at];
  if (message === undefined || message.view.deletedAt !== null) return list;
  const view = changed(message.view, event, me);
  return view === message.view ? list : list.with(at, { ...message, view });
}

function changed(view: MessageView, event: ChangeEvent, me: string | null): MessageView {
  switch (event.type) {
    case "message_updated":
      return update(view, event);
    case "message_deleted":
      return bury(view, event.deleted_at);
    case "reaction_update":
      return { ...view, reactions: react(view.reactions, event, me) };
  }
}

function update(view: MessageView, { changed: what, message }: Frame<"message_updated">): MessageView {
  // A page that names a deletion later on already shows the tombstone here.
  if (message.deleted_at != null) return bury(view, message.deleted_at);
  const { content, mentioned_users: mentioned, edited_at: editedAt } = message;
  if (what === "content") return { ...view, content, mentionedUsers: mentioned ?? [], editedAt: editedAt ?? null };
  if (what === "pinned") return { ...view, isPinned: message.is_pinned === true };
  return view;
}

/** Leaves what a deleted message still shows: that somebody wrote, when, and where in which thread. */
function bury(view: MessageView, deletedAt: string): MessageView {
  return { ...view, content: "", mentionedUsers: [], editedAt: null, deletedAt, isPinned: false, reactions: [] };
}

function react(
  reactions: readonly ReactionView[],
  event: Frame<"reaction_update">,
  me: string | null,
): readonly ReactionView[] {
  const isNamed = ({ reaction }: ReactionView): boolean => reaction === event.reaction;
  const fresh: ReactionView = { reaction: event.reaction, count: 0, users: [], mine: false };
  const all = reactions.some(isNamed) ? reactions : [...reactions, fresh];
  const counted = all.map((one) => {
    const count = event.counts[one.reaction] ?? 0;
    return isNamed(one) ? { ...one, count, ...reactors(one, event, me) } : { ...one, count };
  });
  return counted.filter(({ count }) => count > 0);
}

function reactors(
  { users, mine }: ReactionView,
  { user_id: user, action }: Frame<"reaction_update">,
  me: string | null,
): Pick<ReactionView, "users" | "mine"> {
  const added = action === "added";
  const others = users.filter((known) => known !== user);
  const shown = added && others.length < REACTORS_SHOWN_MAX ? [...others, user] : others;
  return { users: shown, mine: user === me ? added : mine };
}
