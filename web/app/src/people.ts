/** The development users of this server and their tokens. Elsewhere the endpoints answer 404. */

const BASE = "/api/v1/communications/dev/";

export interface Person {
  readonly id: string;
  readonly name: string;
  readonly role: string;
}

/** Why nobody can sign in here. */
export class SignInError extends Error {
  constructor(
    readonly kind: "not_available" | "unknown_person" | "unreachable",
    message: string,
  ) {
    super(message);
  }
}

/** Lists whom one may be; rejects with a `SignInError`. */
export async function listPeople(): Promise<readonly Person[]> {
  const body = await get("users");
  const users: unknown = isRecord(body) ? body["users"] : null;
  if (!Array.isArray(users)) throw unreadable();
  return users.map((user: unknown) => {
    if (!isRecord(user)) throw unreadable();
    return { id: text(user["user_id"]), name: text(user["name"]), role: text(user["role"]) };
  });
}

/** Gets a token for a person; rejects with a `SignInError`. */
export async function tokenFor(personId: string): Promise<string> {
  const body = await get(`token?user_id=${encodeURIComponent(personId)}`);
  if (!isRecord(body)) throw unreadable();
  return text(body["token"]);
}

async function get(path: string): Promise<unknown> {
  let answer: Response;
  try {
    answer = await fetch(BASE + path, { headers: { accept: "application/json" } });
  } catch {
    throw new SignInError("unreachable", "The server cannot be reached.");
  }
  const body: unknown = await answer.json().catch(() => null);
  if (answer.ok) return body;
  if (isRecord(body) && body["code"] === "unknown_user") {
    throw new SignInError("unknown_person", "This server does not know that person.");
  }
  if (answer.status === 404) {
    throw new SignInError("not_available", "Choosing a person works on development servers only.");
  }
  throw new SignInError("unreachable", `The server answered ${answer.status}.`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  if (typeof value !== "string") throw unreadable();
  return value;
}

function unreadable(): SignInError {
  return new SignInError("unreachable", "The server's answer cannot be read.");
}
