import type { MessageView } from "@safeshipper/client";
import type { ReactElement } from "react";
import type { ShownReaction } from "./asked.ts";
import { peopleLine } from "./names.ts";
import { useSurroundings } from "./surroundings.ts";

/** Who reacted how; a click joins them, or takes one's own back. */
export function Reactions(props: { message: MessageView; reactions: readonly ShownReaction[] }): ReactElement | null {
  const { message, reactions } = props;
  const { me, nameOf, onReact } = useSurroundings();
  if (reactions.length === 0) return null;
  return (
    <ul className="reactions" aria-label="Reactions">
      {reactions.map((one) => {
        const others = one.users.filter((id) => id !== me).map((id) => nameOf(id, id));
        const who = peopleLine(one.mine ? ["You", ...others] : others, one.count);
        return (
          <li key={one.reaction}>
            <button
              type="button"
              className="chip"
              aria-pressed={one.mine}
              aria-label={`${one.reaction} ${who}`}
              title={who}
              data-pending={one.pending}
              onClick={() => onReact(message, one.reaction)}
            >
              <span className="sign">{one.reaction}</span> {one.count}
            </button>
          </li>
        );
      })}
    </ul>
  );
}
