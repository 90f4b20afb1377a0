import type { MessageView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { memo } from "react";
import type { ReactElement } from "react";
import { Editor } from "./Editor.tsx";
import { Quote } from "./Quote.tsx";
import { Reactions } from "./Reactions.tsx";
import { shown } from "./asked.ts";
import { DELETED, clock, contentOf, repliesLine, whole } from "./names.ts";
import { elementId, useSurroundings } from "./surroundings.ts";

interface MessageProps {
  message: MessageView;
  senderName: string;
  parent: MessageView | undefined;
  parentName: string;
  /** How many of its thread are loaded. */
  replies: number;
  editing: boolean;
}

/** Drawn anew only when it changed: a channel may hold thousands. */
export const Message = memo(function Message(props: MessageProps): ReactElement {
  const { message, replies } = props;
  const { place, onThread } = useSurroundings();
  const as = shown(message);
  const deleted = message.deletedAt !== null;
  return (
    <li
      id={message.id === null ? undefined : elementId(place, message.id)}
      className="message"
      data-testid="message"
      data-status={message.status}
      data-emergency={message.isEmergency && !deleted}
      data-deleted={deleted}
    >
      {message.isPinned && <small className="pinned">📌 Pinned</small>}
      {message.replyTo !== null && quotes(message, place) && (
        <Quote parent={props.parent} name={props.parentName} place={place} />
      )}
      {props.editing && !deleted ? (
        <Editor message={message} content={as.content} />
      ) : (
        <Content message={message} content={as.content} />
      )}
      {as.state !== null && <small className="state">{as.state}</small>}
      <Reactions message={message} reactions={as.reactions} />
      {replies > 0 && place === "channel" && (
        <button type="button" className="replies" onClick={() => onThread(message)}>
          {repliesLine(replies)}
        </button>
      )}
      {message.status === "sent" && !deleted && !props.editing && (
        <Tools message={message} senderName={props.senderName} />
      )}
      {message.status === "pending" && <small className="state">Sending…</small>}
      {message.status === "failed" && <Failed message={message} />}
    </li>
  );
});

/** In its thread everything answers the first message. */
function quotes(message: MessageView, place: "channel" | "thread"): boolean {
  return place === "channel" || message.replyTo !== message.threadId;
}

function Content(props: { message: MessageView; content: string }): ReactElement {
  const { message, content } = props;
  if (message.deletedAt !== null) return <p className="content gone">{DELETED}</p>;
  return (
    <>
      <p className="content">{contentOf({ ...message, content })}</p>
      {message.editedAt !== null && (
        <small className="edited" title={`Edited ${whole(message.editedAt)}`}>
          (edited)
        </small>
      )}
    </>
  );
}

function Tools(props: { message: MessageView; senderName: string }): ReactElement {
  const { message, senderName } = props;
  const { place, onReply, onMenu } = useSurroundings();
  return (
    <span className="tools">
      <time dateTime={message.createdAt}>{clock(message.createdAt)}</time>
      {place === "channel" && (
        <button type="button" className="reply" onClick={() => onReply(message)}>
          Reply
          <span className="hidden"> to {senderName}</span>
        </button>
      )}
      <button
        type="button"
        className="more"
        aria-haspopup="dialog"
        title="React and more"
        onClick={(event) => onMenu(message, event.currentTarget, place)}
      >
        <span aria-hidden="true">⋯</span>
        <span className="hidden">React to {senderName} and more</span>
      </button>
    </span>
  );
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
