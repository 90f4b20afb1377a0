/**
 * Keeps one socket to the server: token, connect, silence, close, wait, again. It knows no channels.
 *
 * stopped => connecting => online => waiting => connecting …; any => stopped by `stop`, any => ended by a final code.
 */
import { Backoff } from "./backoff.ts";
import { ABNORMAL, closeText, NORMAL, NO_HEARTBEAT, NOT_ESTABLISHED, reconnectsAfter } from "./closes.ts";
import { judgeSilence } from "./heartbeat.ts";
import { Alarm } from "./timers.ts";
import type { ClientFrame } from "./frames.ts";
import type { Connection, Timers, Transport, TransportEvents, TransportFactory } from "./types.ts";

/** Milliseconds from the connect to `connection_established`. Chosen: above the server's own 10 s. */
export const ESTABLISH_TIME_MS = 15_000;

export interface LinkOptions {
  readonly url: string;
  readonly token: () => Promise<string>;
  readonly transport: TransportFactory;
  readonly timers: Timers;
  readonly now: () => number;
  readonly random: () => number;
}

export interface LinkEvents {
  /** Whether this client holds positions, asked at each connect. */
  resumes(): boolean;
  received(text: string): void;
  /** A connection came to its end; nothing that was asked on it will be answered. */
  lost(): void;
  /** `connection` has a new value. */
  changed(): void;
}

export class Link {
  connection: Connection = { state: "stopped" };
  private socket: Transport | null = null;
  /** Rises with each attempt, so that a late callback of an earlier one is known as such. */
  private attempt = 0;
  private readonly backoff = new Backoff();
  private readonly alarm: Alarm;
  private heartbeatMs = 0;
  private heardAtMs = 0;
  private pinged = false;
  private comeBackAtMs: number | null = null;

  constructor(
    private readonly options: LinkOptions,
    private readonly events: LinkEvents,
  ) {
    this.alarm = new Alarm(options.timers);
  }

  /** Connects now, unless it is connected or about to be. */
  start(): void {
    const { state } = this.connection;
    if (state !== "connecting" && state !== "online") this.connect();
  }

  stop(): void {
    this.drop(NORMAL, "");
    this.events.lost();
    this.enter({ state: "stopped" });
  }

  send(frame: ClientFrame): void {
    this.socket?.send(JSON.stringify(frame));
  }

  /** The server said `connection_established`. */
  established(heartbeatMs: number): void {
    this.heartbeatMs = heartbeatMs;
    this.backoff.online(this.options.now());
    this.alarm.cancel();
    if (heartbeatMs > 0) this.watch();
    this.enter({ state: "online" });
  }

  /** The server will close, and named the time after which to come back. */
  comeBackAfter(delayMs: number): void {
    this.comeBackAtMs = this.options.now() + delayMs;
  }

  private connect(): void {
    const attempt = ++this.attempt;
    this.comeBackAtMs = null;
    this.alarm.set(ESTABLISH_TIME_MS, () => this.giveUp(NOT_ESTABLISHED, "not established in time"));
    this.enter({ state: "connecting" });
    Promise.resolve()
      .then(() => this.options.token())
      .then(
        (token) => this.ifCurrent(attempt, () => this.open(token, attempt)),
        (error: unknown) => this.ifCurrent(attempt, () => this.fell(ABNORMAL, tokenText(error))),
      );
  }

  private open(token: string, attempt: number): void {
    const { url, transport } = this.options;
    const resume = this.events.resumes() ? `${url.includes("?") ? "&" : "?"}resume=1` : "";
    const request = { url: url + resume, protocols: ["safeshipper.v1.json", `bearer.${token}`] };
    try {
      const socket = transport(request, this.listener(attempt));
      this.ifCurrent(attempt, () => (this.socket = socket));
    } catch {
      // An address or token that cannot be put into a handshake is as good as no connection.
      this.fell(ABNORMAL, closeText(ABNORMAL, ""));
    }
  }

  private listener(attempt: number): TransportEvents {
    return {
      opened: () => {},
      received: (text) =>
        this.ifCurrent(attempt, () => {
          this.heardAtMs = this.options.now();
          this.pinged = false;
          this.events.received(text);
        }),
      closed: (code, reason) => this.ifCurrent(attempt, () => this.fell(code, closeText(code, reason))),
    };
  }

  private watch(): void {
    const silence = judgeSilence(this.options.now() - this.heardAtMs, this.heartbeatMs, this.pinged);
    if (silence.do === "give up") return this.giveUp(NO_HEARTBEAT, "no heartbeat");
    if (silence.do === "ping") {
      this.pinged = true;
      this.send({ type: "ping" });
    }
    this.alarm.set(silence.forMs, () => this.watch());
  }

  /** Does not wait for the close handshake: the other side is not answering. */
  private giveUp(code: number, reason: string): void {
    this.drop(code, reason);
    this.fell(code, closeText(code, reason));
  }

  private drop(code: number, reason: string): void {
    this.attempt++;
    this.alarm.cancel();
    const socket = this.socket;
    this.socket = null;
    socket?.close(code, reason);
  }

  private fell(code: number, reason: string): void {
    this.attempt++;
    this.socket = null;
    this.alarm.cancel();
    this.events.lost();
    if (!reconnectsAfter(code)) return this.enter({ state: "ended", code, reason });
    const nowMs = this.options.now();
    const jitterMs = this.backoff.next(nowMs, this.options.random());
    const retryAtMs = this.comeBackAtMs === null ? nowMs + jitterMs : Math.max(nowMs, this.comeBackAtMs);
    this.alarm.set(retryAtMs - nowMs, () => this.connect());
    this.enter({ state: "waiting", retryAtMs, reason });
  }

  private ifCurrent(attempt: number, action: () => unknown): void {
    if (attempt === this.attempt) action();
  }

  private enter(connection: Connection): void {
    this.connection = connection;
    this.events.changed();
  }
}

function tokenText(error: unknown): string {
  return error instanceof Error && error.message !== "" ? error.message : "No sign-in token";
}
