/** Makes the ids by which the server recognises a message that it was sent twice. */

/** Returns `[A-Za-z0-9_-]{1,64}`: the time, so that ids sort, and about a hundred random bits. */
export function newClientMsgId(nowMs: number, random: () => number): string {
  const digits = (): string => Math.floor(random() * 2 ** 52).toString(36).padStart(11, "0");
  return `m-${nowMs.toString(36)}-${digits()}${digits()}`;
}
