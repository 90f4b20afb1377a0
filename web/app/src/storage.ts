import type { OutboxStorage } from "@safeshipper/client";

/**
 * Unsent messages of one person in one tab: they survive a reload, and two tabs never send each other's. A tab
 * that is closed with unsent messages asks first.
 */
export function tabStorage(personId: string): OutboxStorage {
  const key = `safeshipper.outbox.${personId}`;
  return {
    load: () => guarded(() => sessionStorage.getItem(key)),
    save: (text) => guarded(() => sessionStorage.setItem(key, text)),
  };
}

/** A browser may forbid storage altogether; then messages simply do not survive a reload. */
function guarded<T>(use: () => T): T | null {
  try {
    return use();
  } catch {
    return null;
  }
}
