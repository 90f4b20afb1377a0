import type { MessageView } from "@safeshipper/client";
import type { ReactElement } from "react";
import { Avatar } from "./Avatar.tsx";
import { Message } from "./Message.tsx";
import type { Group } from "./grouping.ts";
import { clock } from "./names.ts";
import { useSurroundings } from "./surroundings.ts";

interface MessageGroupProps {
  group: Group;
  mine: boolean;
  /** The day, when another one begins. */
  heading: string | null;
  /** The sender's name, also when it is oneself. */
  fullName: string;
  parentOf: (message: MessageView) => MessageView | undefined;
  /** How many replies of a thread are loaded, by its first message. */
  replies: ReadonlyMap<string, number>;
  /** The message that is being edited. */
  editing: string | null;
}

export function MessageGroup(props: MessageGroupProps): ReactElement {
  const { group, mine, heading, fullName, editing } = props;
  const { nameOf } = useSurroundings();
  const since = group.messages[0]?.createdAt ?? "";
  return (
    <li className="group" data-mine={mine}>
      {heading !== null && <h2 className="day">{heading}</h2>}
      <div className="together">
        <Avatar id={group.senderId} name={fullName} />
        <div className="said">
          <p className="sender">
            <strong>{mine ? "You" : fullName}</strong>
            <time dateTime={since}>{clock(since)}</time>
          </p>
          <ul>
            {group.messages.map((message) => {
              const parent = props.parentOf(message);
              return (
                <Message
                  key={message.key}
                  message={message}
                  senderName={fullName}
                  parent={parent}
                  parentName={parent === undefined ? "" : nameOf(parent.senderId, parent.senderName)}
                  replies={message.id === null ? 0 : (props.replies.get(message.id) ?? 0)}
                  editing={editing !== null && message.id === editing}
                />
              );
            })}
          </ul>
        </div>
      </div>
    </li>
  );
}
