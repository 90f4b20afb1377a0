/** Who types: what others do (it expires by itself), and how often this client says so. */

/** Milliseconds after which a typing indicator expires. Protocol page. */
export const TYPING_EXPIRES_MS = 5_000;
/** Milliseconds between two `typing_start` of a channel. Protocol page. */
export const TYPING_START_INTERVAL_MS = 2_000;

const NOBODY: readonly string[] = [];

/** Others who type; the list of a channel is the same object until it changed. */
export class TypingSeen {
  private readonly untilMs = new Map<string, Map<string, number>>();
  private readonly lists = new Map<string, readonly string[]>();

  set(channelId: string, userId: string, isTyping: boolean, nowMs: number): void {
    const users = this.untilMs.get(channelId) ?? new Map<string, number>();
    this.untilMs.set(channelId, users);
    const known = users.has(userId);
    if (isTyping) users.set(userId, nowMs + TYPING_EXPIRES_MS);
    else users.delete(userId);
    if (known !== isTyping) this.relist(channelId, users);
  }

  expire(nowMs: number): void {
    for (const [channelId, users] of this.untilMs) {
      const late = [...users].filter(([, untilMs]) => untilMs <= nowMs);
      for (const [userId] of late) users.delete(userId);
      if (late.length > 0) this.relist(channelId, users);
    }
  }

  /** When `expire` has something to do, or null. */
  nextExpiryMs(): number | null {
    const all = [...this.untilMs.values()].flatMap((users) => [...users.values()]);
    return all.length === 0 ? null : Math.min(...all);
  }

  list(channelId: string): readonly string[] {
    return this.lists.get(channelId) ?? NOBODY;
  }

  clear(): void {
    this.untilMs.clear();
    this.lists.clear();
  }

  private relist(channelId: string, users: ReadonlyMap<string, number>): void {
    if (users.size > 0) {
      this.lists.set(channelId, [...users.keys()]);
    } else {
      this.lists.delete(channelId);
      this.untilMs.delete(channelId);
    }
  }
}

/** What this client said about its own typing. */
export class TypingSaid {
  private readonly startedMs = new Map<string, number>();

  /** Returns the frame that is due, or null; called for each key stroke. */
  due(channelId: string, isTyping: boolean, nowMs: number): "typing_start" | "typing_stop" | null {
    const startedMs = this.startedMs.get(channelId);
    if (!isTyping) return this.startedMs.delete(channelId) ? "typing_stop" : null;
    if (startedMs !== undefined && nowMs - startedMs < TYPING_START_INTERVAL_MS) return null;
    this.startedMs.set(channelId, nowMs);
    return "typing_start";
  }

  clear(): void {
    this.startedMs.clear();
  }
}
