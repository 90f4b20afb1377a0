/** Words for what the protocol spells in capitals, and times as people read them. */

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

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

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
  return DAY.format(date);
}

/** "Dana types", "Dana and Marek type", "Several people type". */
export function typingLine(names: readonly string[]): string {
  const [first, second, third] = names;
  if (first === undefined) return "";
  if (second === undefined) return `${first} is typing…`;
  if (third === undefined) return `${first} and ${second} are typing…`;
  return "Several people are typing…";
}
