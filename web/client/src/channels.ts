/** All channels of the user: takes frames about them, and asks the server for what is missing. */
import { type AckedChange, broughtUpToDate, type ChannelState, newChannel, type Taken } from "./channel.ts";
import { takeAcked, takeAckedChange, takeHistory, takeLive, takeResumed, takeThread } from "./channel.ts";
import { type ChannelEntry, decodeHistory, type EventFrame, type Frame } from "./frames.ts";
import { type Placed, placed } from "./message.ts";
import { newThread } from "./pages.ts";
import { type RequestPorts, Requests } from "./requests.ts";

export class Channels {
  me: string | null = null;
  private openId: string | null = null;
  private readonly states = new Map<string, ChannelState>();
  private readonly requests: Requests;

  constructor(ports: RequestPorts) {
    this.requests = new Requests(ports, (kind, channelId) => {
      const state = this.get(channelId);
      if (state !== null && kind === "resume") this.requests.resume([state]);
      if (state?.loading === true && kind === "history") this.requests.history(state);
      if (state?.thread?.loading === true && kind === "thread") this.requests.thread(state);
    });
  }

  get(channelId: string): ChannelState | null {
    return this.states.get(channelId) ?? null;
  }

  all(): readonly ChannelState[] {
    return [...this.states.values()];
  }

  /** Whether there are positions to resume from. */
  holdsPositions(): boolean {
    return this.states.size > 0;
  }

  /** The server named all channels of the user; `resumes` says that it waits for their positions. */
  online(entries: readonly ChannelEntry[], resumes: boolean): void {
    this.requests.online();
    const listed = new Set(entries.map((entry) => entry.channel_id));
    for (const id of this.states.keys()) if (!listed.has(id)) this.states.delete(id);
    const known = this.all();
    for (const entry of entries) this.describe(entry);
    if (resumes) this.requests.resume(known, "last");
    for (const state of this.states.values()) this.askAgain(state);
    if (this.openId !== null) this.open(this.openId);
  }

  offline(): void {
    this.requests.offline();
  }

  /** Another user signed in: nothing here is his. */
  forgetAll(): void {
    this.states.clear();
  }

  /** The channel on the screen: read from now on, and loaded once. */
  open(channelId: string): void {
    this.openId = channelId;
    const state = this.get(channelId);
    if (state === null) return;
    const read = state.unread === 0 ? state : { ...state, unread: 0 };
    this.put(read);
    if (!read.loaded && !read.loading) this.load(read);
  }

  loadOlder(channelId: string): void {
    const state = this.get(channelId);
    if (state !== null && state.loaded && state.hasOlder && !state.loading) this.load(state);
  }

  /** Shows a thread beside the channel, in place of another one; its newest page is loaded. */
  openThread(channelId: string, rootId: string): void {
    this.closeThread(channelId);
    const state = this.get(channelId);
    if (state !== null) this.loadThread({ ...state, thread: newThread(rootId, state.messages) });
  }

  closeThread(channelId: string): void {
    const state = this.get(channelId);
    if (state === null) return;
    this.requests.forgetThread(channelId);
    this.put({ ...state, thread: null });
  }

  loadOlderReplies(channelId: string): void {
    const state = this.get(channelId);
    const thread = state?.thread;
    if (state !== null && thread?.loaded === true && thread.hasOlder && !thread.loading) this.loadThread(state);
  }

  /** Returns the thread that a reply to this message joins, as far as is known. */
  threadOf(channelId: string, messageId: string): string | null {
    const state = this.get(channelId);
    const held = [...(state?.messages ?? []), ...(state?.thread?.messages ?? [])];
    const parent = held.find(({ id }) => id === messageId);
    return parent === undefined ? null : (parent.view.threadId ?? parent.id);
  }

  onEvent(event: EventFrame): void {
    const state = this.get(event.channel_id);
    if (state === null) return;
    const taken = takeLive(state, event, this.reader(state));
    const alreadyAsked = taken.then === "resume" && this.requests.isResuming(state.id);
    if (!alreadyAsked) this.follow(taken);
  }

  onResumed(page: Frame<"resumed">): void {
    const state = this.get(page.channel_id);
    if (state === null) return;
    this.requests.resumed(state.id);
    if (page.reset === true) this.requests.forgetHistory(state.id);
    this.follow(takeResumed(state, page, this.reader(state)));
  }

  onResumeDone(ref: string): void {
    this.requests.resumeDone(ref);
  }

  /** Returns how many messages of the page could not be read. */
  onHistory(page: Frame<"history">): number {
    const state = this.get(page.channel_id);
    const asked = this.requests.historyAnswered(page.ref ?? "");
    if (asked === null || state === null) return 0;
    const { messages, malformed } = decodeHistory(page.messages);
    const read = messages.map((message) => placed(message, message, this.me));
    const list = broughtUpToDate(state, read, this.me);
    this.put(asked === "thread" ? takeThread(state, list, page.more) : takeHistory(state, list, page.more));
    return malformed;
  }

  onJoined(frame: Frame<"channel_joined">): void {
    const { channel_id, role, epoch, seq, channel } = frame;
    const known = this.get(channel_id);
    this.describe({ ...channel, channel_id, role, epoch, seq });
    const behind = known !== null && (known.position.epoch !== epoch || known.position.seq < seq);
    if (behind) this.onDoubt([channel_id]);
    if (channel_id === this.openId) this.open(channel_id);
  }

  onLeft(channelId: string): void {
    this.states.delete(channelId);
    this.requests.forgetChannel(channelId);
  }

  /** The server doubts what it pushed in these channels, or stopped pushing. */
  onDoubt(channelIds: readonly string[]): void {
    const states = channelIds.flatMap((id) => this.get(id) ?? []);
    if (states.length > 0) this.requests.resume(states);
  }

  onAcked(channelId: string, message: Placed): void {
    const state = this.get(channelId);
    if (state !== null) this.put(takeAcked(state, message));
  }

  onAckedChange(channelId: string, change: AckedChange): void {
    const state = this.get(channelId);
    if (state !== null) this.put(takeAckedChange(state, change));
  }

  /** Returns whether it was about a request that will be asked again. */
  onRefused(error: Frame<"error">): boolean {
    const refusal = this.requests.refused(error);
    if (refusal.outcome === "final") {
      for (const state of refusal.channelIds.flatMap((id) => this.get(id) ?? [])) {
        const { thread } = state;
        if (refusal.kind === "history") this.put({ ...state, loading: false });
        if (refusal.kind === "thread" && thread !== null) this.put({ ...state, thread: { ...thread, loading: false } });
      }
    }
    return refusal.outcome === "later";
  }

  private follow({ state, then }: Taken): void {
    this.put(state);
    if (then === "resume") this.requests.resume([state]);
    if (then === "reload") this.askAgain(state);
  }

  /** Asks for the pages that it waits for. */
  private askAgain(state: ChannelState): void {
    if (state.loading) this.requests.history(state);
    if (state.thread?.loading === true) this.requests.thread(state);
  }

  private loadThread(state: ChannelState): void {
    const { thread } = state;
    if (thread === null) return;
    const loading = { ...state, thread: { ...thread, loading: true } };
    this.put(loading);
    this.requests.thread(loading);
  }

  private load(state: ChannelState): void {
    const loading = { ...state, loading: true };
    this.put(loading);
    this.requests.history(loading);
  }

  private describe(entry: ChannelEntry): void {
    const known = this.get(entry.channel_id);
    const { name, channel_type: type, role } = entry;
    const same = known !== null && known.name === name && known.type === type && known.role === role;
    if (!same) this.put(known === null ? newChannel(entry) : { ...known, name, type, role });
  }

  private put(state: ChannelState): void {
    this.states.set(state.id, state);
  }

  private reader(state: ChannelState) {
    return { me: this.me, open: state.id === this.openId };
  }
}
