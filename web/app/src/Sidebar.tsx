import type { ChannelView } from "@safeshipper/client";
import type { ReactElement } from "react";
import { Avatar } from "./Avatar.tsx";
import { ConnectionStatus } from "./ConnectionStatus.tsx";
import { roleName } from "./names.ts";
import type { Person } from "./people.ts";

interface SidebarProps {
  person: Person;
  channels: readonly ChannelView[];
  open: string | null;
  onOpen: (channelId: string) => void;
  /** A narrow screen shows no other header. */
  withStatus: boolean;
}

export function Sidebar(props: SidebarProps): ReactElement {
  const { person } = props;
  return (
    <aside className="sidebar">
      <header className="brand">
        <img src="icon.svg" alt="" width="24" height="24" />
        <strong>SafeShipper</strong>
        {props.withStatus && <ConnectionStatus />}
      </header>
      <nav aria-label="Channels">
        <h2>Channels</h2>
        <ul>
          {props.channels.map((channel) => (
            <li key={channel.id}>
              <ChannelButton channel={channel} open={channel.id === props.open} onOpen={props.onOpen} />
            </li>
          ))}
        </ul>
      </nav>
      <footer className="me">
        <Avatar id={person.id} name={person.name} />
        <span className="who">
          <strong>{person.name}</strong>
          <small>{roleName(person.role)}</small>
        </span>
        <a href="?" title="Be somebody else">
          Switch
        </a>
      </footer>
    </aside>
  );
}

interface ChannelButtonProps {
  channel: ChannelView;
  open: boolean;
  onOpen: (channelId: string) => void;
}

function ChannelButton(props: ChannelButtonProps): ReactElement {
  const { channel, open } = props;
  const emergency = channel.type === "EMERGENCY";
  return (
    <button
      type="button"
      className="channel"
      data-emergency={emergency}
      aria-current={open ? "page" : undefined}
      onClick={() => props.onOpen(channel.id)}
    >
      <span className="sign" aria-hidden="true">
        {emergency ? "!" : "#"}
      </span>
      <span className="label">{channel.name}</span>
      {channel.unread > 0 && (
        <span className="badge">
          {channel.unread > 99 ? "99+" : channel.unread}
          <span className="hidden"> unread</span>
        </span>
      )}
    </button>
  );
}
