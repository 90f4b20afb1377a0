/** The one thing that a page subscribes to: immutable snapshots in which whatever did not change is the same object. */
import type { ChannelState } from "./channel.ts";
import { askedView, isSameView, pendingView, type Placed } from "./message.ts";
import { isAskedChange, type OutboxEntry } from "./outbox.ts";
import type { ChannelView, ChatSnapshot, Connection, MessageChange, MessageView, ThreadView } from "./types.ts";

/** All that a snapshot is made of. */
export interface Sources {
  readonly connection: Connection;
  readonly me: string | null;
  readonly notice: string | null;
  readonly channels: readonly ChannelState[];
  readonly pending: (channelId: string) => readonly OutboxEntry[];
  readonly typing: (channelId: string) => readonly string[];
}

/** What a channel's view was made of, to tell whether it is still true. */
interface Made {
  readonly state: ChannelState;
  readonly pending: readonly OutboxEntry[];
  readonly typing: readonly string[];
  readonly me: string | null;
  readonly view: ChannelView;
}

export class Store {
  private snapshot: ChatSnapshot = { connection: { state: "stopped" }, me: null, channels: [], notice: null };
  private made: ReadonlyMap<string, Made> = new Map();
  private readonly listeners = new Set<() => void>();

  getSnapshot(): ChatSnapshot {
    return this.snapshot;
  }

  subscribe(listener: () => void): () => void {
    // A wrapper, so that the same function subscribed twice is two subscriptions.
    const call = (): void => listener();
    this.listeners.add(call);
    return () => this.listeners.delete(call);
  }

  /** Makes the next snapshot; tells the listeners if something is different. */
  update(sources: Sources): void {
    const { connection, me, notice } = sources;
    const channels = this.channels(sources);
    const old = this.snapshot;
    const same =
      old.connection === connection && old.me === me && old.notice === notice && old.channels === channels;
    if (same) return;
    this.snapshot = { connection, me, notice, channels };
    for (const listener of [...this.listeners]) listener();
  }

  private channels(sources: Sources): readonly ChannelView[] {
    const made = new Map(sources.channels.map((state) => [state.id, this.make(state, sources)]));
    const unchanged =
      made.size === this.made.size && [...made].every(([id, { view }]) => this.made.get(id)?.view === view);
    this.made = made;
    return unchanged ? this.snapshot.channels : [...made.values()].map(({ view }) => view).sort(byName);
  }

  private make(state: ChannelState, { me, pending, typing }: Sources): Made {
    const parts = { state, pending: pending(state.id), typing: typing(state.id), me };
    const old = this.made.get(state.id);
    const same =
      old?.state === state && old.pending === parts.pending && old.typing === parts.typing && old.me === me;
    return same ? old : { ...parts, view: view(parts, old) };
  }
}

const collator = new Intl.Collator(undefined, { numeric: true });

function byName(a: ChannelView, b: ChannelView): number {
  return collator.compare(a.name, b.name) || collator.compare(a.id, b.id);
}

function view({ state, pending, typing, me }: Omit<Made, "view">, old: Made | undefined): ChannelView {
  const { id, name, type, role, loading, loaded, hasOlder, unread, members } = state;
  const list = new Lists(state, pending, me);
  const messages = list.made(state.messages, list.unsent, old?.view.messages ?? []);
  const thread = threadView(state, list, old);
  return { id, name, type, role, messages, loading, loaded, hasOlder, typing, unread, members, thread };
}

function threadView({ thread }: ChannelState, list: Lists, old: Made | undefined): ThreadView | null {
  if (thread === null) return null;
  const { rootId, loading, loaded, hasOlder } = thread;
  const before = old?.view.thread?.rootId === rootId ? old.view.thread : null;
  const unsent = list.unsent.filter(({ threadId }) => threadId === rootId);
  const messages = list.made(thread.messages, unsent, before?.messages ?? []);
  const same = old?.state.thread === thread && before?.messages === messages;
  return same ? before : { rootId, messages, loading, loaded, hasOlder };
}

/** Lists of messages with what is under way about them. */
class Lists {
  readonly unsent: readonly MessageView[];
  private readonly asked: ReadonlyMap<string, readonly MessageChange[]>;

  constructor({ members, acked }: ChannelState, pending: readonly OutboxEntry[], me: string | null) {
    const senderId = me ?? "";
    const senderName = members.get(senderId) ?? senderId;
    this.unsent = pending.flatMap((entry) => (isAskedChange(entry) ? [] : pendingView(entry, senderId, senderName)));
    const changes = [...acked.map((change) => change.asked), ...pending.filter(isAskedChange)];
    const asked = new Map<string, MessageChange[]>();
    for (const { messageId, change } of changes) asked.set(messageId, [...(asked.get(messageId) ?? []), change]);
    this.asked = asked;
  }

  /** The list is the old one when nothing in it changed, and so is each message. */
  made(
    messages: readonly Placed[],
    unsent: readonly MessageView[],
    old: readonly MessageView[],
  ): readonly MessageView[] {
    const known = new Map(old.filter(isUnderWay).map((message) => [message.key, message]));
    const kept = (made: MessageView): MessageView => {
      const before = isUnderWay(made) ? known.get(made.key) : undefined;
      return before !== undefined && isSameView(before, made) ? before : made;
    };
    const sent = messages.map(({ id, view: message }) => kept(askedView(message, this.asked.get(id))));
    const list = [...sent, ...unsent.map(kept)];
    const same = list.length === old.length && list.every((message, index) => message === old[index]);
    return same ? old : list;
  }
}

/** Whether the view is made anew each time. */
function isUnderWay({ id, asked }: MessageView): boolean {
  return id === null || asked.length > 0;
}
