import type { MessageView } from "@safeshipper/client";
import { useLayoutEffect, useRef, useState } from "react";
import type { KeyboardEvent, ReactElement, RefObject } from "react";
import type { Permissions } from "./permissions.ts";

/** Offered at once; any other may be written. */
const REACTIONS = ["👍", "❤️", "😂", "😮", "✅", "⚠️"];

/** Bytes of a reaction at most: the protocol's limit. */
const REACTION_BYTES_MAX = 32;

/** Pixels between the menu and the edges of the window. */
const MARGIN_PX = 8;

export type Choice =
  | { readonly do: "react"; readonly reaction: string }
  | { readonly do: "thread" | "edit" | "delete" }
  | { readonly do: "pin"; readonly pinned: boolean };

interface MessageMenuProps {
  message: MessageView;
  senderName: string;
  permissions: Permissions;
  /** There is no thread in a thread. */
  withThread: boolean;
  button: HTMLElement;
  onChoice: (choice: Choice) => void;
  onClose: () => void;
}

/** What can be done with a message, beside the button that opened it; at the foot of a narrow screen. */
export function MessageMenu(props: MessageMenuProps): ReactElement {
  const { message, permissions, onChoice } = props;
  const menu = usePopover(props.button);
  const item = (words: string, choice: Choice): ReactElement => (
    <button type="button" className="item" data-do={choice.do} onClick={() => onChoice(choice)}>
      {words}
    </button>
  );
  return (
    <div
      ref={menu}
      popover="auto"
      className="menu"
      role="dialog"
      aria-label={`Message of ${props.senderName}`}
      onKeyDown={moveFocus}
      onToggle={(event) => event.newState === "closed" && props.onClose()}
      onBlur={({ currentTarget, relatedTarget }) => {
        if (relatedTarget !== null && !currentTarget.contains(relatedTarget)) props.onClose();
      }}
    >
      <div className="quick" role="group" aria-label="React">
        {REACTIONS.map((reaction) => (
          <button
            key={reaction}
            type="button"
            aria-pressed={message.reactions.some((one) => one.mine && one.reaction === reaction)}
            aria-label={`React with ${reaction}`}
            onClick={() => onChoice({ do: "react", reaction })}
          >
            {reaction}
          </button>
        ))}
      </div>
      <OtherReaction onReaction={(reaction) => onChoice({ do: "react", reaction })} />
      {props.withThread && item("Reply in thread", { do: "thread" })}
      {permissions.edit && item("Edit", { do: "edit" })}
      {permissions.pin && item(message.isPinned ? "Unpin" : "Pin", { do: "pin", pinned: !message.isPinned })}
      {permissions.delete && item("Delete…", { do: "delete" })}
    </div>
  );
}

function OtherReaction(props: { onReaction: (reaction: string) => void }): ReactElement {
  const [text, setText] = useState("");
  const reaction = text.trim();
  const usable = reaction !== "" && new TextEncoder().encode(reaction).length <= REACTION_BYTES_MAX;
  return (
    <form
      className="other"
      onSubmit={(event) => {
        event.preventDefault();
        if (usable) props.onReaction(reaction);
      }}
    >
      <input
        type="text"
        value={text}
        aria-label="Another reaction"
        placeholder="Another emoji or word"
        aria-invalid={reaction !== "" && !usable}
        onChange={({ target }) => setText(target.value)}
      />
      <button type="submit" disabled={!usable}>
        Add
      </button>
    </form>
  );
}

/** Shows the element above everything, beside the button, and puts the keyboard into it. */
function usePopover(button: HTMLElement): RefObject<HTMLDivElement | null> {
  const menu = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = menu.current;
    if (element === null) return undefined;
    element.showPopover();
    button.setAttribute("aria-expanded", "true");
    const { offsetWidth: width, offsetHeight: height } = element;
    const at = button.getBoundingClientRect();
    const below = at.bottom + height + MARGIN_PX <= innerHeight ? at.bottom + 4 : at.top - height - 4;
    const within = (wanted: number, size: number, room: number): string =>
      `${Math.max(MARGIN_PX, Math.min(wanted, room - size - MARGIN_PX))}px`;
    element.style.setProperty("--left", within(at.left, width, innerWidth));
    element.style.setProperty("--top", within(below, height, innerHeight));
    element.querySelector("button")?.focus();
    return () => {
      button.removeAttribute("aria-expanded");
      if (element.matches(":popover-open")) element.hidePopover();
    };
  }, [button]);
  return menu;
}

/** Arrows move as in any menu, except in the field, where they move in the text. */
function moveFocus(event: KeyboardEvent<HTMLElement>): void {
  const inField = event.target instanceof HTMLInputElement;
  const step = { ArrowDown: 1, ArrowUp: -1, ArrowRight: inField ? 0 : 1, ArrowLeft: inField ? 0 : -1 }[event.key] ?? 0;
  if (step === 0) return;
  event.preventDefault();
  const all = [...event.currentTarget.querySelectorAll<HTMLElement>("button:not(:disabled), input")];
  const here = all.findIndex((one) => one === document.activeElement);
  all.at((here + step) % all.length)?.focus();
}
