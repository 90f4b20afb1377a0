/** The front door: ties the link, the conversation and the store together. */
import { Conversation } from "./conversation.ts";
import { decodeFrame } from "./frames.ts";
import { Link } from "./link.ts";
import { Store } from "./store.ts";
import { platformTimers } from "./timers.ts";
import { webSocketTransport } from "./transport.ts";
import type { ChatClientOptions, ChatSnapshot, MessageChange } from "./types.ts";

export class ChatClient {
  private readonly link: Link;
  private readonly conversation: Conversation;
  private readonly store = new Store();

  constructor(options: ChatClientOptions) {
    const { url, token, transport = webSocketTransport, storage = null } = options;
    const { now = Date.now, random = Math.random, timers = platformTimers } = options;
    const changed = (): void => this.changed();
    this.conversation = new Conversation({
      send: (frame) => this.link.send(frame),
      established: (heartbeatMs) => this.link.established(heartbeatMs),
      comeBackAfter: (delayMs) => this.link.comeBackAfter(delayMs),
      changed,
      storage,
      timers,
      now,
      random,
    });
    this.link = new Link(
      { url, token, transport, timers, now, random },
      {
        resumes: () => this.conversation.begin(),
        received: (text) => this.received(text),
        lost: () => this.conversation.lost(),
        changed,
      },
    );
  }

  /** Connects now and keeps connected. */
  start(): void {
    this.link.start();
  }

  /** Closes with 1000 and stays away; may start again with all that it knows. */
  stop(): void {
    this.link.stop();
  }

  /** Calls back after each change; returns what ends that. A property, so that it may be handed on by itself. */
  readonly subscribe = (listener: () => void): (() => void) => this.store.subscribe(listener);

  /** Returns the same object until something changed. */
  readonly getSnapshot = (): ChatSnapshot => this.store.getSnapshot();

  /** Shows a channel: it counts as read, and its newest page is loaded once. */
  openChannel(channelId: string): void {
    this.conversation.channels.open(channelId);
    this.changed();
  }

  /** Loads the page before the oldest message. */
  loadOlder(channelId: string): void {
    this.conversation.channels.loadOlder(channelId);
    this.changed();
  }

  /** Shows the message at once and keeps it until the server has it. */
  send(channelId: string, content: string, options: { replyTo?: string } = {}): void {
    const stripped = content.trim();
    if (stripped === "") return;
    this.conversation.send(channelId, stripped, options.replyTo ?? null);
    this.changed();
  }

  /** Changes what an own message says. */
  edit(channelId: string, messageId: string, content: string): void {
    const stripped = content.trim();
    if (stripped !== "") this.change(channelId, messageId, { kind: "edit", content: stripped });
  }

  /** Deletes a message for everybody, for ever. */
  delete(channelId: string, messageId: string): void {
    this.change(channelId, messageId, { kind: "delete" });
  }

  pin(channelId: string, messageId: string, pinned: boolean): void {
    this.change(channelId, messageId, { kind: "pin", pinned });
  }

  /** Adds a reaction, or removes it when it is there. */
  react(channelId: string, messageId: string, reaction: string): void {
    const stripped = reaction.trim();
    if (stripped !== "") this.change(channelId, messageId, { kind: "react", reaction: stripped });
  }

  /** Shows the thread that a message began, in place of another one. */
  openThread(channelId: string, rootId: string): void {
    this.conversation.channels.openThread(channelId, rootId);
    this.changed();
  }

  closeThread(channelId: string): void {
    this.conversation.channels.closeThread(channelId);
    this.changed();
  }

  /** Loads the page before the oldest message of the open thread. */
  loadOlderReplies(channelId: string): void {
    this.conversation.channels.loadOlderReplies(channelId);
    this.changed();
  }

  /** The notice was read. */
  dismissNotice(): void {
    this.conversation.notice = null;
    this.changed();
  }

  /** Sends a failed message again, behind those that wait. */
  resend(clientMsgId: string): void {
    this.conversation.delivery.resend(clientMsgId);
    this.changed();
  }

  /** Gives up a failed message. */
  discard(clientMsgId: string): void {
    this.conversation.outbox.discard(clientMsgId);
    this.changed();
  }

  /** Tells the others; may be called at each key stroke. */
  typing(channelId: string, isTyping: boolean): void {
    if (this.link.connection.state === "online") this.conversation.typing(channelId, isTyping);
  }

  /** Skips the waiting time; also tries again after an end, but not after `stop`. */
  reconnectNow(): void {
    if (this.link.connection.state !== "stopped") this.link.start();
  }

  private change(channelId: string, messageId: string, change: MessageChange): void {
    this.conversation.change(channelId, messageId, change);
    this.changed();
  }

  private received(text: string): void {
    const decoded = decodeFrame(text);
    if (decoded.kind === "unknown") return;
    if (decoded.kind === "frame") this.conversation.onFrame(decoded.frame);
    else this.conversation.notice = `The server sent something unreadable (${decoded.what})`;
    this.changed();
  }

  private changed(): void {
    const { channels, outbox, typingSeen, notice } = this.conversation;
    this.store.update({
      connection: this.link.connection,
      me: channels.me,
      notice,
      channels: channels.all(),
      pending: (channelId) => outbox.ofChannel(channelId),
      typing: (channelId) => typingSeen.list(channelId),
    });
  }
}
