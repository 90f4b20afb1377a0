import type { MessageView } from "@safeshipper/client";
import { useMemo, useState } from "react";
import type { ReactElement } from "react";
import { showMessage } from "./Quote.tsx";
import { contentOf } from "./names.ts";

interface PinsProps {
  messages: readonly MessageView[];
  nameOf: (id: string, said: string) => string;
}

/** What is pinned among the messages that are loaded: the newest one, the others on demand. */
export function Pins(props: PinsProps): ReactElement | null {
  const pinned = useMemo(() => props.messages.filter(({ isPinned }) => isPinned).toReversed(), [props.messages]);
  const [open, setOpen] = useState(false);
  if (pinned.length === 0) return null;
  const more = pinned.length - 1;
  return (
    <section className="pins" aria-label="Pinned messages">
      <span className="sign" aria-hidden="true">
        📌
      </span>
      <ul>
        {(open ? pinned : pinned.slice(0, 1)).map((message) => (
          <li key={message.key}>
            <button type="button" className="pin" onClick={() => message.id !== null && showMessage("channel", message.id)}>
              <strong>{props.nameOf(message.senderId, message.senderName)}</strong> {contentOf(message)}
            </button>
          </li>
        ))}
      </ul>
      {more > 0 && (
        <button type="button" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? "Fewer" : `${more} more`}
        </button>
      )}
    </section>
  );
}
