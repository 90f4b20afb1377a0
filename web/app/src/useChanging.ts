/** What a person is about to change: which message's menu is open, which one is edited, which one may be deleted. */
import type { ChannelView, MessageView } from "@safeshipper/client";
import { useChat } from "@safeshipper/react";
import { useCallback, useState } from "react";
import type { Choice } from "./MessageMenu.tsx";
import { focusMessage } from "./surroundings.ts";
import type { Place, Surroundings } from "./surroundings.ts";

/** A message where it stands; what it says now is looked up. */
interface Target {
  readonly id: string;
  readonly place: Place;
}

export interface Menu extends Target {
  readonly button: HTMLElement;
}

export interface Changing extends Pick<Surroundings, "onMenu" | "onEdited" | "onThread"> {
  readonly menu: Menu | null;
  readonly deleting: Target | null;
  readonly editingIn: (place: Place) => string | null;
  readonly onChoice: (menu: Menu, message: MessageView, choice: Choice) => void;
  /** Null: it stays. */
  readonly onDelete: (messageId: string | null) => void;
  readonly closeMenu: () => void;
}

export function useChanging({ id: channelId }: ChannelView): Changing {
  const { client } = useChat();
  const [menu, setMenu] = useState<Menu | null>(null);
  const [editing, setEditing] = useState<Target | null>(null);
  const [deleting, setDeleting] = useState<Target | null>(null);

  const onMenu = useCallback<Surroundings["onMenu"]>(({ id }, button, place) => {
    if (id !== null) setMenu({ id, place, button });
  }, []);
  const onThread = useCallback<Surroundings["onThread"]>(
    ({ id, threadId }) => {
      if (id !== null) client.openThread(channelId, threadId ?? id);
    },
    [client, channelId],
  );
  const onEdited = useCallback<Surroundings["onEdited"]>(
    ({ id }, content, place) => {
      setEditing(null);
      if (id === null) return;
      if (content !== null) client.edit(channelId, id, content);
      // When the editor has made room for the message again.
      requestAnimationFrame(() => focusMessage(place, id));
    },
    [client, channelId],
  );
  const onChoice: Changing["onChoice"] = ({ id, place, button }, message, choice) => {
    setMenu(null);
    switch (choice.do) {
      case "thread":
        return onThread(message);
      case "edit":
        return setEditing({ id, place });
      case "delete":
        return setDeleting({ id, place });
      case "pin":
        client.pin(channelId, id, choice.pinned);
        return button.focus();
      case "react":
        client.react(channelId, id, choice.reaction);
        return button.focus();
    }
  };
  const onDelete: Changing["onDelete"] = (messageId) => {
    if (messageId !== null) client.delete(channelId, messageId);
    setDeleting(null);
    // While the question stands, nothing else can have the keyboard.
    if (deleting !== null) requestAnimationFrame(() => focusMessage(deleting.place, deleting.id));
  };
  const editingIn = (place: Place): string | null => (editing?.place === place ? editing.id : null);
  const closeMenu = (): void => setMenu(null);
  return { menu, deleting, editingIn, onMenu, onThread, onEdited, onChoice, onDelete, closeMenu };
}
