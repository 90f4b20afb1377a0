/** What the composer and the editor know of writing. */
import type { KeyboardEvent } from "react";

/** Characters of a message at most: the protocol's limit. */
export const CHARS_MAX = 8000;

/** Characters as the protocol counts them. */
export function lengthOf(text: string): number {
  return [...text.trim()].length;
}

/** An input method uses Enter and Escape itself; Safari ends the composition first and tells by the key code alone. */
export function isComposing(event: KeyboardEvent): boolean {
  return event.nativeEvent.isComposing || event.keyCode === 229;
}
