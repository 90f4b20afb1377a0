/** A transport whose other end is the test. */
import { ChatClient } from "../src/client.ts";
import type { ClientFrame } from "../src/frames.ts";
import type {
  ChannelView,
  ChatClientOptions,
  OutboxStorage,
  TransportEvents,
  TransportFactory,
  TransportRequest,
} from "../src/types.ts";
import { Clock, settled } from "./clock.ts";
import { established } from "./frames.ts";

export class Socket {
  readonly sent: ClientFrame[] = [];
  closedWith: number | null = null;

  constructor(
    readonly request: TransportRequest,
    private readonly events: TransportEvents,
  ) {}

  receive(...frames: readonly object[]): void {
    for (const frame of frames) this.events.received(JSON.stringify(frame));
  }

  receiveText(text: string): void {
    this.events.received(text);
  }

  close(code: number, reason = ""): void {
    this.events.closed(code, reason);
  }

  sentOf<T extends ClientFrame["type"]>(type: T): Extract<ClientFrame, { type: T }>[] {
    return this.sent.filter((frame): frame is Extract<ClientFrame, { type: T }> => frame.type === type);
  }

  /** The last frame of a type; a missing one fails the test here. */
  lastOf<T extends ClientFrame["type"]>(type: T): Extract<ClientFrame, { type: T }> {
    const frame = this.sentOf(type).at(-1);
    if (frame === undefined) throw new Error(`no ${type} was sent`);
    return frame;
  }
}

export class Memory implements OutboxStorage {
  text: string | null = null;

  load(): string | null {
    return this.text;
  }

  save(text: string): void {
    this.text = text;
  }
}

export class Line {
  readonly clock = new Clock();
  readonly sockets: Socket[] = [];
  readonly storage = new Memory();
  tokens = 0;

  readonly transport: TransportFactory = (request, events) => {
    const socket = new Socket(request, events);
    this.sockets.push(socket);
    return {
      send: (text) => socket.sent.push(JSON.parse(text) as ClientFrame),
      close: (code) => (socket.closedWith = code),
    };
  };

  get socket(): Socket {
    const socket = this.sockets.at(-1);
    if (socket === undefined) throw new Error("nothing connected");
    return socket;
  }

  client(options: Partial<ChatClientOptions> = {}): ChatClient {
    return new ChatClient({
      url: "ws://test/ws/chat/",
      token: () => Promise.resolve(`token-${++this.tokens}`),
      transport: this.transport,
      storage: this.storage,
      random: () => 0.5,
      now: this.clock.now,
      timers: this.clock,
      ...options,
    });
  }

  /** A client that is online as `me` in the channel `general` at seq 10. */
  async online(options: Partial<ChatClientOptions> = {}): Promise<ChatClient> {
    const client = this.client(options);
    client.start();
    await settled();
    this.socket.receive(established());
    return client;
  }

  /** The connection falls and a new one stands, the server naming this head. */
  async reconnect(seq = 10, epoch = "e1"): Promise<Socket> {
    const before = this.sockets.length;
    this.socket.close(1006);
    await this.clock.advance(1_000);
    if (this.sockets.length !== before + 1) throw new Error("it did not come back exactly once");
    this.socket.receive(established({ seq, epoch }));
    return this.socket;
  }
}

/** The channel's view; a missing one fails the test here. */
export function channelOf(client: ChatClient, channelId = "general"): ChannelView {
  const view = client.getSnapshot().channels.find(({ id }) => id === channelId);
  if (view === undefined) throw new Error(`no channel ${channelId}`);
  return view;
}

export function contentsOf(client: ChatClient, channelId = "general"): string[] {
  return channelOf(client, channelId).messages.map(({ content }) => content);
}
