import type { ChannelView, MessageView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { useMemo, useState } from "react";
import type { ReactElement } from "react";
import { Composer } from "./Composer.tsx";
import { ConnectionStatus } from "./ConnectionStatus.tsx";
import { MessageGroup } from "./MessageGroup.tsx";
import { grouped } from "./grouping.ts";
import { day, typingLine } from "./names.ts";
import { useFollow } from "./useFollow.ts";

interface ConversationProps {
  channel: ChannelView;
  names: ReadonlyMap<string, string>;
  onBack: () => void;
}

export function Conversation(props: ConversationProps): ReactElement {
  const { channel, names } = props;
  const { client, snapshot } = useChat();
  const [replyTo, setReplyTo] = useState<MessageView | null>(null);
  const emergency = channel.type === "EMERGENCY";
  const nameOf = (id: string): string => names.get(id) ?? channel.members.get(id) ?? id;
  return (
    <main className="conversation" data-emergency={emergency} aria-label={channel.name}>
      <header className="title">
        <button type="button" className="back" onClick={props.onBack} aria-label="Show channels">
          ‹
        </button>
        <h1>
          <span aria-hidden="true">{emergency ? "! " : "# "}</span>
          {channel.name}
        </h1>
        <ConnectionStatus />
      </header>
      <Messages channel={channel} me={snapshot.me} onReply={setReplyTo} />
      <p className="typing" aria-live="polite">
        {typingLine(channel.typing.map(nameOf))}
      </p>
      <Composer
        channelName={channel.name}
        replyTo={replyTo}
        onEndReply={() => setReplyTo(null)}
        onTyping={(isTyping) => client.typing(channel.id, isTyping)}
        onSend={(content) => {
          const parent = replyTo?.id;
          client.send(channel.id, content, parent == null ? {} : { replyTo: parent });
          setReplyTo(null);
        }}
      />
    </main>
  );
}

interface MessagesProps {
  channel: ChannelView;
  me: string | null;
  onReply: (message: MessageView) => void;
}

function Messages(props: MessagesProps): ReactElement {
  const { channel, me } = props;
  const { client } = useChat();
  const groups = useMemo(() => grouped(channel.messages), [channel.messages]);
  const byId = useMemo(
    () => new Map(channel.messages.flatMap((message) => (message.id === null ? [] : [[message.id, message] as const]))),
    [channel.messages],
  );
  const follow = useFollow(channel.messages, me);
  const now = new Date();
  return (
    <div className="scroll">
      <div className="messages" ref={follow.list} onScroll={follow.onScroll} tabIndex={0}>
        {channel.hasOlder && (
          <button type="button" className="older" disabled={channel.loading} onClick={() => client.loadOlder(channel.id)}>
            {channel.loading ? "Loading…" : "Load older messages"}
          </button>
        )}
        {channel.loaded && channel.messages.length === 0 && <p className="splash">Nobody has written here yet.</p>}
        <ol role="log" aria-label={`Messages in ${channel.name}`}>
          {groups.map((group) => (
            <MessageGroup
              key={group.key}
              group={group}
              mine={group.senderId === me}
              heading={group.beginsDay ? day(group.messages[0]?.createdAt ?? "", now) : null}
              parentOf={(message) => (message.replyTo === null ? undefined : byId.get(message.replyTo))}
              onReply={props.onReply}
            />
          ))}
        </ol>
      </div>
      {follow.behind && (
        <button type="button" className="newer" onClick={follow.toEnd}>
          New messages ↓
        </button>
      )}
    </div>
  );
}
