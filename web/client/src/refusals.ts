/** What a person reads when the server refused to change a message. */
import type { Frame } from "./frames.ts";
import type { MessageChange } from "./types.ts";

export function refusalOf(change: MessageChange, { code, message }: Frame<"error">): string {
  return `${what(change)}: ${WHY.get(code) ?? tooLarge(change, code) ?? message}`;
}

const WHY: ReadonlyMap<string, string> = new Map([
  ["permission_denied", "you are not allowed to"],
  ["unknown_message", "it is not there any more"],
  ["unknown_channel", "you are not a member of this channel"],
]);

function what(change: MessageChange): string {
  switch (change.kind) {
    case "edit":
      return "The message was not changed";
    case "delete":
      return "The message was not deleted";
    case "pin":
      return change.pinned ? "The message was not pinned" : "The message was not unpinned";
    case "react":
      return `The reaction ${change.reaction} was not taken`;
  }
}

function tooLarge({ kind }: MessageChange, code: string): string | null {
  if (code !== "too_large") return null;
  return kind === "react" ? "it is too long, or you have too many on this message" : "it is too long";
}
