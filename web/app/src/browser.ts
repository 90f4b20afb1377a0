/** What the browser knows and a component follows. */
import { useSyncExternalStore } from "react";

/** Where the style sheets show one pane at a time. */
const NARROW = matchMedia("(max-width: 720px)");

export function useNarrow(): boolean {
  return useSyncExternalStore(onNarrow, () => NARROW.matches);
}

/** Whether there is a network; there may still be no way to the server. */
export function useNetwork(): boolean {
  return useSyncExternalStore(onNetwork, () => navigator.onLine);
}

function onNarrow(changed: () => void): () => void {
  return listening(NARROW, ["change"], changed);
}

function onNetwork(changed: () => void): () => void {
  return listening(window, ["online", "offline"], changed);
}

/** Whether a keyboard that pops up would be in the way of reading. */
export function hasKeyboard(): boolean {
  return !NARROW.matches && matchMedia("(hover: hover)").matches;
}

/** How to scroll for somebody who may not want to see things move. */
export function scrollBehavior(): ScrollBehavior {
  return matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
}

/** Returns what ends it. */
export function listening(target: EventTarget, names: readonly string[], listener: () => void): () => void {
  for (const name of names) target.addEventListener(name, listener);
  return () => {
    for (const name of names) target.removeEventListener(name, listener);
  };
}
