import type { ReactElement } from "react";
import { colourOf, initials } from "./names.ts";

/** Colours that the style sheet has. */
const COLOURS = 6;

/** A person's letters; the name stands beside it, so that nobody needs to hear it twice. */
export function Avatar(props: { id: string; name: string }): ReactElement {
  return (
    <span className={`avatar colour-${colourOf(props.id, COLOURS)}`} aria-hidden="true">
      {initials(props.name)}
    </span>
  );
}
