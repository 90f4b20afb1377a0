/**
 * Where a person's unsent messages wait: in a place of their own per tab, which outlives the tab.
 *
 * A tab holds a lock by the name of its place for as long as it lives. A place whose lock is free was left by a tab
 * that is gone; the next tab of the same person takes over what is in it. So two tabs never write to one place, and
 * nothing waits for a tab that does not come back.
 */
import type { OutboxStorage } from "@safeshipper/client";
import { joined } from "./stored.ts";

/** Opens a place of this tab's own; `closed` gives it up. Without locks (plain http elsewhere) it ends with the tab. */
export async function openOutbox(personId: string, closed: AbortSignal): Promise<OutboxStorage> {
  const places = `safeshipper.outbox.${encodeURIComponent(personId)}/`;
  try {
    const own = places + crypto.randomUUID();
    await hold(own, closed);
    for (const place of Object.keys(localStorage)) {
      if (place.startsWith(places) && place !== own) await takeOver(place, own);
    }
    return storageAt(localStorage, own);
  } catch {
    return withinTab(places);
  }
}

/** Resolves once the lock is held. */
function hold(name: string, closed: AbortSignal): Promise<void> {
  return new Promise((held, failed) => {
    const untilClosed = (): Promise<void> | undefined => {
      held();
      if (closed.aborted) return undefined;
      return new Promise((release) => closed.addEventListener("abort", () => release(), { once: true }));
    };
    navigator.locks.request(name, untilClosed).catch(failed);
  });
}

async function takeOver(place: string, own: string): Promise<void> {
  await navigator.locks.request(place, { ifAvailable: true }, (lock) => {
    if (lock !== null) move(place, own);
  });
}

/** A tab that dies between the two writes leaves the messages twice; they are joined as one. */
function move(place: string, own: string): void {
  const left = localStorage.getItem(place);
  const both = left === null ? null : joined(localStorage.getItem(own), left);
  if (both === null) return;
  try {
    localStorage.setItem(own, both);
  } catch {
    // No room for both at once: they wait for a tab that has it.
    return;
  }
  localStorage.removeItem(place);
}

function storageAt(storage: Storage, key: string): OutboxStorage {
  return { load: () => storage.getItem(key), save: (text) => storage.setItem(key, text) };
}

/** A browser may forbid storage altogether; then messages simply do not survive a reload. */
function withinTab(key: string): OutboxStorage {
  try {
    return storageAt(sessionStorage, key);
  } catch {
    return { load: () => null, save: () => {} };
  }
}
