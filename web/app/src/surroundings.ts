/** What a message needs to know of where it stands, and whom it tells what a person wants of it. */
import type { MessageView } from "@safeshipper/client";
import { createContext, useContext } from "react";

/** A message may stand in the channel and, beside it, in the open thread. */
export type Place = "channel" | "thread";

export interface Surroundings {
  readonly place: Place;
  readonly me: string | null;
  /** "You" for oneself. */
  readonly nameOf: (id: string, said: string) => string;
  readonly onReply: (message: MessageView) => void;
  /** `button` is where the menu comes from and where the keyboard returns to. */
  readonly onMenu: (message: MessageView, button: HTMLElement, place: Place) => void;
  readonly onReact: (message: MessageView, reaction: string) => void;
  readonly onThread: (message: MessageView) => void;
  /** Null: it stays as it is. */
  readonly onEdited: (message: MessageView, content: string | null, place: Place) => void;
}

const SurroundingsContext = createContext<Surroundings | null>(null);

export const SurroundingsProvider = SurroundingsContext.Provider;

export function useSurroundings(): Surroundings {
  const surroundings = useContext(SurroundingsContext);
  if (surroundings === null) throw new Error("a message stands outside of a conversation");
  return surroundings;
}

/** The id of a message's element; there may be one in each place. */
export function elementId(place: Place, messageId: string): string {
  return place === "channel" ? `message-${messageId}` : `in-thread-${messageId}`;
}

/** Gives the keyboard back to a message; returns whether it is there. */
export function focusMessage(place: Place, messageId: string): boolean {
  const button = document.getElementById(elementId(place, messageId))?.querySelector<HTMLElement>(".replies, .more");
  button?.focus();
  return button != null;
}
