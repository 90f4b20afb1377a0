/** The text of an outbox, as far as it must be known to make one of two; the client itself checks the entries. */

/** What a client keeps at most; what is above waits for a tab with room. */
const ENTRIES_MAX = 200;

interface Stored {
  readonly version: 1;
  readonly entries: readonly Record<string, unknown>[];
}

/** Joins two outboxes in the order of writing, each message once; null when they cannot be one. */
export function joined(own: string | null, left: string): string | null {
  const [mine, theirs] = [read(own ?? '{"version":1,"entries":[]}'), read(left)];
  if (mine === null || theirs === null) return null;
  const known = new Set(mine.entries.map(({ clientMsgId }) => clientMsgId));
  const added = theirs.entries.filter(({ clientMsgId }) => !known.has(clientMsgId));
  const entries = [...mine.entries, ...added].sort(byTime);
  if (entries.length > ENTRIES_MAX) return null;
  return JSON.stringify({ version: 1, entries } satisfies Stored);
}

function read(text: string): Stored | null {
  try {
    const value: unknown = JSON.parse(text);
    return isStored(value) ? value : null;
  } catch {
    return null;
  }
}

function isStored(value: unknown): value is Stored {
  return isRecord(value) && value["version"] === 1 && Array.isArray(value["entries"]) && value["entries"].every(isRecord);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The client writes times in one form, so their text order is the order of time. */
function byTime(a: Record<string, unknown>, b: Record<string, unknown>): number {
  const [earlier, later] = [String(a["createdAt"]), String(b["createdAt"])];
  return earlier < later ? -1 : earlier > later ? 1 : 0;
}
