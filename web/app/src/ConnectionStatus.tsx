import type { Connection } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import type { ReactElement } from "react";
import { useNetwork } from "./browser.ts";

/** The dot: green connected, amber on the way, red not connected. The words say more. */
export function ConnectionStatus(): ReactElement {
  const { connection } = useChat().snapshot;
  const offline = !useNetwork() && connection.state !== "online";
  return (
    <div className="connection" data-testid="connection" data-state={offline ? "offline" : connection.state}>
      <span className="dot" aria-hidden="true" />
      <span role="status">{offline ? "No network" : words(connection)}</span>
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
      return "Reconnecting";
    case "ended":
      return "Disconnected";
    case "stopped":
      return "Signed out";
  }
}
