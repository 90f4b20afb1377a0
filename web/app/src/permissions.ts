/** What somebody may do with a message; the server has the last word. */
import type { MessageView } from "@safeshipper/client";

/** Roles of a channel that look after what others write. */
const MODERATORS: ReadonlySet<string> = new Set(["MODERATOR", "ADMIN", "OWNER"]);

export interface Permissions {
  readonly react: boolean;
  readonly edit: boolean;
  readonly delete: boolean;
  readonly pin: boolean;
}

const NOTHING: Permissions = { react: false, edit: false, delete: false, pin: false };

export function permissionsOf(message: MessageView, me: string | null, role: string): Permissions {
  if (message.status !== "sent" || message.deletedAt !== null) return NOTHING;
  const mine = message.senderId === me;
  const moderates = MODERATORS.has(role);
  return { react: true, edit: mine && message.content !== "", delete: mine || moderates, pin: moderates };
}
