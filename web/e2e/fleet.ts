/** Two gateways and two workers on a real nats-server behind a load balancer, by the tool that people use too. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { System } from "./server.ts";

const PROGRAMS = dirname(resolve(process.env["STANDALONE_BIN"] ?? "../target/debug/standalone"));
const TOOL = resolve("../deploy/tools/fleet.py");

/** How long a start or a stop may take. */
const DEADLINE_MS = 60_000;

interface State {
  readonly listen: string;
  readonly admin: Readonly<Record<string, string>>;
  readonly pids: Readonly<Record<string, number>>;
}

export class Fleet implements System {
  private readonly data = mkdtempSync(join(tmpdir(), "safeshipper-fleet-"));
  private process: ChildProcess | null = null;

  get url(): string {
    return `http://${this.state().listen}/chat`;
  }

  as(person: string): string {
    return `${this.url}?as=${person}`;
  }

  /** Starts everything; after `kill`, what was killed. */
  async start(): Promise<void> {
    if (this.process === null) this.spawn();
    rmSync(join(this.data, "hold"), { force: true });
    await this.until("a start", async () => {
      if (!existsSync(join(this.data, "fleet.json"))) return false;
      const { admin, listen } = this.state();
      // The balancer needs a second to believe that a gateway is back; until then it turns people away.
      const asked = [...Object.values(admin).map((at) => `http://${at}/readyz`), `http://${listen}/chat`];
      return (await Promise.all(asked.map((url) => answers(url)))).every(Boolean);
    });
  }

  private spawn(): void {
    const log = openSync(join(this.data, "fleet.log"), "a");
    const args = [TOOL, "--data", this.data, "--bin", PROGRAMS, "--balancer", "0"];
    const env = { ...process.env, DEBUG: "true", SECRET_KEY: "a-test-key-that-is-long-enough-for-hs256" };
    this.process = spawn("python3", args, { env, stdio: ["ignore", log, log] });
  }

  /** `kill -9` of every gateway and of the nats-server, at once; `start` brings them back. */
  async kill(): Promise<void> {
    writeFileSync(join(this.data, "hold"), "");
    const { pids } = this.state();
    for (const [name, pid] of Object.entries(pids)) {
      if (name === "nats" || name.startsWith("gateway-")) process.kill(pid, "SIGKILL");
    }
    await sleep(50);
  }

  async remove(): Promise<void> {
    const child = this.process;
    if (child !== null && child.exitCode === null) {
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGTERM");
      await ended;
    }
    rmSync(this.data, { recursive: true, force: true });
  }

  /** What the tool says; it writes the file whole or not at all. */
  private state(): State {
    return JSON.parse(readFileSync(join(this.data, "fleet.json"), "utf8")) as State;
  }

  private async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + DEADLINE_MS;
    while (!(await holds())) {
      if (Date.now() > end || this.process?.exitCode != null) {
        throw new Error(`no ${what}: ${readFileSync(join(this.data, "fleet.log"), "utf8")}`);
      }
      await sleep(50);
    }
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}
