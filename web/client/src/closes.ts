/** What a WebSocket close code means for the client. */

/** The server was silent for too long; given by this side too. */
export const NO_HEARTBEAT = 4012;
/** The server did not say `connection_established` in time. */
export const NOT_ESTABLISHED = 4013;
/** A person or the page ended it. */
export const NORMAL = 1000;
/** RFC 6455: no close frame at all. */
export const ABNORMAL = 1006;

const FINAL: ReadonlySet<number> = new Set([NORMAL, 1002, 1003, 1007, 1008, 1009]);

/** Whether the client comes back by itself; 4001 needs nothing more, since each connect asks for a new token. */
export function reconnectsAfter(code: number): boolean {
  return !FINAL.has(code) && !(code >= 4500 && code <= 4999);
}

const TEXTS: ReadonlyMap<number, string> = new Map([
  [NORMAL, "The server ended the session"],
  [1001, "The server is going away"],
  [ABNORMAL, "The connection was lost"],
  [1012, "The server restarts"],
  [1013, "The server is overloaded"],
  [4001, "The sign-in expired"],
  [4008, "Too many connections from this address"],
  [4009, "This connection was too slow"],
  [NO_HEARTBEAT, "The server did not answer"],
  [NOT_ESTABLISHED, "The server did not answer in time"],
  [4500, "The sign-in is not valid"],
  [4502, "The sign-in was revoked"],
  [4505, "Too many connections or frames"],
]);

/** Returns what a person reads about it. */
export function closeText(code: number, reason: string): string {
  return TEXTS.get(code) ?? (reason || `The connection was closed (${code})`);
}
