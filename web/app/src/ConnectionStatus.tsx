import type { Connection } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { useEffect, useState } from "react";
import type { ReactElement } from "react";

/** The dot: green connected, amber on the way, red not connected. The words beside it say the same. */
export function ConnectionStatus(): ReactElement {
  const { client, snapshot } = useChat();
  const { connection } = snapshot;
  const seconds = useSecondsUntil(connection.state === "waiting" ? connection.retryAtMs : null);
  const stuck = connection.state === "waiting" || connection.state === "ended";
  return (
    <div className="connection" data-testid="connection" data-state={connection.state}>
      <span className="dot" aria-hidden="true" />
      <span className="words">
        <span role="status">{words(connection)}</span>
        {connection.state === "waiting" && <small>Trying again in {seconds} s</small>}
      </span>
      {stuck && (
        <button type="button" onClick={() => client.reconnectNow()}>
          Try now
        </button>
      )}
    </div>
  );
}

function words(connection: Connection): string {
  switch (connection.state) {
    case "online":
      return "Connected";
    case "connecting":
      return "Connecting…";
    case "waiting":
      return "Not connected";
    case "ended":
      return `Disconnected: ${connection.reason}`;
    case "stopped":
      return "Signed out";
  }
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
