/**
 * A small server for simulations: a log per channel with seq and prev, held and live channels, cut pages, and faults
 * on request. It follows the protocol page, not the client.
 */
import type { ClientFrame, Position } from "../src/frames.ts";
import type { Transport, TransportEvents, TransportRequest } from "../src/types.ts";
import type { MessageChange } from "../src/types.ts";
import { entry, established } from "./frames.ts";
import { frameOf, inHistory, type Logged, messagesOf, nowOf } from "./server_log.ts";

type Command = Extract<ClientFrame, { client_msg_id: string }>;

/** Chances in [0, 1) of what may go wrong with one frame. */
export interface Faults {
  readonly loseLive: number;
  readonly repeatLive: number;
  readonly refuseSend: number;
}

const RESUME_PAGE = 4;
const HISTORY_PAGE = 6;
export const NO_FAULTS: Faults = { loseLive: 0, repeatLive: 0, refuseSend: 0 };

/** One socket: frames wait in both directions until the simulation lets them through, in their order. */
export class Wire implements Transport {
  readonly live = new Set<string>();
  readonly toServer: ClientFrame[] = [];
  readonly toClient: object[] = [];
  /** Pages that were read and are not sent yet: what is pushed meanwhile comes before them. */
  readonly late: object[] = [];
  open = true;

  constructor(
    readonly user: string,
    readonly resumes: boolean,
    private readonly events: TransportEvents,
  ) {}

  send(text: string): void {
    if (this.open) this.toServer.push(JSON.parse(text) as ClientFrame);
  }

  close(): void {
    this.open = false;
  }

  /** Everything under way is lost. */
  break(code: number): void {
    if (!this.open) return;
    this.open = false;
    this.events.closed(code, "");
  }

  deliver(): void {
    const frame = this.toClient.shift();
    if (frame !== undefined && this.open) this.events.received(JSON.stringify(frame));
  }
}

export class ServerModel {
  readonly logs: ReadonlyMap<string, Logged[]>;
  wires: Wire[] = [];
  faults: Faults = NO_FAULTS;
  private epoch = "e1";
  /** Epochs whose positions can still be resumed from. */
  private remembered = new Set(["e1"]);
  private epochs = 1;
  private seq = 100;

  constructor(
    private readonly random: () => number,
    readonly channelIds: readonly string[],
  ) {
    this.logs = new Map(channelIds.map((id) => [id, []]));
  }

  connect(request: TransportRequest, events: TransportEvents): Wire {
    const user = request.protocols[1]?.slice("bearer.".length) ?? "";
    const wire = new Wire(user, request.url.endsWith("resume=1"), events);
    this.wires.push(wire);
    const channels = this.channelIds.map((id) => entry({ id, name: id, ...this.head(id) }));
    wire.toClient.push({ ...established(), user_id: user, channels });
    if (!wire.resumes) for (const id of this.channelIds) wire.live.add(id);
    return wire;
  }

  /** A restart with another log: all sockets fall, and old positions may be worth nothing. */
  newEpoch(rememberOld: boolean): void {
    this.breakAll(1012);
    this.epoch = `e${++this.epochs}`;
    if (!rememberOld) this.remembered.clear();
    this.remembered.add(this.epoch);
    this.seq = 0;
  }

  breakAll(code: number): void {
    for (const wire of this.wires) wire.break(code);
    this.wires = [];
  }

  /** Takes the next frame of a client, if there is one. */
  serve(wire: Wire): void {
    if (this.random() < 0.5) wire.toClient.push(...wire.late.splice(0));
    const frame = wire.toServer.shift();
    if (frame === undefined || !wire.open) return;
    if ("client_msg_id" in frame) this.onCommand(wire, frame);
    if (frame.type === "resume") this.onResume(wire, frame);
    if (frame.type === "fetch_history") this.onHistory(wire, frame);
    if (frame.type === "ping") wire.toClient.push({ type: "pong" });
  }

  private onCommand(wire: Wire, frame: Command): void {
    const refuse = (code: string): void => {
      wire.toClient.push({ type: "error", code, message: code, ref: frame.ref, retry_after_ms: 100 });
    };
    const refusal = this.random() < this.faults.refuseSend ? this.random() : 1;
    if (refusal < 0.5) return refuse(refusal < 0.25 ? "unavailable" : "rate_limited");
    const log = this.logs.get(frame.channel_id) ?? [];
    const known = frame.retry === true ? log.find((one) => one.clientMsgId === frame.client_msg_id) : undefined;
    const isGone = "message_id" in frame && nowOf(log, frame.message_id).deleted;
    if (known === undefined && isGone) return refuse("unknown_message");
    const ackFirst = this.random() < 0.5;
    const logged = known ?? this.append(frame.channel_id, log, wire.user, frame);
    if (known === undefined && !ackFirst) this.publish(frame.channel_id, logged);
    if (refusal < 1) refuse("unknown_outcome");
    else wire.toClient.push(ackOf(frame, logged, known !== undefined));
    if (known === undefined && ackFirst) this.publish(frame.channel_id, logged);
  }

  private append(channelId: string, log: Logged[], by: string, frame: Command): Logged {
    const { seq: prev } = this.head(channelId);
    this.seq += 1 + Math.floor(this.random() * 3);
    const { client_msg_id: clientMsgId } = frame;
    const id = "message_id" in frame ? frame.message_id : `${this.epoch}-${this.seq}`;
    const content = "content" in frame ? frame.content : "";
    const place = { epoch: this.epoch, seq: this.seq, prev };
    const logged = { ...place, id, by, content, clientMsgId, change: changeOf(frame) };
    log.push(logged);
    return logged;
  }

  private publish(channelId: string, logged: Logged): void {
    const frame = frameOf(channelId, this.logs.get(channelId) ?? [], logged, "pushed");
    for (const wire of this.wires) {
      if (!wire.open || !wire.live.has(channelId) || this.random() < this.faults.loseLive) continue;
      wire.toClient.push(frame);
      if (this.random() < this.faults.repeatLive) wire.toClient.push(frame);
    }
  }

  private onResume(wire: Wire, frame: Extract<ClientFrame, { type: "resume" }>): void {
    for (const { channel_id, epoch, seq } of frame.channels) this.answerResume(wire, channel_id, { epoch, seq });
    wire.toClient.push({ type: "resume_done", ref: frame.ref });
  }

  private answerResume(wire: Wire, channelId: string, from: Position): void {
    const base = { type: "resumed", channel_id: channelId };
    wire.live.add(channelId);
    if (!this.remembered.has(from.epoch)) {
      wire.toClient.push({ ...base, ...this.head(channelId), events: [], more: false, reset: true });
      return;
    }
    const log = this.logs.get(channelId) ?? [];
    const rest = log.filter((one) => isAfter(one, from));
    const page = rest.slice(0, RESUME_PAGE);
    const more = rest.length > page.length;
    if (more) wire.live.delete(channelId);
    const last = page.at(-1);
    const end = more && last !== undefined ? { epoch: last.epoch, seq: last.seq } : this.head(channelId);
    if (end.epoch === from.epoch && end.seq === from.seq) return;
    const events = page.map((one) => frameOf(channelId, log, one, "replayed"));
    wire.toClient.push({ ...base, ...end, events, more, reset: false });
  }

  private onHistory(wire: Wire, frame: Extract<ClientFrame, { type: "fetch_history" }>): void {
    const { before, channel_id, ref } = frame;
    const log = this.logs.get(channel_id) ?? [];
    const all = messagesOf(log);
    const older = before === undefined ? all : all.filter((one) => isAfter(before, one));
    const page = older.slice(-HISTORY_PAGE);
    const messages = page.map((one) => inHistory(channel_id, log, one));
    wire.late.push({ type: "history", ref, channel_id, messages, more: older.length > page.length });
  }

  private head(channelId: string): Position {
    const last = this.logs.get(channelId)?.at(-1);
    return last?.epoch === this.epoch ? { epoch: last.epoch, seq: last.seq } : { epoch: this.epoch, seq: 0 };
  }
}

function isAfter(a: Position, b: Position): boolean {
  return a.epoch === b.epoch ? a.seq > b.seq : a.epoch > b.epoch;
}

/** What a command that changes a message asks for; null when the frame is none. */
function changeOf(frame: Command): MessageChange | null {
  switch (frame.type) {
    case "send_message":
      return null;
    case "edit_message":
      return { kind: "edit", content: frame.content };
    case "delete_message":
      return { kind: "delete" };
    case "pin_message":
      return { kind: "pin", pinned: frame.pinned };
    case "react_to_message":
      return { kind: "react", reaction: frame.reaction };
  }
}

function ackOf(frame: { readonly ref: string; readonly channel_id: string }, logged: Logged, duplicate: boolean): object {
  const { epoch, seq, id, clientMsgId } = logged;
  const { ref, channel_id } = frame;
  return { type: "ack", ref, client_msg_id: clientMsgId, message_id: id, channel_id, epoch, seq, durability: "logged", duplicate };
}
