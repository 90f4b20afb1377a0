/**
 * What a program that uses the client sees: options, snapshots and the interfaces to the world outside.
 */

/** How the client starts; only `url` and `token` are needed in a browser. */
export interface ChatClientOptions {
  /** `ws(s)://host/ws/chat/`. */
  url: string;
  /** Called before each connect, so that a token is never older than the connection. */
  token: () => Promise<string>;
  /** Default: the browser's WebSocket. */
  transport?: TransportFactory;
  /** Where unsent messages survive a reload; default: nowhere. */
  storage?: OutboxStorage;
  /** In [0, 1); default `Math.random`. */
  random?: () => number;
  /** Milliseconds since 1970; default `Date.now`. */
  now?: () => number;
  /** Default: the platform's timers. */
  timers?: Timers;
}

/** Everything that a page shows; the same object until something changed. */
export interface ChatSnapshot {
  readonly connection: Connection;
  /** The user's id, once the server named it. */
  readonly me: string | null;
  /** By name. */
  readonly channels: readonly ChannelView[];
  /** The last fault that a person should read. */
  readonly notice: string | null;
}

export type Connection =
  | { readonly state: "connecting" }
  | { readonly state: "online" }
  /** Comes back by itself. */
  | { readonly state: "waiting"; readonly retryAtMs: number; readonly reason: string }
  /** Does not come back by itself. */
  | { readonly state: "ended"; readonly code: number; readonly reason: string }
  | { readonly state: "stopped" };

/** A channel as a page shows it; the same object until something in it changed. */
export interface ChannelView {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly role: string;
  /** Ascending by seq, then the pending ones in the order of sending. */
  readonly messages: readonly MessageView[];
  readonly loading: boolean;
  readonly loaded: boolean;
  readonly hasOlder: boolean;
  /** User ids, without the own one. */
  readonly typing: readonly string[];
  /** Arrived while another channel was open. */
  readonly unread: number;
  /** Names by user id, from the senders seen. */
  readonly members: ReadonlyMap<string, string>;
  /** The thread that is open beside the channel. */
  readonly thread: ThreadView | null;
}

/** A thread as a page shows it; the same object until something in it changed. */
export interface ThreadView {
  /** The message that began it. */
  readonly rootId: string;
  /** As in a channel: the first message, its replies, then the pending ones. */
  readonly messages: readonly MessageView[];
  readonly loading: boolean;
  readonly loaded: boolean;
  readonly hasOlder: boolean;
}

/** A message as a page shows it; the same object until something in it changed. */
export interface MessageView {
  /** Stable from pending to sent: the `client_msg_id` if known, else the id. */
  readonly key: string;
  /** Null while pending. */
  readonly id: string | null;
  /** Null while pending. */
  readonly seq: number | null;
  readonly senderId: string;
  readonly senderName: string;
  readonly content: string;
  readonly createdAt: string;
  readonly messageType: string;
  readonly priority: string;
  readonly isEmergency: boolean;
  readonly replyTo: string | null;
  /** Of a reply: the message that began the thread. */
  readonly threadId: string | null;
  readonly mentionedUsers: readonly string[];
  readonly editedAt: string | null;
  /** A deleted message is a tombstone: its content is empty, and it never changes again. */
  readonly deletedAt: string | null;
  readonly isPinned: boolean;
  /** In the order of their first appearance. */
  readonly reactions: readonly ReactionView[];
  /** What the user asked to become of it and the channel has not shown yet, in that order. */
  readonly asked: readonly MessageChange[];
  readonly status: "sent" | "pending" | "failed";
  readonly error: string | null;
}

export interface ReactionView {
  /** Mostly an emoji. */
  readonly reaction: string;
  readonly count: number;
  /** Ids of those who did first; not all when they are many. */
  readonly users: readonly string[];
  /** Whether the user is one of them. */
  readonly mine: boolean;
}

/** What a user asks to become of a message. A reaction is added, or removed when it is there. */
export type MessageChange =
  | { readonly kind: "edit"; readonly content: string }
  | { readonly kind: "delete" }
  | { readonly kind: "pin"; readonly pinned: boolean }
  | { readonly kind: "react"; readonly reaction: string };

/** Opens one socket and reports what happens to it. */
export type TransportFactory = (request: TransportRequest, events: TransportEvents) => Transport;

export interface TransportRequest {
  readonly url: string;
  readonly protocols: readonly string[];
}

/** What a transport reports; after `closed` it reports nothing any more. */
export interface TransportEvents {
  opened(): void;
  /** A text frame, as it came. */
  received(text: string): void;
  closed(code: number, reason: string): void;
}

export interface Transport {
  send(text: string): void;
  /** Closes from this side; `closed` may still be reported and is then ignored. */
  close(code: number, reason: string): void;
}

/**
 * Keeps one text, for one client at a time: of two pages that share one, the later save wins, and after a reload the
 * other page's unsent messages are gone. May throw: the client then goes on without it.
 */
export interface OutboxStorage {
  load(): string | null;
  save(text: string): void;
}

/** The platform's timers, replaceable in tests. */
export interface Timers {
  /** Calls back once after `delayMs`; returns a function that cancels. */
  after(delayMs: number, callback: () => void): () => void;
}
