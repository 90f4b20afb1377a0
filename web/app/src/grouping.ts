/** Which messages stand together: same day, same sender, close in time. */
import type { MessageView } from "@safeshipper/client";

/** Milliseconds between two messages that still stand together. Chosen. */
const TOGETHER_MS = 5 * 60 * 1000;

export interface Group {
  /** Of its first message. */
  readonly key: string;
  readonly senderId: string;
  readonly senderName: string;
  readonly messages: readonly MessageView[];
  /** Whether the day before it was another one. */
  readonly beginsDay: boolean;
}

export function grouped(messages: readonly MessageView[]): readonly Group[] {
  const groups: { group: Omit<Group, "messages">; messages: MessageView[] }[] = [];
  let last: MessageView | undefined;
  for (const message of messages) {
    const sameDay = last !== undefined && dayOf(last) === dayOf(message);
    const open = groups.at(-1);
    if (open !== undefined && last !== undefined && sameDay && belongs(last, message)) {
      open.messages.push(message);
    } else {
      const { key, senderId, senderName } = message;
      groups.push({ group: { key, senderId, senderName, beginsDay: !sameDay }, messages: [message] });
    }
    last = message;
  }
  return groups.map(({ group, messages: together }) => ({ ...group, messages: together }));
}

function belongs(last: MessageView, message: MessageView): boolean {
  const apart = Date.parse(message.createdAt) - Date.parse(last.createdAt);
  return last.senderId === message.senderId && apart < TOGETHER_MS && last.isEmergency === message.isEmergency;
}

function dayOf(message: MessageView): string {
  return new Date(message.createdAt).toDateString();
}

/** How many replies of each thread are among these messages, by the thread's first message. */
export function repliesOf(messages: readonly MessageView[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { threadId, deletedAt } of messages) {
    if (threadId !== null && deletedAt === null) counts.set(threadId, (counts.get(threadId) ?? 0) + 1);
  }
  return counts;
}
