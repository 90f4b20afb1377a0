import { describe, expect, test } from "vitest";
import { settled } from "./clock.ts";
import { entry, established, live } from "./frames.ts";
import { Line } from "./line.ts";

describe("connecting", () => {
  test("offers the protocol and the token, and is online once the server said who it is", async () => {
    const line = new Line();
    const client = line.client();
    expect(client.getSnapshot().connection).toEqual({ state: "stopped" });
    client.start();
    client.start();
    expect(client.getSnapshot().connection).toEqual({ state: "connecting" });
    await settled();
    expect(line.sockets.map(({ request }) => request)).toEqual([
      { url: "ws://test/ws/chat/", protocols: ["safeshipper.v1.json", "bearer.token-1"] },
    ]);
    line.socket.receive(established());
    expect(client.getSnapshot()).toMatchObject({ connection: { state: "online" }, me: "me" });
  });

  test("says at the next connect that it holds positions", async () => {
    const line = new Line();
    await line.online();
    const socket = await line.reconnect();
    expect(socket.request.url).toBe("ws://test/ws/chat/?resume=1");
  });

  test("waits and tries again when there is no token", async () => {
    const line = new Line();
    let asked = 0;
    const token = () => (++asked === 1 ? Promise.reject(new Error("The sign-in service is down")) : Promise.resolve("t"));
    const client = line.client({ token });
    client.start();
    await settled();
    const retryAtMs = line.clock.nowMs + 250;
    const waiting = { state: "waiting", retryAtMs, reason: "The sign-in service is down" };
    expect(client.getSnapshot().connection).toEqual(waiting);
    await line.clock.advance(250);
    expect(line.socket.request.protocols[1]).toBe("bearer.t");
  });

  test("gives up a connection that is not established in 15 s", async () => {
    const line = new Line();
    const client = line.client();
    client.start();
    await line.clock.advance(14_999);
    expect(line.socket.closedWith).toBeNull();
    await line.clock.advance(1);
    expect(line.socket.closedWith).toBe(4013);
    expect(client.getSnapshot().connection.state).toBe("waiting");
  });

  test("a transport that refuses the address counts as a lost connection", async () => {
    const line = new Line();
    const client = line.client({
      transport: () => {
        throw new SyntaxError("bad address");
      },
    });
    client.start();
    await settled();
    expect(client.getSnapshot().connection).toMatchObject({ state: "waiting", reason: "The connection was lost" });
  });
});

describe("closing", () => {
  test("4001 asks for a new token and comes back", async () => {
    const line = new Line();
    const client = await line.online();
    line.socket.close(4001, "token expired");
    expect(client.getSnapshot().connection).toMatchObject({ state: "waiting", reason: "The sign-in expired" });
    await line.clock.advance(250);
    expect(line.socket.request.protocols[1]).toBe("bearer.token-2");
  });

  test("a final code ends it, until somebody asks for more", async () => {
    const line = new Line();
    const client = await line.online();
    line.socket.close(4500, "invalid credential");
    const ended = { state: "ended", code: 4500, reason: "The sign-in is not valid" };
    expect(client.getSnapshot().connection).toEqual(ended);
    await line.clock.advance(600_000);
    expect(line.sockets.length).toBe(1);
    client.reconnectNow();
    await settled();
    expect(line.sockets.length).toBe(2);
  });

  test("waiting times double while nothing is established", async () => {
    const line = new Line();
    const client = line.client();
    client.start();
    await settled();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      line.socket.close(1006);
      const { connection } = client.getSnapshot();
      const waitMs = connection.state === "waiting" ? connection.retryAtMs - line.clock.nowMs : NaN;
      waits.push(waitMs);
      await line.clock.advance(waitMs);
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
  });

  test("the server's own waiting time takes the place of the jitter, counted from when it was named", async () => {
    const line = new Line();
    const client = await line.online();
    line.socket.receive({ type: "reconnect", after_ms: 7_000, reason: "restart" });
    const retryAtMs = line.clock.nowMs + 7_000;
    await line.clock.advance(1_000);
    line.socket.close(1012, "restart");
    expect(client.getSnapshot().connection).toEqual({ state: "waiting", retryAtMs, reason: "The server restarts" });
    await line.clock.advance(5_999);
    expect(line.sockets.length).toBe(1);
    await line.clock.advance(1);
    expect(line.sockets.length).toBe(2);
  });

  test("reconnectNow skips the waiting time, and does nothing while it is online", async () => {
    const line = new Line();
    const client = await line.online();
    client.reconnectNow();
    await settled();
    expect(line.sockets.length).toBe(1);
    line.socket.close(1006);
    client.reconnectNow();
    await settled();
    expect(line.sockets.length).toBe(2);
    line.socket.receive(established());
    await line.clock.advance(1_000);
    expect(line.sockets.length).toBe(2);
  });

  test("stop closes with 1000, leaves no timer and hears nothing more; start comes back", async () => {
    const line = new Line();
    const client = await line.online();
    client.send("general", "waits for its ack");
    line.socket.receive({ type: "typing_indicator", user_id: "bob", channel_id: "general", is_typing: true });
    const { socket } = line;
    client.stop();
    client.reconnectNow();
    expect(socket.closedWith).toBe(1000);
    expect(line.clock.timersWaiting).toBe(0);
    const stopped = client.getSnapshot();
    socket.receive(live({ seq: 11 }));
    socket.close(1006);
    expect(client.getSnapshot()).toBe(stopped);
    expect(stopped.connection).toEqual({ state: "stopped" });
    client.start();
    await settled();
    line.socket.receive(established());
    expect(client.getSnapshot().connection).toEqual({ state: "online" });
  });

  test("a token that comes after stop opens nothing", async () => {
    const line = new Line();
    const client = line.client();
    client.start();
    client.stop();
    await settled();
    expect(line.sockets.length).toBe(0);
  });
});

describe("silence", () => {
  test("asks after one and a half intervals and gives up after two", async () => {
    const line = new Line();
    const client = await line.online();
    await line.clock.advance(37_499);
    expect(line.socket.sentOf("ping").length).toBe(0);
    await line.clock.advance(1);
    expect(line.socket.sentOf("ping").length).toBe(1);
    await line.clock.advance(12_499);
    expect(line.socket.closedWith).toBeNull();
    await line.clock.advance(1);
    expect(line.socket.closedWith).toBe(4012);
    expect(client.getSnapshot().connection).toMatchObject({ state: "waiting", reason: "The server did not answer" });
  });

  test("any frame keeps it alive", async () => {
    const line = new Line();
    await line.online();
    for (let minute = 0; minute < 10; minute++) {
      await line.clock.advance(45_000);
      line.socket.receive({ type: "pong", server_time: "2026-01-02T03:04:05.678Z" });
    }
    expect(line.socket.closedWith).toBeNull();
    expect(line.socket.sentOf("ping").length).toBe(10);
  });
});

test("a channel list in several frames counts when it is whole", async () => {
  const line = new Line();
  const client = line.client();
  client.start();
  await settled();
  line.socket.receive({ ...established(), more_channels: true });
  expect(client.getSnapshot().channels).toEqual([]);
  line.socket.receive({ type: "channel_list", channels: [entry({ id: "a", name: "Alpha" })], more: false });
  expect(client.getSnapshot().channels.map(({ name }) => name)).toEqual(["Alpha", "General"]);
});
