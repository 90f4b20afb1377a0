import type { MessageView } from "@safeshipper/client";
import { useEffect, useId, useRef } from "react";
import type { KeyboardEvent, ReactElement } from "react";
import { hasKeyboard } from "./browser.ts";
import { contentOf } from "./names.ts";
import { CHARS_MAX, isComposing, lengthOf } from "./writing.ts";

/** From how many characters on the counter is shown. */
const COUNTED_FROM = 7500;

/** What is being written. */
export interface Draft {
  readonly text: string;
  readonly replyTo: MessageView | null;
}

export const NO_DRAFT: Draft = { text: "", replyTo: null };

interface ComposerProps {
  label: string;
  draft: Draft;
  /** Who is answered. */
  replyName: string;
  onDraft: (draft: Draft) => void;
  onTyping: (isTyping: boolean) => void;
  onSend: () => void;
}

export function Composer(props: ComposerProps): ReactElement {
  const { draft, onDraft, onTyping } = props;
  const { text, replyTo } = draft;
  const input = useRef<HTMLTextAreaElement>(null);
  const counter = useId();
  useEffect(() => {
    if (replyTo !== null || hasKeyboard()) input.current?.focus();
  }, [replyTo]);

  const length = lengthOf(text);
  const sendable = length > 0 && length <= CHARS_MAX;
  const send = (): void => {
    if (!sendable) return;
    onTyping(false);
    props.onSend();
  };
  const endReply = (): void => {
    onDraft({ ...draft, replyTo: null });
    input.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (isComposing(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape" && replyTo !== null) {
      event.preventDefault();
      endReply();
    }
  };
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
        input.current?.focus();
      }}
    >
      {replyTo !== null && <Replying name={props.replyName} content={contentOf(replyTo)} onEnd={endReply} />}
      <div className="line">
        <div className="grow" data-text={text}>
          <textarea
            ref={input}
            rows={1}
            value={text}
            aria-label={props.label}
            aria-invalid={length > CHARS_MAX}
            aria-describedby={counter}
            placeholder={props.label}
            onKeyDown={onKeyDown}
            onBlur={() => onTyping(false)}
            onChange={({ target }) => {
              onDraft({ ...draft, text: target.value });
              onTyping(target.value.trim() !== "");
            }}
          />
        </div>
        <button type="submit" className="primary" disabled={!sendable}>
          Send
        </button>
      </div>
      <p className="counter" id={counter} data-over={length > CHARS_MAX}>
        {length >= COUNTED_FROM ? countOf(length) : <span className="hint">Enter sends, Shift + Enter starts a line</span>}
      </p>
    </form>
  );
}

function Replying(props: { name: string; content: string; onEnd: () => void }): ReactElement {
  return (
    <div className="replying">
      <span>
        Reply to <strong>{props.name}</strong> {props.content}
      </span>
      <button type="button" onClick={props.onEnd} aria-label="Cancel the reply">
        Cancel
      </button>
    </div>
  );
}

function countOf(length: number): string {
  const over = length - CHARS_MAX;
  return `${length} of ${CHARS_MAX} characters${over > 0 ? `, ${over} too many` : ""}`;
}
