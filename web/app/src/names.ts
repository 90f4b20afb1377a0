/** Words for what the protocol spells in capitals, and times as people read them. */
import type { MessageView } from "@safeshipper/client";

/** `COMPLIANCE_OFFICER` as "Compliance officer". */
export function roleName(role: string): string {
  const words = role.toLowerCase().replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Up to two letters that stand for a name. */
export function initials(name: string): string {
  const words = name.split(/\s+/).filter((word) => word !== "");
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]];
  return letters.map((word) => word?.charAt(0).toUpperCase() ?? "").join("");
}

/** One of so many colours, always the same for an id. */
export function colourOf(id: string, colours: number): number {
  let hash = 0;
  for (const character of id) hash = (hash * 29 + (character.codePointAt(0) ?? 0)) % 9973;
  return hash % colours;
}

/** What stands in the place of a message that is no more. */
export const DELETED = "Message deleted";

/** What a message says; one without words says what it is. */
export function contentOf(message: MessageView): string {
  if (message.deletedAt !== null) return DELETED;
  return message.content === "" ? `[${roleName(message.messageType)}]` : message.content;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
/** In the language of the page, since it stands between "Today" and "Yesterday". */
const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
const DAY_OF_YEAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric" });

/** Day and time. */
const WHOLE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" });

export function whole(iso: string): string {
  return WHOLE.format(new Date(iso));
}

export function clock(iso: string): string {
  return CLOCK.format(new Date(iso));
}

/** "Today", "Yesterday" or the date. */
export function day(iso: string, now: Date): string {
  const date = new Date(iso);
  const midnight = (of: Date): number => new Date(of.getFullYear(), of.getMonth(), of.getDate()).getTime();
  const daysAgo = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (daysAgo === 0) return "Today";
  if (daysAgo === 1) return "Yesterday";
  return (date.getFullYear() === now.getFullYear() ? DAY : DAY_OF_YEAR).format(date);
}

/** "Dana is typing…", "Dana and Marek are typing…", "Several people are typing…". */
export function typingLine(names: readonly string[]): string {
  const [first, second, third] = names;
  if (first === undefined) return "";
  if (second === undefined) return `${first} is typing…`;
  if (third === undefined) return `${first} and ${second} are typing…`;
  return "Several people are typing…";
}

/** "You, Dana and 3 others": the names known of so many people. */
export function peopleLine(names: readonly string[], count: number): string {
  const others = Math.max(0, count - names.length);
  const all = others === 0 ? names : [...names, others === 1 ? "1 other" : `${others} others`];
  return all.length < 2 ? all.join("") : `${all.slice(0, -1).join(", ")} and ${all.at(-1)}`;
}

export function repliesLine(count: number): string {
  return count === 1 ? "1 reply" : `${count} replies`;
}
