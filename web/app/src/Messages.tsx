import type { MessageView, ThreadView } from "@safeshipper/client";
import { useMemo } from "react";
import type { ReactElement } from "react";
import { MessageGroup } from "./MessageGroup.tsx";
import { grouped, repliesOf } from "./grouping.ts";
import { day } from "./names.ts";
import { useSurroundings } from "./surroundings.ts";
import { useFollow } from "./useFollow.ts";

/** Messages that are loaded page by page: of a channel or a thread. */
type Paged = Pick<ThreadView, "messages" | "loading" | "loaded" | "hasOlder">;

interface MessagesProps {
  list: Paged;
  label: string;
  /** What stands above the first message of all. */
  begins: string;
  /** The same when there is none. */
  empty: string;
  /** The message that is being edited. */
  editing: string | null;
  fullNameOf: (id: string, said: string) => string;
  onOlder: () => void;
}

export function Messages(props: MessagesProps): ReactElement {
  const { list, fullNameOf } = props;
  const { messages } = list;
  const { me } = useSurroundings();
  const groups = useMemo(() => grouped(messages), [messages]);
  const byId = useMemo(() => sentById(messages), [messages]);
  const replies = useMemo(() => repliesOf(messages), [messages]);
  const follow = useFollow(messages, me);
  const now = new Date();
  return (
    <div className="scroll">
      <div
        className="messages"
        role="log"
        aria-label={props.label}
        aria-busy={list.loading}
        ref={follow.list}
        onScroll={follow.onScroll}
        tabIndex={0}
      >
        <Beginning list={list} begins={props.begins} empty={props.empty} onOlder={props.onOlder} />
        <ol>
          {groups.map((group) => (
            <MessageGroup
              key={group.key}
              group={group}
              mine={group.senderId === me}
              heading={group.beginsDay ? day(group.messages[0]?.createdAt ?? "", now) : null}
              parentOf={(message) => (message.replyTo === null ? undefined : byId.get(message.replyTo))}
              fullName={fullNameOf(group.senderId, group.senderName)}
              replies={replies}
              editing={props.editing}
            />
          ))}
        </ol>
      </div>
      {follow.behind && (
        <button type="button" className="newer primary" onClick={follow.toEnd}>
          New messages <span aria-hidden="true">↓</span>
        </button>
      )}
    </div>
  );
}

interface BeginningProps {
  list: Paged;
  begins: string;
  empty: string;
  onOlder: () => void;
}

/** What stands above the oldest message: a way to older ones, or that there are none. */
function Beginning(props: BeginningProps): ReactElement | null {
  const { hasOlder, loading, loaded, messages } = props.list;
  if (hasOlder) {
    // Not `disabled`, which would take the keyboard's focus away.
    return (
      <button type="button" className="older" aria-disabled={loading} onClick={() => !loading && props.onOlder()}>
        {loading ? "Loading…" : "Load older messages"}
      </button>
    );
  }
  if (!loaded) return <p className="splash">{loading ? "Loading…" : ""}</p>;
  if (messages.length === 0) return <p className="splash">{props.empty}</p>;
  return props.begins === "" ? null : <p className="begins">{props.begins}</p>;
}

function sentById(messages: readonly MessageView[]): ReadonlyMap<string, MessageView> {
  return new Map(messages.flatMap((message) => (message.id === null ? [] : [[message.id, message] as const])));
}
