import type { ChannelView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { useEffect, useState } from "react";
import type { ReactElement } from "react";
import { Conversation } from "./Conversation.tsx";
import { Notice } from "./Notice.tsx";
import { Sidebar } from "./Sidebar.tsx";
import type { Person } from "./people.ts";

/** What a narrow screen shows; a wide one shows both. */
type Pane = "channels" | "conversation";

export function Chat(props: { person: Person; people: readonly Person[] }): ReactElement {
  const { client, snapshot } = useChat();
  const [chosen, setChosen] = useState<string | null>(null);
  const [pane, setPane] = useState<Pane>("conversation");
  const channel = shown(snapshot.channels, chosen);
  const openId = channel?.id ?? null;

  useEffect(() => {
    if (openId !== null) client.openChannel(openId);
  }, [client, openId]);
  useReconnectOnReturn();
  useAskBeforeClosing(snapshot.channels);
  const unread = snapshot.channels.reduce((sum, one) => sum + one.unread, 0);
  useEffect(() => {
    document.title = `${unread > 0 ? `(${unread}) ` : ""}SafeShipper chat`;
  }, [unread]);

  const names = new Map(props.people.map((person) => [person.id, person.name]));
  return (
    <div className="chat" data-pane={pane}>
      <Sidebar
        person={props.person}
        channels={snapshot.channels}
        open={openId}
        onOpen={(id) => {
          setChosen(id);
          setPane("conversation");
        }}
      />
      {channel === undefined ? (
        <main className="conversation empty">
          <p className="splash">{snapshot.connection.state === "online" ? "You have no channels yet." : "Connecting…"}</p>
        </main>
      ) : (
        <Conversation key={channel.id} channel={channel} names={names} onBack={() => setPane("channels")} />
      )}
      <Notice text={snapshot.notice} />
    </div>
  );
}

/** The chosen channel, else the first one that is not for emergencies. */
function shown(channels: readonly ChannelView[], chosen: string | null): ChannelView | undefined {
  const found = channels.find((channel) => channel.id === chosen);
  return found ?? channels.find((channel) => channel.type !== "EMERGENCY") ?? channels[0];
}

/** Somebody who comes back to the page, or whose network does, does not wait for a timer. */
function useReconnectOnReturn(): void {
  const { client, snapshot } = useChat();
  const waiting = snapshot.connection.state === "waiting";
  useEffect(() => {
    if (!waiting) return undefined;
    const again = (): void => {
      if (document.visibilityState === "visible") client.reconnectNow();
    };
    window.addEventListener("online", again);
    document.addEventListener("visibilitychange", again);
    return () => {
      window.removeEventListener("online", again);
      document.removeEventListener("visibilitychange", again);
    };
  }, [client, waiting]);
}

function useAskBeforeClosing(channels: readonly ChannelView[]): void {
  const unsent = channels.some((channel) => channel.messages.some((message) => message.status !== "sent"));
  useEffect(() => {
    if (!unsent) return undefined;
    const ask = (event: BeforeUnloadEvent): void => event.preventDefault();
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [unsent]);
}
