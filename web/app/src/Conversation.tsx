import type { ChannelView, MessageView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { useCallback, useMemo, useState } from "react";
import type { ReactElement } from "react";
import { Composer, NO_DRAFT } from "./Composer.tsx";
import type { Draft } from "./Composer.tsx";
import { ConnectionStatus } from "./ConnectionStatus.tsx";
import { MessageDialogs } from "./MessageDialogs.tsx";
import { Messages } from "./Messages.tsx";
import { Pins } from "./Pins.tsx";
import { ThreadPanel } from "./ThreadPanel.tsx";
import { typingLine } from "./names.ts";
import { SurroundingsProvider, focusMessage } from "./surroundings.ts";
import type { Surroundings } from "./surroundings.ts";
import { useChanging } from "./useChanging.ts";

interface ConversationProps {
  channel: ChannelView;
  names: ReadonlyMap<string, string>;
  /** What was being written in each channel and thread when it was left. */
  drafts: Map<string, Draft>;
  withStatus: boolean;
  onBack: () => void;
}

export function Conversation(props: ConversationProps): ReactElement {
  const { channel, names, drafts } = props;
  const { id: channelId, members, thread } = channel;
  const { client, snapshot } = useChat();
  const { me } = snapshot;
  const [draft, setDraft] = useDraft(drafts, channelId);
  const [threadDraft, setThreadDraft] = useDraft(drafts, `${channelId}/${thread?.rootId ?? ""}`);
  const changing = useChanging(channel);
  const { onMenu, onEdited, onThread } = changing;
  const nameOfId = useCallback((id: string): string => names.get(id) ?? members.get(id) ?? id, [names, members]);
  // An own message that nobody answered for yet carries the id in place of a name.
  const fullNameOf = (id: string, said: string): string => (said === id ? nameOfId(id) : said);
  const around = useMemo<Surroundings>(
    () => ({
      place: "channel",
      me,
      nameOf: (id, said) => (id === me ? "You" : said === id ? nameOfId(id) : said),
      onReply: (replyTo) => setDraft((old) => ({ ...old, replyTo })),
      onReact: (message, reaction) => message.id !== null && client.react(channelId, message.id, reaction),
      onMenu,
      onThread,
      onEdited,
    }),
    [me, nameOfId, setDraft, client, channelId, onMenu, onThread, onEdited],
  );
  const aroundThread = useMemo<Surroundings>(() => ({ ...around, place: "thread" }), [around]);
  const closeThread = (): void => {
    client.closeThread(channelId);
    if (thread === null || !focusMessage("channel", thread.rootId)) {
      document.querySelector<HTMLElement>(".conversation textarea")?.focus();
    }
  };
  const emergency = channel.type === "EMERGENCY";
  return (
    <>
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
        <SurroundingsProvider value={around}>
          <Pins messages={channel.messages} nameOf={around.nameOf} />
          <Messages
            list={channel}
            label={`Messages in ${channel.name}`}
            begins={`This is where ${channel.name} begins`}
            empty="Nobody has written here yet."
            editing={changing.editingIn("channel")}
            fullNameOf={fullNameOf}
            onOlder={() => client.loadOlder(channelId)}
          />
        </SurroundingsProvider>
        <p className="typing" aria-live="polite">
          {typingLine(channel.typing.map(nameOfId))}
        </p>
        <Composer
          label={`Message to ${channel.name}`}
          draft={draft}
          replyName={replyName(draft.replyTo, me, nameOfId)}
          onDraft={setDraft}
          onTyping={(isTyping) => client.typing(channelId, isTyping)}
          onSend={() => {
            const parent = draft.replyTo?.id;
            client.send(channelId, draft.text, parent == null ? {} : { replyTo: parent });
            setDraft(NO_DRAFT);
          }}
        />
      </main>
      {thread !== null && (
        <SurroundingsProvider value={aroundThread}>
          <ThreadPanel
            key={thread.rootId}
            channel={channel}
            thread={thread}
            draft={threadDraft}
            onDraft={setThreadDraft}
            editing={changing.editingIn("thread")}
            fullNameOf={fullNameOf}
            onClose={closeThread}
          />
        </SurroundingsProvider>
      )}
      <MessageDialogs channel={channel} changing={changing} fullNameOf={fullNameOf} />
    </>
  );
}

type SetDraft = (next: Draft | ((old: Draft) => Draft)) => void;

/** What is being written under this key; it is there again when one comes back. */
function useDraft(drafts: Map<string, Draft>, key: string): readonly [Draft, SetDraft] {
  const [, redraw] = useState(0);
  const set = useCallback<SetDraft>(
    (next) => {
      const old = drafts.get(key) ?? NO_DRAFT;
      drafts.set(key, typeof next === "function" ? next(old) : next);
      redraw((times) => times + 1);
    },
    [drafts, key],
  );
  return [drafts.get(key) ?? NO_DRAFT, set];
}

function replyName(message: MessageView | null, me: string | null, nameOf: (id: string) => string): string {
  if (message === null) return "";
  return message.senderId === me ? "yourself" : nameOf(message.senderId);
}
