/** Whether a silent server is still there: a page cannot see WebSocket pings, only frames. */

export type Silence =
  | { readonly do: "wait"; readonly forMs: number }
  | { readonly do: "ping"; readonly forMs: number }
  | { readonly do: "give up" };

/** Judges `silentMs` without any frame; asks once after 1.5 intervals and gives up after 2. */
export function judgeSilence(silentMs: number, heartbeatMs: number, pinged: boolean): Silence {
  const askAtMs = heartbeatMs * 1.5;
  const giveUpAtMs = heartbeatMs * 2;
  if (silentMs >= giveUpAtMs) return { do: "give up" };
  if (silentMs < askAtMs) return { do: "wait", forMs: askAtMs - silentMs };
  return { do: pinged ? "wait" : "ping", forMs: giveUpAtMs - silentMs };
}
