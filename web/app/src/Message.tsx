import type { MessageView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { memo } from "react";
import type { ReactElement } from "react";
import { scrollBehavior } from "./browser.ts";
import { clock, contentOf } from "./names.ts";

interface MessageProps {
  message: MessageView;
  senderName: string;
  parent: MessageView | undefined;
  parentName: string;
  onReply: (message: MessageView) => void;
}

/** Drawn anew only when it changed: a channel may hold thousands. */
export const Message = memo(function Message(props: MessageProps): ReactElement {
  const { message } = props;
  return (
    <li
      id={message.id === null ? undefined : `message-${message.id}`}
      className="message"
      data-testid="message"
      data-status={message.status}
      data-emergency={message.isEmergency}
    >
      {message.replyTo !== null && <Quote parent={props.parent} name={props.parentName} />}
      <p className="content">{contentOf(message)}</p>
      {message.status === "sent" && (
        <span className="tools">
          <time dateTime={message.createdAt}>{clock(message.createdAt)}</time>
          <button type="button" className="reply" onClick={() => props.onReply(message)}>
            Reply
            <span className="hidden"> to {props.senderName}</span>
          </button>
        </span>
      )}
      {message.status === "pending" && <small className="state">Sending…</small>}
      {message.status === "failed" && <Failed message={message} />}
    </li>
  );
});

/** What a reply answers; it may lie further back than what was loaded. */
function Quote(props: { parent: MessageView | undefined; name: string }): ReactElement {
  const { parent, name } = props;
  if (parent === undefined) return <p className="quote">An earlier message</p>;
  return (
    <a className="quote" href={`#message-${parent.id}`} onClick={(event) => show(event, parent)}>
      <strong>{name}</strong> {contentOf(parent)}
    </a>
  );
}

/** Moves there without changing the page's address: its base is another one. */
function show(event: { preventDefault: () => void }, parent: MessageView): void {
  event.preventDefault();
  const target = document.getElementById(`message-${parent.id}`);
  target?.scrollIntoView({ block: "center", behavior: scrollBehavior() });
  // For whom the move is no help: the reader's place, and a sign which one it is.
  target?.setAttribute("tabindex", "-1");
  target?.focus({ preventScroll: true });
}

function Failed(props: { message: MessageView }): ReactElement {
  const { client } = useChat();
  const { key, error } = props.message;
  return (
    <p className="state" role="alert">
      <span>Not sent{error === null ? "" : `: ${error}`}</span>
      <button type="button" onClick={() => client.resend(key)}>
        Try again
      </button>
      <button type="button" onClick={() => client.discard(key)}>
        Discard
      </button>
    </p>
  );
}
