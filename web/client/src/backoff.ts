/** How long to wait before trying again: full jitter, so that a crowd that fell together comes back spread out. */

/** Milliseconds; the numbers of the protocol page. */
export const BACKOFF_BASE_MS = 500;
export const BACKOFF_CAP_MS = 30_000;
/** Milliseconds online after which the next fall counts as the first. */
export const STABLE_MS = 30_000;

/** Returns a wait in [0, min(cap, base * 2^attempt)); `random` is in [0, 1). */
export function fullJitterMs(attempt: number, random: number): number {
  return Math.floor(random * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt));
}

/** Counts the attempts of one connection. */
export class Backoff {
  private attempt = 0;
  private onlineSinceMs: number | null = null;

  online(nowMs: number): void {
    this.onlineSinceMs = nowMs;
  }

  /** The connection is down or could not be made: returns the wait before the next attempt. */
  next(nowMs: number, random: number): number {
    if (this.onlineSinceMs !== null && nowMs - this.onlineSinceMs >= STABLE_MS) this.attempt = 0;
    this.onlineSinceMs = null;
    return fullJitterMs(this.attempt++, random);
  }
}
