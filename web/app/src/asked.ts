/** A message with what was asked of it: shown as if it were so, and marked until it is. */
import type { MessageChange, MessageView, ReactionView } from "@safeshipper/client";

export interface ShownReaction extends ReactionView {
  readonly pending: boolean;
}

export interface Shown {
  readonly content: string;
  readonly reactions: readonly ShownReaction[];
  /** What is on its way, in words. */
  readonly state: string | null;
}

export function shown(message: MessageView): Shown {
  const known: readonly ShownReaction[] = message.reactions.map((one) => ({ ...one, pending: false }));
  const as: Shown = { content: message.content, reactions: known, state: null };
  return message.deletedAt === null ? message.asked.reduce(after, as) : as;
}

function after(as: Shown, change: MessageChange): Shown {
  switch (change.kind) {
    case "edit":
      return { ...as, content: change.content, state: "Saving…" };
    case "delete":
      return { ...as, state: "Deleting…" };
    case "pin":
      return { ...as, state: change.pinned ? "Pinning…" : "Unpinning…" };
    case "react":
      return { ...as, reactions: toggled(as.reactions, change.reaction) };
  }
}

/** The last one stays in sight, unpressed, until the server has taken it away. */
function toggled(reactions: readonly ShownReaction[], reaction: string): readonly ShownReaction[] {
  if (!reactions.some((one) => one.reaction === reaction)) {
    return [...reactions, { reaction, count: 1, users: [], mine: true, pending: true }];
  }
  return reactions.map((one) => {
    if (one.reaction !== reaction) return one;
    const count = Math.max(1, one.count + (one.mine ? -1 : 1));
    return { ...one, count, mine: !one.mine, pending: true };
  });
}
