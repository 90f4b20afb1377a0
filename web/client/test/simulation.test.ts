/**
 * Whatever the connection does, in the end each client shows the log: every message once, in order, as what became of
 * it made it; and no command was done twice.
 *
 * A failing seed is reproducible: run this file with `SEED=<n>`, and `SEEDS=<n>` for more than the usual number.
 */
import { describe, expect, test } from "vitest";
import { ChatClient } from "../src/client.ts";
import type { MessageView } from "../src/types.ts";
import { Clock } from "./clock.ts";
import { channelOf, Memory } from "./line.ts";
import { messagesOf, nowOf, type Now } from "./server_log.ts";
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
        const messages = messagesOf(log);
        const expected = messages.map(({ id, seq }) => `${id} ${seq} sent ${inWords(nowOf(log, id), name)}`);
        expect(shown.map(identify), `${name} in ${channelId}`).toEqual(expected);
        const own = messages.filter(({ by }) => by === name).map(({ content }) => content);
        expect(own, `what ${name} wrote in ${channelId}`).toEqual(wrote.get(channelId) ?? []);
      }
    }
    const done = [...this.server.logs.values()].flat();
    expect(done.filter(({ change }) => change !== null).length).toBeGreaterThan(STEPS / 40);
    expect(new Set(done.map(({ clientMsgId }) => clientMsgId)).size, "each command is done once").toBe(done.length);
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
    if (dice < 0.15) this.write(person, channelId);
    else if (dice < 0.25) this.change(person, channelId);
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
    const written = messagesOf([...this.server.logs.values()].flat());
    const places = new Map(written.map(({ id }, place) => [id, place]));
    for (const { name, client } of this.people) {
      for (const { id, messages } of client.getSnapshot().channels) {
        const keys = messages.map(({ key }) => key);
        expect(new Set(keys).size, `${name} in ${id}: ${keys.join()}`).toBe(keys.length);
        const sent = messages.flatMap((message) => (message.id === null ? [] : (places.get(message.id) ?? -1)));
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

  /** Asks for a change of a message that this person sees. */
  private change({ name, client }: Person, channelId: string): void {
    const seen = client.getSnapshot().channels.find(({ id }) => id === channelId)?.messages ?? [];
    const sent = seen.filter(({ id, deletedAt }) => id !== null && deletedAt === null).slice(-5);
    if (sent.length === 0) return;
    const [id, dice] = [this.pick(sent).id ?? "", this.random()];
    if (dice < 0.5) client.react(channelId, id, this.pick(["👍", "✅"]));
    else if (dice < 0.75) client.edit(channelId, id, `${name} edited ${++this.said}`);
    else if (dice < 0.9) client.pin(channelId, id, this.random() < 0.5);
    else client.delete(channelId, id);
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
        while (wire.open && wire.toServer.length + wire.toClient.length + wire.late.length > 0) {
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

function identify(view: MessageView): string {
  const { id, seq, status, content, editedAt, deletedAt, isPinned, reactions } = view;
  const now = { content, edited: editedAt !== null, deleted: deletedAt !== null, pinned: isPinned };
  const chips = reactions.map(({ reaction, count, users, mine }) => chip(reaction, count, users, mine));
  return `${id} ${seq} ${status} ${JSON.stringify(now)} ${chips.toSorted().join(" ")}`;
}

function inWords({ reactions, ...now }: Now, me: string): string {
  const chips = [...reactions].map(([reaction, users]) => chip(reaction, users.length, users, users.includes(me)));
  return `${JSON.stringify(now)} ${chips.toSorted().join(" ")}`;
}

function chip(reaction: string, count: number, users: readonly string[], mine: boolean): string {
  return `${reaction}${count}${mine ? "+" : ""}:${users.toSorted().join()}`;
}

function isSettled(client: ChatClient): boolean {
  return client.getSnapshot().channels.every(({ loading, messages }) => {
    return !loading && messages.every(({ status, asked }) => status === "sent" && asked.length === 0);
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
