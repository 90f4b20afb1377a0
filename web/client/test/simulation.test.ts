/**
 * Whatever the connection does, in the end each client shows the log: every message once, in order.
 *
 * A failing seed is reproducible: run this file with `SEED=<n>`, and `SEEDS=<n>` for more than the usual number.
 */
import { describe, expect, test } from "vitest";
import { ChatClient } from "../src/client.ts";
import type { MessageView } from "../src/types.ts";
import { Clock } from "./clock.ts";
import { channelOf, Memory } from "./line.ts";
import { NO_FAULTS, ServerModel, type Wire } from "./server_model.ts";

const CHANNELS = ["alpha", "beta"];
const USERS = ["ann", "bob", "cem"];
const STEPS = 400;

/** Mulberry32: small, and the same everywhere. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Person {
  readonly name: string;
  readonly storage: Memory;
  /** By channel: what was written, in order. */
  readonly wrote: Map<string, string[]>;
  client: ChatClient;
}

class Simulation {
  private readonly clock = new Clock();
  private readonly random: () => number;
  private readonly people: readonly Person[];
  readonly server: ServerModel;
  private said = 0;

  constructor(seed: number) {
    this.random = randomFrom(seed);
    this.server = new ServerModel(this.random, CHANNELS);
    this.people = USERS.map((name) => {
      const storage = new Memory();
      return { name, storage, wrote: new Map(), client: this.client(name, storage) };
    });
  }

  async run(): Promise<void> {
    this.server.faults = { loseLive: 0.1, repeatLive: 0.1, refuseSend: 0.15 };
    for (const { client } of this.people) client.start();
    for (let step = 0; step < STEPS; step++) await this.step();
    this.server.faults = NO_FAULTS;
    await this.quiet();
    // What was lost behind the last event of a channel only a resume can find.
    this.server.breakAll(1006);
    await this.quiet();
    await this.loadAll();
  }

  check(): void {
    expect([...this.server.logs.values()].flat().length).toBeGreaterThan(STEPS / 10);
    for (const channelId of CHANNELS) {
      const log = this.server.logs.get(channelId) ?? [];
      for (const { name, client, wrote } of this.people) {
        const shown = channelOf(client, channelId).messages;
        expect(shown.map(identify), `${name} in ${channelId}`).toEqual(log.map(({ id, seq }) => `${id} ${seq} sent`));
        const own = log.filter(({ by }) => by === name).map(({ content }) => content);
        expect(own, `what ${name} wrote in ${channelId}`).toEqual(wrote.get(channelId) ?? []);
      }
    }
    for (const { client, storage } of this.people) {
      expect(client.getSnapshot()).toMatchObject({ connection: { state: "online" }, notice: null });
      expect(storage.text).toBe('{"version":1,"entries":[]}');
    }
  }

  stop(): void {
    for (const { client } of this.people) client.stop();
    expect(this.clock.timersWaiting).toBe(0);
  }

  private client(name: string, storage: Memory): ChatClient {
    const { clock, random } = this;
    return new ChatClient({
      url: "ws://test/ws/chat/",
      token: () => Promise.resolve(name),
      transport: (request, events) => this.server.connect(request, events),
      storage,
      random,
      now: clock.now,
      timers: clock,
    });
  }

  private async step(): Promise<void> {
    const person = this.pick(this.people);
    const channelId = this.pick(CHANNELS);
    const dice = this.random();
    if (dice < 0.25) this.write(person, channelId);
    else if (dice < 0.3) person.client.openChannel(channelId);
    else if (dice < 0.35) person.client.loadOlder(channelId);
    else if (dice < 0.38) this.pickWire()?.break(this.pick([1006, 1012, 4001, 4009, 4012]));
    else if (dice < 0.385) this.server.newEpoch(this.random() < 0.5);
    else if (dice < 0.39) this.reload(person);
    else this.move(1 + Math.floor(this.random() * 6));
    await this.clock.advance(Math.floor(this.random() * 300));
    this.checkNow();
  }

  /** At any moment nothing shows twice, and what shows stands in the order of the log. */
  private checkNow(): void {
    const places = new Map([...this.server.logs.values()].flat().map(({ content }, place) => [content, place]));
    for (const { name, client } of this.people) {
      for (const { id, messages } of client.getSnapshot().channels) {
        const contents = messages.map(({ content }) => content);
        expect(new Set(contents).size, `${name} in ${id}: ${contents.join()}`).toBe(contents.length);
        const sent = messages.filter(({ status }) => status === "sent").map(({ content }) => places.get(content) ?? -1);
        expect(sent, `${name} in ${id}`).toEqual(sent.toSorted((a, b) => a - b));
      }
    }
  }

  private write(person: Person, channelId: string): void {
    const { channels } = person.client.getSnapshot();
    if (channels.length === 0) return;
    const content = `${person.name} ${++this.said}`;
    person.client.send(channelId, content);
    person.wrote.set(channelId, [...(person.wrote.get(channelId) ?? []), content]);
  }

  /** The page is closed without a word and opened again. */
  private reload(person: Person): void {
    const text = person.storage.text;
    person.client.stop();
    person.storage.text = text;
    for (const wire of this.server.wires.filter(({ user }) => user === person.name)) wire.close();
    person.client = this.client(person.name, person.storage);
    person.client.start();
  }

  /** Lets frames through, some of each direction of some sockets. */
  private move(count: number): void {
    for (let moved = 0; moved < count; moved++) {
      const wire = this.pickWire();
      if (wire === null) return;
      if (this.random() < 0.5) wire.deliver();
      else this.server.serve(wire);
    }
  }

  /** Goes on without faults until nobody has anything left to say. */
  private async quiet(): Promise<void> {
    for (let round = 0; round < 400; round++) {
      await this.clock.advance(500);
      for (const wire of [...this.server.wires]) {
        while (wire.open && (wire.toServer.length > 0 || wire.toClient.length > 0)) {
          this.server.serve(wire);
          wire.deliver();
        }
      }
      const online = this.people.every(({ client }) => client.getSnapshot().connection.state === "online");
      if (online && this.people.every(({ client }) => isSettled(client))) return;
    }
    throw new Error("it did not become quiet");
  }

  private async loadAll(): Promise<void> {
    for (const { client } of this.people) {
      for (const channelId of CHANNELS) {
        client.openChannel(channelId);
        await this.quiet();
        while (channelOf(client, channelId).hasOlder) {
          client.loadOlder(channelId);
          await this.quiet();
        }
      }
    }
  }

  private pick<T>(list: readonly T[]): T {
    const picked = list[Math.floor(this.random() * list.length)];
    if (picked === undefined) throw new Error("nothing to pick from");
    return picked;
  }

  private pickWire(): Wire | null {
    const { wires } = this.server;
    return wires.length === 0 ? null : this.pick(wires);
  }
}

function identify({ id, seq, status }: MessageView): string {
  return `${id} ${seq} ${status}`;
}

function isSettled(client: ChatClient): boolean {
  return client.getSnapshot().channels.every(({ loading, messages }) => {
    return !loading && messages.every(({ status }) => status === "sent");
  });
}

const count = Number(process.env["SEEDS"] ?? 60);
const first = Number(process.env["SEED"] ?? 1);
const seeds = process.env["SEED"] === undefined ? Array.from({ length: count }, (_, index) => first + index) : [first];

describe("a server that drops connections, loses and repeats live frames, and restarts", () => {
  test.each(seeds)("seed %i", async (seed) => {
    const simulation = new Simulation(seed);
    await simulation.run();
    simulation.check();
    simulation.stop();
  });
});
