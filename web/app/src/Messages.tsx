import type { ChannelView, MessageView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { useMemo } from "react";
import type { ReactElement } from "react";
import { MessageGroup } from "./MessageGroup.tsx";
import { grouped } from "./grouping.ts";
import { day } from "./names.ts";
import { useFollow } from "./useFollow.ts";

interface MessagesProps {
  channel: ChannelView;
  me: string | null;
  nameOf: (id: string) => string;
  onReply: (message: MessageView) => void;
}

export function Messages(props: MessagesProps): ReactElement {
  const { channel, me, nameOf } = props;
  const groups = useMemo(() => grouped(channel.messages), [channel.messages]);
  const byId = useMemo(() => sentById(channel.messages), [channel.messages]);
  const follow = useFollow(channel.messages, me);
  const now = new Date();
  // An own message that nobody answered for yet carries the id in place of a name.
  const fullName = (id: string, name: string): string => (name === id ? nameOf(id) : name);
  return (
    <div className="scroll">
      <div
        className="messages"
        role="log"
        aria-label={`Messages in ${channel.name}`}
        aria-busy={channel.loading}
        ref={follow.list}
        onScroll={follow.onScroll}
        tabIndex={0}
      >
        <Beginning channel={channel} />
        <ol>
          {groups.map((group) => (
            <MessageGroup
              key={group.key}
              group={group}
              mine={group.senderId === me}
              heading={group.beginsDay ? day(group.messages[0]?.createdAt ?? "", now) : null}
              parentOf={(message) => (message.replyTo === null ? undefined : byId.get(message.replyTo))}
              nameOf={(id, name) => (id === me ? "You" : fullName(id, name))}
              fullName={fullName(group.senderId, group.senderName)}
              onReply={props.onReply}
            />
          ))}
        </ol>
      </div>
      {follow.behind && (
        <button type="button" className="newer primary" onClick={follow.toEnd}>
          New messages <span aria-hidden="true">↓</span>
        </button>
      )}
    </div>
  );
}

/** What stands above the oldest message: a way to older ones, or that there are none. */
function Beginning(props: { channel: ChannelView }): ReactElement | null {
  const { id, name, hasOlder, loading, loaded, messages } = props.channel;
  const { client } = useChat();
  if (hasOlder) {
    // Not `disabled`, which would take the keyboard's focus away.
    return (
      <button type="button" className="older" aria-disabled={loading} onClick={() => !loading && client.loadOlder(id)}>
        {loading ? "Loading…" : "Load older messages"}
      </button>
    );
  }
  if (!loaded) return <p className="splash">{loading ? "Loading…" : ""}</p>;
  if (messages.length === 0) return <p className="splash">Nobody has written here yet.</p>;
  return <p className="begins">This is where {name} begins</p>;
}

function sentById(messages: readonly MessageView[]): ReadonlyMap<string, MessageView> {
  return new Map(messages.flatMap((message) => (message.id === null ? [] : [[message.id, message] as const])));
}
