import type { ChatClient, ChatSnapshot } from "@safeshipper/client";
import { createContext, useContext, useEffect, useSyncExternalStore } from "react";
import type { ReactElement, ReactNode } from "react";

/** What a component gets: how things stand, and whom to tell what to do. */
export interface Chat {
  readonly client: ChatClient;
  readonly snapshot: ChatSnapshot;
}

const ClientContext = createContext<ChatClient | null>(null);

/** Keeps `client` connected for as long as it is shown. */
export function ChatProvider(props: { client: ChatClient; children: ReactNode }): ReactElement {
  const { client, children } = props;
  useEffect(() => {
    client.start();
    return () => client.stop();
  }, [client]);
  return <ClientContext value={client}>{children}</ClientContext>;
}

/** Renders anew whenever something changed. Throws outside of a `ChatProvider`. */
export function useChat(): Chat {
  const client = useContext(ClientContext);
  if (client === null) throw new Error("useChat is used outside of a ChatProvider");
  const snapshot = useSyncExternalStore(client.subscribe, client.getSnapshot, client.getSnapshot);
  return { client, snapshot };
}
