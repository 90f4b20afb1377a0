import type { MessageView } from "@safeshipper/client";
import { useLayoutEffect, useRef, useState } from "react";
import type { KeyboardEvent, ReactElement } from "react";
import { useSurroundings } from "./surroundings.ts";
import { CHARS_MAX, isComposing, lengthOf } from "./writing.ts";

/** Writes an own message anew, in its place. */
export function Editor(props: { message: MessageView; content: string }): ReactElement {
  const { message, content } = props;
  const { onEdited, place } = useSurroundings();
  const [text, setText] = useState(content);
  const input = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    input.current?.focus();
    input.current?.setSelectionRange(content.length, content.length);
    // Once: it begins with what the message said then.
  }, []);
  const length = lengthOf(text);
  const savable = length > 0 && length <= CHARS_MAX;
  const cancel = (): void => onEdited(message, null, place);
  const save = (): void => {
    if (savable) onEdited(message, text.trim() === content ? null : text, place);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (isComposing(event)) return;
    if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) {
      event.preventDefault();
      if (event.key === "Escape") cancel();
      else save();
    }
  };
  return (
    <form
      className="editor"
      onSubmit={(event) => {
        event.preventDefault();
        save();
      }}
    >
      <div className="grow" data-text={text}>
        <textarea
          ref={input}
          rows={1}
          value={text}
          aria-label="Edit the message"
          aria-invalid={length > CHARS_MAX}
          onKeyDown={onKeyDown}
          onChange={({ target }) => setText(target.value)}
        />
      </div>
      <div className="choices">
        <small>{length > CHARS_MAX ? `${length - CHARS_MAX} characters too many` : "Enter saves, Escape cancels"}</small>
        <button type="button" onClick={cancel}>
          Cancel
        </button>
        <button type="submit" className="primary" disabled={!savable}>
          Save
        </button>
      </div>
    </form>
  );
}
