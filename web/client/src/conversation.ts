/**
 * What is said on a connection: each frame goes to the part whose business it is. It does not know the socket.
 */
import { Channels } from "./channels.ts";
import { Delivery, faultOf } from "./delivery.ts";
import type { ChannelEntry, ClientFrame, Frame, ServerFrame } from "./frames.ts";
import { newClientMsgId } from "./ids.ts";
import { placedFromAck } from "./message.ts";
import { isAskedChange, Outbox, OUTBOX_ENTRIES_MAX, type OutboxEntry } from "./outbox.ts";
import { refusalOf } from "./refusals.ts";
import { Alarm } from "./timers.ts";
import { TypingSaid, TypingSeen } from "./typing.ts";
import type { MessageChange, OutboxStorage, Timers } from "./types.ts";

const NOT_A_MEMBER = "You are not a member of this channel";

export interface ConversationPorts {
  readonly send: (frame: ClientFrame) => void;
  /** The server accepted the connection. */
  readonly established: (heartbeatMs: number) => void;
  readonly comeBackAfter: (delayMs: number) => void;
  /** Something changed without a frame: time went by. */
  readonly changed: () => void;
  readonly storage: OutboxStorage | null;
  readonly timers: Timers;
  readonly now: () => number;
  readonly random: () => number;
}

export class Conversation {
  readonly channels: Channels;
  readonly outbox: Outbox;
  readonly delivery: Delivery;
  readonly typingSeen = new TypingSeen();
  /** The last fault that a person should read. */
  notice: string | null = null;
  private readonly typingSaid = new TypingSaid();
  private readonly typingAlarm: Alarm;
  /** Channels named so far by a list that comes in several frames. */
  private listed: ChannelEntry[] = [];
  /** Whether the server was told that this connection resumes. */
  private resumes = false;

  constructor(private readonly ports: ConversationPorts) {
    this.channels = new Channels(ports);
    this.outbox = new Outbox(ports.storage);
    const isChannel = (id: string): boolean => this.channels.get(id) !== null;
    this.delivery = new Delivery(this.outbox, { ...ports, isChannel });
    this.typingAlarm = new Alarm(ports.timers);
  }

  /** Returns whether the connection that begins is to be asked for with `resume`. */
  begin(): boolean {
    this.resumes = this.channels.holdsPositions();
    return this.resumes;
  }

  /** The connection is gone, and with it whatever is true only while it stands. */
  lost(): void {
    this.channels.offline();
    this.delivery.offline();
    this.typingSeen.clear();
    this.typingSaid.clear();
    this.typingAlarm.cancel();
  }

  send(channelId: string, content: string, replyTo: string | null): void {
    const threadId = replyTo === null ? null : this.channels.threadOf(channelId, replyTo);
    this.take({ ...this.newEntry(channelId), content, replyTo, threadId, error: faultOf(content) });
  }

  change(channelId: string, messageId: string, change: MessageChange): void {
    const fault = change.kind === "edit" ? faultOf(change.content) : null;
    if (fault === null) this.take({ ...this.newEntry(channelId), messageId, change, error: null });
    else this.notice = fault;
  }

  typing(channelId: string, isTyping: boolean): void {
    if (this.channels.get(channelId) === null) return;
    const type = this.typingSaid.due(channelId, isTyping, this.ports.now());
    if (type !== null) this.ports.send({ type, channel_id: channelId });
  }

  onFrame(frame: ServerFrame): void {
    switch (frame.type) {
      case "connection_established":
        return this.onEstablished(frame);
      case "channel_list":
        return this.onListed(frame.channels, frame.more === true);
      case "chat_message":
        this.onTyping(frame.channel_id, frame.message.sender.id, false);
        this.channels.onEvent(frame);
        return this.settleShown(frame.channel_id);
      case "channel_updated":
      case "member_added":
      case "member_removed":
      case "message_updated":
      case "message_deleted":
      case "reaction_update":
      case "unknown_event":
        return this.channels.onEvent(frame);
      case "resumed":
        this.channels.onResumed(frame);
        return this.settleShown(frame.channel_id);
      case "resume_done":
        return this.channels.onResumeDone(frame.ref ?? "");
      case "history":
        return this.onHistory(frame);
      case "ack":
        return this.onAck(frame);
      case "error":
        return this.onError(frame);
      case "channel_joined":
        this.channels.onJoined(frame);
        return this.delivery.pump(frame.channel_id);
      case "channel_left":
        this.channels.onLeft(frame.channel_id);
        return this.outbox.failChannel(frame.channel_id, NOT_A_MEMBER);
      case "typing_indicator":
        return this.onTyping(frame.channel_id, frame.user_id, frame.is_typing);
      case "lagging":
        return this.channels.onDoubt(frame.channels.map(({ channel_id }) => channel_id));
      case "resync":
        return this.channels.onDoubt(frame.channel_ids);
      case "reconnect":
        return this.ports.comeBackAfter(frame.after_ms);
      case "pong":
        return;
    }
  }

  private onEstablished(frame: Frame<"connection_established">): void {
    const { me } = this.channels;
    if (me !== null && me !== frame.user_id) {
      this.channels.forgetAll();
      for (const id of this.outbox.channelIds()) this.outbox.failChannel(id, "Written by another user");
    }
    this.channels.me = frame.user_id;
    this.notice = null;
    this.listed = [];
    this.onListed(frame.channels, frame.more_channels === true);
    this.ports.established(frame.heartbeat_ms);
  }

  private onListed(entries: readonly ChannelEntry[], more: boolean): void {
    this.listed.push(...entries);
    if (more) return;
    this.channels.online(this.listed, this.resumes);
    const gone = this.outbox.channelIds().filter((id) => this.channels.get(id) === null);
    for (const id of gone) this.outbox.failChannel(id, NOT_A_MEMBER);
    this.delivery.online();
    this.listed = [];
  }

  private onHistory(frame: Frame<"history">): void {
    const malformed = this.channels.onHistory(frame);
    if (malformed > 0) this.notice = "Some messages of the history are unreadable";
    this.settleShown(frame.channel_id);
  }

  private onAck(frame: Frame<"ack">): void {
    const entry = this.delivery.settle(frame.client_msg_id ?? frame.ref ?? "");
    if (entry === null) return;
    if (isAskedChange(entry)) {
      const { epoch, seq } = frame;
      this.channels.onAckedChange(entry.channelId, { epoch, seq, asked: entry });
      return;
    }
    const me = this.channels.me ?? "";
    const name = this.channels.get(entry.channelId)?.members.get(me) ?? me;
    this.channels.onAcked(entry.channelId, placedFromAck(frame, entry, me, name));
  }

  private onError(frame: Frame<"error">): void {
    const entry = this.delivery.refused(frame);
    if (entry === null) {
      if (!this.channels.onRefused(frame)) this.notice = frame.message;
    } else if (isAskedChange(entry) && this.outbox.find(entry.clientMsgId) === null) {
      this.notice = refusalOf(entry.change, frame);
    }
  }

  private newEntry(channelId: string): { clientMsgId: string; channelId: string; createdAt: string } {
    const { now, random } = this.ports;
    return { clientMsgId: newClientMsgId(now(), random), channelId, createdAt: new Date(now()).toISOString() };
  }

  private take(entry: OutboxEntry): void {
    if (this.outbox.isFull()) {
      this.notice = `${OUTBOX_ENTRIES_MAX} messages are unsent; this one was not taken`;
      return;
    }
    this.outbox.add(entry);
    this.delivery.pump(entry.channelId);
  }

  /** The live copy of an own message may come before its `ack`, or instead of it after a reconnect. */
  private settleShown(channelId: string): void {
    const waiting = this.outbox.ofChannel(channelId);
    if (waiting.length === 0) return;
    const shown = new Set(this.channels.get(channelId)?.messages.map(({ view }) => view.key));
    for (const { clientMsgId } of waiting) if (shown.has(clientMsgId)) this.delivery.settle(clientMsgId);
  }

  private onTyping(channelId: string, userId: string, isTyping: boolean): void {
    if (userId === this.channels.me) return;
    this.typingSeen.set(channelId, userId, isTyping, this.ports.now());
    this.watchTyping();
  }

  private watchTyping(): void {
    const nextMs = this.typingSeen.nextExpiryMs();
    if (nextMs === null) return this.typingAlarm.cancel();
    this.typingAlarm.set(Math.max(0, nextMs - this.ports.now()), () => {
      this.typingSeen.expire(this.ports.now());
      this.watchTyping();
      this.ports.changed();
    });
  }
}
