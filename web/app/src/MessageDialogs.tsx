import type { ChannelView, MessageView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import type { ReactElement } from "react";
import { ConfirmDelete } from "./ConfirmDelete.tsx";
import { MessageMenu } from "./MessageMenu.tsx";
import { permissionsOf } from "./permissions.ts";
import type { Changing } from "./useChanging.ts";

interface MessageDialogsProps {
  channel: ChannelView;
  changing: Changing;
  fullNameOf: (id: string, said: string) => string;
}

/** The menu of a message and the question before it is deleted; both go when the message does. */
export function MessageDialogs(props: MessageDialogsProps): ReactElement {
  const { channel, changing } = props;
  const { me } = useChat().snapshot;
  const { menu, deleting } = changing;
  const inMenu = menu === null ? undefined : find(channel, menu.id);
  const toDelete = deleting === null ? undefined : find(channel, deleting.id);
  return (
    <>
      {menu !== null && inMenu !== undefined && (
        <MessageMenu
          key={`${menu.place} ${menu.id}`}
          message={inMenu}
          senderName={props.fullNameOf(inMenu.senderId, inMenu.senderName)}
          permissions={permissionsOf(inMenu, me, channel.role)}
          withThread={menu.place === "channel"}
          button={menu.button}
          onChoice={(choice) => changing.onChoice(menu, inMenu, choice)}
          onClose={changing.closeMenu}
        />
      )}
      {toDelete !== undefined && (
        <ConfirmDelete
          message={toDelete}
          onDelete={() => changing.onDelete(toDelete.id)}
          onClose={() => changing.onDelete(null)}
        />
      )}
    </>
  );
}

/** Only what is there can be changed. */
function find({ messages, thread }: ChannelView, id: string): MessageView | undefined {
  const found = messages.find((one) => one.id === id) ?? thread?.messages.find((one) => one.id === id);
  return found?.deletedAt === null ? found : undefined;
}
