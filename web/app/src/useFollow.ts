import type { MessageView } from "@safeshipper/client";
import { useLayoutEffect, useRef, useState } from "react";
import type { RefObject } from "react";
import { scrollBehavior } from "./browser.ts";

/** Pixels from the end at which one still reads the newest. */
const AT_END_PX = 48;

export interface Follow {
  readonly list: RefObject<HTMLDivElement | null>;
  readonly onScroll: () => void;
  readonly toEnd: () => void;
  /** Whether messages came that are not in view. */
  readonly behind: boolean;
}

/**
 * Keeps the newest message in view for who reads at the end, and the place of who reads further up: also when
 * older messages come in above him.
 */
export function useFollow(messages: readonly MessageView[], me: string | null): Follow {
  const list = useRef<HTMLDivElement>(null);
  const before = useRef<{ first: string | undefined; last: string | undefined; height: number }>(undefined);
  const atEnd = useRef(true);
  const [behind, setBehind] = useState(false);
  const [first, last] = [messages[0]?.key, messages.at(-1)];

  useLayoutEffect(() => {
    const element = list.current;
    if (element === null) return;
    const was = before.current;
    const isNew = last !== undefined && last.key !== was?.last;
    const olderCame = was !== undefined && first !== was.first && messages.some(({ key }) => key === was.first);
    if (atEnd.current || (isNew && last.senderId === me)) {
      element.scrollTop = element.scrollHeight;
      atEnd.current = true;
    } else if (olderCame) {
      element.scrollTop += element.scrollHeight - was.height;
    } else if (isNew) {
      setBehind(true);
    }
    before.current = { first, last: last?.key, height: element.scrollHeight };
  }, [messages, first, last, me]);

  // A window that changes its height must not lose the newest message.
  useLayoutEffect(() => {
    const element = list.current;
    if (element === null) return undefined;
    const watching = new ResizeObserver(() => {
      if (atEnd.current) element.scrollTop = element.scrollHeight;
      // Another width breaks the lines anew: the next comparison is with this height.
      if (before.current !== undefined) before.current.height = element.scrollHeight;
    });
    watching.observe(element);
    return () => watching.disconnect();
  }, []);

  const onScroll = (): void => {
    const element = list.current;
    if (element === null) return;
    atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < AT_END_PX;
    if (atEnd.current) setBehind(false);
  };
  const toEnd = (): void => {
    list.current?.scrollTo({ top: list.current.scrollHeight, behavior: scrollBehavior() });
  };
  return { list, onScroll, toEnd, behind };
}
