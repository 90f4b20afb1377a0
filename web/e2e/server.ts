/** A standalone server of the test's own: the real binary, in a folder of its own, stopped by its own id. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const BINARY = resolve(process.env["STANDALONE_BIN"] ?? "../target/debug/standalone");

/** How long a start may take. */
const START_MS = 30_000;

/** Something that serves the page in one of the modes. */
export interface System {
  readonly url: string;
  as(person: string): string;
  start(): Promise<void>;
  kill(): Promise<void>;
  remove(): Promise<void>;
}

export class Server implements System {
  private readonly data = mkdtempSync(join(tmpdir(), "safeshipper-e2e-"));
  private process: ChildProcess | null = null;
  /** Port 0 at first; the port that was given then, so that a second start is found where the first was. */
  private listen = "127.0.0.1:0";

  /** `settings` are variables of its environment that differ from a development server's. */
  constructor(private readonly settings: Readonly<Record<string, string>> = {}) {}

  get url(): string {
    return `http://${this.listen}/chat`;
  }

  /** Where a person's page is. */
  as(person: string): string {
    return `${this.url}?as=${person}`;
  }

  /** Starts the server; again on the same port and data when it ran before. */
  async start(): Promise<void> {
    const addresses = join(this.data, "addresses.json");
    rmSync(addresses, { force: true });
    const log = openSync(join(this.data, "server.log"), "a");
    const env = {
      DEBUG: "true",
      LISTEN: this.listen,
      ADMIN_LISTEN: "127.0.0.1:0",
      DATA_DIR: this.data,
      LOG: "info",
      ...this.settings,
    };
    const child = spawn(BINARY, [], { cwd: this.data, env, stdio: ["ignore", log, log] });
    this.process = child;
    const until = Date.now() + START_MS;
    while (!existsSync(addresses)) {
      if (child.exitCode !== null || Date.now() > until) {
        throw new Error(`no start: ${readFileSync(join(this.data, "server.log"), "utf8")}`);
      }
      await sleep(20);
    }
    const written = JSON.parse(readFileSync(addresses, "utf8")) as { listen: string };
    this.listen = written.listen;
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    const child = this.process;
    this.process = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGKILL");
    await ended;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.data, { recursive: true, force: true });
  }
}
