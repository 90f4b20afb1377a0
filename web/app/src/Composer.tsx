import type { MessageView } from "@safeshipper/client";
import { useEffect, useRef, useState } from "react";
import type { KeyboardEvent, ReactElement } from "react";

/** Characters of a message at most: the protocol's limit. */
const CHARS_MAX = 8000;

/** From how many characters on the counter is shown. */
const COUNTED_FROM = 7500;

interface ComposerProps {
  channelName: string;
  replyTo: MessageView | null;
  onEndReply: () => void;
  onTyping: (isTyping: boolean) => void;
  onSend: (content: string) => void;
}

export function Composer(props: ComposerProps): ReactElement {
  const { replyTo } = props;
  const [text, setText] = useState("");
  const input = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    if (replyTo !== null) input.current?.focus();
  }, [replyTo]);

  const length = [...text].length;
  const sendable = text.trim() !== "" && length <= CHARS_MAX;
  const send = (): void => {
    if (!sendable) return;
    props.onSend(text);
    props.onTyping(false);
    setText("");
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    // An input method uses Enter to choose a word.
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape" && replyTo !== null) {
      props.onEndReply();
    }
  };
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {replyTo !== null && (
        <div className="replying">
          <span>
            Reply to <strong>{replyTo.senderName}</strong> {replyTo.content}
          </span>
          <button type="button" onClick={props.onEndReply}>
            Cancel
          </button>
        </div>
      )}
      <div className="line">
        <div className="grow" data-text={text}>
          <textarea
            ref={input}
            rows={1}
            value={text}
            aria-label={`Message to ${props.channelName}`}
            placeholder={`Message to ${props.channelName}`}
            onKeyDown={onKeyDown}
            onBlur={() => props.onTyping(false)}
            onChange={(event) => {
              setText(event.target.value);
              props.onTyping(event.target.value.trim() !== "");
            }}
          />
        </div>
        <button type="submit" className="primary" disabled={!sendable}>
          Send
        </button>
      </div>
      {length >= COUNTED_FROM && (
        <p className="counter" role={length > CHARS_MAX ? "alert" : undefined} data-over={length > CHARS_MAX}>
          {length} of {CHARS_MAX} characters
        </p>
      )}
    </form>
  );
}
