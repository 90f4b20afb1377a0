import type { ChannelView, MessageView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { useCallback, useEffect, useState } from "react";
import type { ReactElement } from "react";
import { Composer, NO_DRAFT } from "./Composer.tsx";
import type { Draft } from "./Composer.tsx";
import { ConnectionStatus } from "./ConnectionStatus.tsx";
import { Messages } from "./Messages.tsx";
import { typingLine } from "./names.ts";

interface ConversationProps {
  channel: ChannelView;
  names: ReadonlyMap<string, string>;
  /** What was being written in each channel when it was left. */
  drafts: Map<string, Draft>;
  withStatus: boolean;
  onBack: () => void;
}

export function Conversation(props: ConversationProps): ReactElement {
  const { channel, names, drafts } = props;
  const { client, snapshot } = useChat();
  const [draft, setDraft] = useState(() => drafts.get(channel.id) ?? NO_DRAFT);
  useEffect(() => {
    drafts.set(channel.id, draft);
  }, [drafts, channel.id, draft]);
  const onReply = useCallback((replyTo: MessageView) => setDraft((old) => ({ ...old, replyTo })), []);
  const emergency = channel.type === "EMERGENCY";
  const nameOf = (id: string): string => names.get(id) ?? channel.members.get(id) ?? id;
  return (
    <main className="conversation" data-emergency={emergency} aria-label={channel.name}>
      <header className="title">
        <button type="button" className="back" onClick={props.onBack} aria-label="Show channels">
          ‹
        </button>
        <h1 tabIndex={-1}>
          <span aria-hidden="true">{emergency ? "!" : "#"}</span> {channel.name}
        </h1>
        {props.withStatus && <ConnectionStatus />}
      </header>
      <Messages channel={channel} me={snapshot.me} nameOf={nameOf} onReply={onReply} />
      <p className="typing" aria-live="polite">
        {typingLine(channel.typing.map(nameOf))}
      </p>
      <Composer
        channelName={channel.name}
        draft={draft}
        replyName={replyName(draft.replyTo, snapshot.me, nameOf)}
        onDraft={setDraft}
        onTyping={(isTyping) => client.typing(channel.id, isTyping)}
        onSend={() => {
          const parent = draft.replyTo?.id;
          client.send(channel.id, draft.text, parent == null ? {} : { replyTo: parent });
          setDraft(NO_DRAFT);
        }}
      />
    </main>
  );
}

function replyName(message: MessageView | null, me: string | null, nameOf: (id: string) => string): string {
  if (message === null) return "";
  return message.senderId === me ? "yourself" : nameOf(message.senderId);
}
