import type { MessageView } from "@safeshipper/client";
import type { ReactElement } from "react";
import { scrollBehavior } from "./browser.ts";
import { contentOf } from "./names.ts";
import { elementId } from "./surroundings.ts";
import type { Place } from "./surroundings.ts";

/** What a reply answers; it may lie further back than what was loaded. */
export function Quote(props: { parent: MessageView | undefined; name: string; place: Place }): ReactElement {
  const { parent, name, place } = props;
  const id = parent?.id;
  if (parent === undefined || id == null) return <p className="quote">An earlier message</p>;
  return (
    <a
      className="quote"
      href={`#${elementId(place, id)}`}
      onClick={(event) => {
        // Without changing the page's address: its base is another one.
        event.preventDefault();
        showMessage(place, id);
      }}
    >
      <strong>{name}</strong> {contentOf(parent)}
    </a>
  );
}

/** Moves to a message, and the reader's place with it: for whom the move is no help, a sign which one it is. */
export function showMessage(place: Place, messageId: string): void {
  const target = document.getElementById(elementId(place, messageId));
  target?.scrollIntoView({ block: "center", behavior: scrollBehavior() });
  target?.setAttribute("tabindex", "-1");
  target?.focus({ preventScroll: true });
}
