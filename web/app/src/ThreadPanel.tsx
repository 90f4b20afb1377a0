import type { ChannelView, ThreadView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { useEffect, useRef } from "react";
import type { ReactElement } from "react";
import { Composer, NO_DRAFT } from "./Composer.tsx";
import type { Draft } from "./Composer.tsx";
import { Messages } from "./Messages.tsx";
import { hasKeyboard } from "./browser.ts";
import { repliesOf } from "./grouping.ts";
import { repliesLine } from "./names.ts";

interface ThreadPanelProps {
  channel: ChannelView;
  thread: ThreadView;
  draft: Draft;
  onDraft: (draft: Draft) => void;
  editing: string | null;
  fullNameOf: (id: string, said: string) => string;
  onClose: () => void;
}

/** A message and what was answered to it: beside the conversation, or over it where there is no room. */
export function ThreadPanel(props: ThreadPanelProps): ReactElement {
  const { channel, thread, draft, onClose } = props;
  const { client } = useChat();
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // With a keyboard the composer takes the focus by itself.
    if (!hasKeyboard()) title.current?.focus();
  }, []);
  const replies = repliesOf(thread.messages).get(thread.rootId) ?? 0;
  return (
    <aside
      className="thread"
      aria-label="Thread"
      data-emergency={channel.type === "EMERGENCY"}
      onKeyDown={(event) => {
        if (event.key === "Escape" && !event.defaultPrevented) onClose();
      }}
    >
      <header className="title">
        <h2 ref={title} tabIndex={-1}>
          Thread <small>{replies > 0 ? repliesLine(replies) : ""}</small>
        </h2>
        <button type="button" className="close" aria-label="Close the thread" onClick={onClose}>
          ×
        </button>
      </header>
      <Messages
        list={thread}
        label="Messages of the thread"
        begins=""
        empty="This message is not there any more."
        editing={props.editing}
        fullNameOf={props.fullNameOf}
        onOlder={() => client.loadOlderReplies(channel.id)}
      />
      <Composer
        label="Reply in the thread"
        draft={draft}
        replyName=""
        onDraft={props.onDraft}
        onTyping={(isTyping) => client.typing(channel.id, isTyping)}
        onSend={() => {
          client.send(channel.id, draft.text, { replyTo: thread.rootId });
          props.onDraft(NO_DRAFT);
        }}
      />
    </aside>
  );
}
