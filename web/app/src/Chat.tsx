import type { ChannelView, Connection, MessageView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { useEffect, useMemo, useRef, useState } from "react";
import type { ReactElement, RefObject } from "react";
import { ConnectionStatus } from "./ConnectionStatus.tsx";
import { Conversation } from "./Conversation.tsx";
import { Notice } from "./Notice.tsx";
import { Sidebar } from "./Sidebar.tsx";
import { Trouble } from "./Trouble.tsx";
import { listening, useNarrow } from "./browser.ts";
import type { Draft } from "./Composer.tsx";
import type { Person } from "./people.ts";

/** What a narrow screen shows; a wide one shows both. */
type Pane = "channels" | "conversation";

export function Chat(props: { person: Person; people: readonly Person[] }): ReactElement {
  const { client, snapshot } = useChat();
  const [chosen, setChosen] = useState<string | null>(null);
  const [pane, setPane] = useState<Pane>("conversation");
  const drafts = useRef(new Map<string, Draft>());
  const channel = shown(snapshot.channels, chosen);
  const openId = channel?.id ?? null;

  useEffect(() => {
    if (openId !== null) client.openChannel(openId);
  }, [client, openId]);
  useReconnectOnReturn();
  useAskBeforeClosing(snapshot.channels);
  useTitle(snapshot.channels);
  const narrow = useNarrow();
  const page = useFocusOnPane(narrow ? pane : null);

  const names = useMemo(() => new Map(props.people.map((person) => [person.id, person.name])), [props.people]);
  const open = (id: string): void => {
    setChosen(id);
    setPane("conversation");
  };
  return (
    <div className="chat" data-pane={pane} ref={page}>
      <Trouble />
      <Sidebar
        person={props.person}
        channels={snapshot.channels}
        open={openId}
        onOpen={open}
        withStatus={narrow && pane === "channels"}
      />
      {channel === undefined ? (
        <NoChannel connection={snapshot.connection} />
      ) : (
        <Conversation
          key={channel.id}
          channel={channel}
          names={names}
          drafts={drafts.current}
          withStatus={!narrow || pane === "conversation"}
          onBack={() => setPane("channels")}
        />
      )}
      <Notice text={snapshot.notice} onDismiss={() => client.dismissNotice()} />
    </div>
  );
}

function NoChannel(props: { connection: Connection }): ReactElement {
  const { state } = props.connection;
  return (
    <main className="conversation">
      <header className="title">
        <h1>SafeShipper chat</h1>
        <ConnectionStatus />
      </header>
      <p className="splash">{state === "online" ? "You have no channels yet." : "Your channels show when connected."}</p>
    </main>
  );
}

/** The chosen channel, else the first one that is not for emergencies. */
function shown(channels: readonly ChannelView[], chosen: string | null): ChannelView | undefined {
  const found = channels.find((channel) => channel.id === chosen);
  return found ?? channels.find((channel) => channel.type !== "EMERGENCY") ?? channels[0];
}

function useTitle(channels: readonly ChannelView[]): void {
  const unread = channels.reduce((sum, one) => sum + one.unread, 0);
  useEffect(() => {
    document.title = `${unread > 0 ? `(${unread}) ` : ""}SafeShipper chat`;
  }, [unread]);
}

/** The button that was pressed is gone with its pane, so the keyboard goes on in the pane that came. */
function useFocusOnPane(pane: Pane | null): RefObject<HTMLDivElement | null> {
  const page = useRef<HTMLDivElement>(null);
  const before = useRef(pane);
  useEffect(() => {
    const changed = pane !== null && before.current !== null && pane !== before.current;
    before.current = pane;
    const target = pane === "channels" ? '.channel[aria-current="page"]' : ".title h1";
    if (changed) page.current?.querySelector<HTMLElement>(target)?.focus();
  }, [pane]);
  return page;
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
    const endings = [listening(window, ["online"], again), listening(document, ["visibilitychange"], again)];
    return () => endings.forEach((end) => end());
  }, [client, waiting]);
}

/** They would wait until the page is opened again. */
function useAskBeforeClosing(channels: readonly ChannelView[]): void {
  const isUnsent = ({ status, asked }: MessageView): boolean => status === "pending" || asked.length > 0;
  const unsent = channels.some((channel) => channel.messages.some(isUnsent));
  useEffect(() => {
    if (!unsent) return undefined;
    const ask = (event: BeforeUnloadEvent): void => event.preventDefault();
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [unsent]);
}
