import type { Connection } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { useEffect, useState } from "react";
import type { ReactElement } from "react";

/** While the connection is away: why, when the next attempt is, and a way not to wait for it. */
export function Trouble(): ReactElement | null {
  const { client, snapshot } = useChat();
  const { connection } = snapshot;
  const troubled = useTroubled(connection);
  if (!troubled) return null;
  return (
    <div className="trouble" data-state={connection.state}>
      <p>
        <strong>{reason(connection)}</strong>
        {connection.state !== "ended" && <small>What you write is kept and sent as soon as possible.</small>}
      </p>
      <Attempt connection={connection} onNow={() => client.reconnectNow()} />
    </div>
  );
}

function reason(connection: Connection): string {
  return "reason" in connection ? connection.reason : "Connecting…";
}

function Attempt(props: { connection: Connection; onNow: () => void }): ReactElement {
  const { connection } = props;
  const seconds = useSecondsUntil(connection.state === "waiting" ? connection.retryAtMs : null);
  return (
    <span className="attempt">
      {seconds > 0 && <span className="countdown">Again in {seconds} s</span>}
      <button type="button" disabled={connection.state === "connecting"} onClick={props.onNow}>
        Reconnect now
      </button>
    </span>
  );
}

/** From a fall to the next time online: an attempt in between does not end it. */
function useTroubled({ state }: Connection): boolean {
  const [fell, setFell] = useState(false);
  const falls = state === "waiting" || state === "ended";
  useEffect(() => {
    if (falls) setFell(true);
    else if (state !== "connecting") setFell(false);
  }, [state, falls]);
  return falls || (fell && state === "connecting");
}

/** Counts down in whole seconds; 0 without a time. */
function useSecondsUntil(timeMs: number | null): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (timeMs === null) return undefined;
    setNow(Date.now());
    const ticking = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(ticking);
  }, [timeMs]);
  return timeMs === null ? 0 : Math.max(0, Math.ceil((timeMs - now) / 1000));
}
