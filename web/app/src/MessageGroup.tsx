import type { MessageView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import type { ReactElement } from "react";
import { Avatar } from "./Avatar.tsx";
import type { Group } from "./grouping.ts";
import { clock } from "./names.ts";

interface MessageGroupProps {
  group: Group;
  mine: boolean;
  /** The day, when another one begins. */
  heading: string | null;
  parentOf: (message: MessageView) => MessageView | undefined;
  onReply: (message: MessageView) => void;
}

export function MessageGroup(props: MessageGroupProps): ReactElement {
  const { group, mine, heading } = props;
  return (
    <li className="group" data-mine={mine}>
      {heading !== null && <h2 className="day">{heading}</h2>}
      <div className="together">
        <Avatar id={group.senderId} name={group.senderName} />
        <div className="said">
          <p className="sender">
            <strong>{mine ? "You" : group.senderName}</strong>
            <time dateTime={group.messages[0]?.createdAt}>{clock(group.messages[0]?.createdAt ?? "")}</time>
          </p>
          <ul>
            {group.messages.map((message) => (
              <Message key={message.key} message={message} parent={props.parentOf(message)} onReply={props.onReply} />
            ))}
          </ul>
        </div>
      </div>
    </li>
  );
}

interface MessageProps {
  message: MessageView;
  parent: MessageView | undefined;
  onReply: (message: MessageView) => void;
}

function Message(props: MessageProps): ReactElement {
  const { message, parent } = props;
  const sent = message.status === "sent";
  return (
    <li
      id={message.id === null ? undefined : `message-${message.id}`}
      className="message"
      data-testid="message"
      data-status={message.status}
      data-emergency={message.isEmergency}
    >
      {message.replyTo !== null && <Quote parent={parent} />}
      <p className="content">{message.content}</p>
      {sent && (
        <button type="button" className="reply" onClick={() => props.onReply(message)}>
          Reply
          <span className="hidden"> to {message.senderName}</span>
        </button>
      )}
      {message.status === "pending" && <small className="state">Sending…</small>}
      {message.status === "failed" && <Failed message={message} />}
    </li>
  );
}

/** What a reply answers; it may lie further back than what was loaded. */
function Quote(props: { parent: MessageView | undefined }): ReactElement {
  const { parent } = props;
  if (parent === undefined) return <p className="quote">An earlier message</p>;
  return (
    <a className="quote" href={`#message-${parent.id}`} onClick={(event) => show(event, parent)}>
      <strong>{parent.senderName}</strong> {parent.content}
    </a>
  );
}

/** Moves there without changing the page's address: its base is another one. */
function show(event: { preventDefault: () => void }, parent: MessageView): void {
  event.preventDefault();
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const target = document.getElementById(`message-${parent.id}`);
  target?.scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
}

function Failed(props: { message: MessageView }): ReactElement {
  const { client } = useChat();
  const { key, error } = props.message;
  return (
    <p className="state" role="alert">
      Not sent{error === null ? "" : `: ${error}`}
      <button type="button" onClick={() => client.resend(key)}>
        Try again
      </button>
      <button type="button" onClick={() => client.discard(key)}>
        Discard
      </button>
    </p>
  );
}
