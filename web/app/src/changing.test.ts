import type { MessageView } from "@safeshipper/client";
import { describe, expect, it } from "vitest";
import { shown } from "./asked.ts";
import { repliesOf } from "./grouping.ts";
import { contentOf, peopleLine, repliesLine } from "./names.ts";
import { permissionsOf } from "./permissions.ts";

const THUMBS = { reaction: "👍", count: 2, users: ["dana", "ines"], mine: true };

function message(fields: Partial<MessageView> = {}): MessageView {
  return {
    key: "a",
    id: "a",
    seq: 1,
    senderId: "dana",
    senderName: "Dana",
    content: "hello",
    createdAt: "2026-01-02T10:00:00",
    messageType: "TEXT",
    priority: "NORMAL",
    isEmergency: false,
    replyTo: null,
    threadId: null,
    mentionedUsers: [],
    editedAt: null,
    deletedAt: null,
    isPinned: false,
    reactions: [],
    asked: [],
    status: "sent",
    error: null,
    ...fields,
  };
}

const DELETED = message({ content: "", deletedAt: "2026-01-02T10:05:00" });

describe("what somebody may do", () => {
  const may = (of: MessageView, me: string, role: string): string =>
    Object.entries(permissionsOf(of, me, role))
      .flatMap(([name, allowed]) => (allowed ? name : []))
      .join();

  it("depends on who wrote it and on the role in the channel", () => {
    expect(may(message(), "dana", "MEMBER")).toBe("react,edit,delete");
    expect(may(message(), "marek", "MEMBER")).toBe("react");
    for (const role of ["MODERATOR", "ADMIN", "OWNER"]) expect(may(message(), "tom", role)).toBe("react,delete,pin");
    expect(may(message(), "dana", "OWNER")).toBe("react,edit,delete,pin");
    expect(may(message(), "marek", "A_ROLE_OF_LATER")).toBe("react");
  });

  it("is nothing with what is not there", () => {
    expect(may(DELETED, "dana", "OWNER")).toBe("");
    expect(may(message({ status: "pending", id: null }), "dana", "OWNER")).toBe("");
  });
});

describe("what was asked is shown as if it were so", () => {
  it("for an edit and a pin, with a word that says so", () => {
    expect(shown(message())).toEqual({ content: "hello", reactions: [], state: null });
    expect(shown(message({ asked: [{ kind: "edit", content: "bye" }] }))).toMatchObject({ content: "bye", state: "Saving…" });
    expect(shown(message({ asked: [{ kind: "pin", pinned: false }] })).state).toBe("Unpinning…");
    expect(shown(message({ asked: [{ kind: "delete" }] }))).toMatchObject({ content: "hello", state: "Deleting…" });
  });

  it("for reactions, each one in its turn", () => {
    const toggle = { kind: "react", reaction: "👍" } as const;
    const of = (...asked: MessageView["asked"]): string[] =>
      shown(message({ reactions: [THUMBS], asked })).reactions.map(
        ({ reaction, count, mine, pending }) => `${reaction}${count}${mine ? " mine" : ""}${pending ? " pending" : ""}`,
      );
    expect(of()).toEqual(["👍2 mine"]);
    expect(of(toggle)).toEqual(["👍1 pending"]);
    expect(of(toggle, toggle)).toEqual(["👍2 mine pending"]);
    expect(of({ kind: "react", reaction: "✅" })).toEqual(["👍2 mine", "✅1 mine pending"]);
  });

  it("but a tombstone stays one", () => {
    expect(shown({ ...DELETED, asked: [{ kind: "edit", content: "bye" }] }).content).toBe("");
    expect(contentOf(DELETED)).toBe("Message deleted");
  });
});

describe("words", () => {
  it("name people, and count those whose names are not known", () => {
    expect(peopleLine(["You"], 1)).toBe("You");
    expect(peopleLine(["You", "Dana"], 2)).toBe("You and Dana");
    expect(peopleLine(["You", "Dana", "Ines"], 3)).toBe("You, Dana and Ines");
    expect(peopleLine(["You", "Dana"], 3)).toBe("You, Dana and 1 other");
    expect(peopleLine([], 25)).toBe("25 others");
    expect(repliesLine(1)).toBe("1 reply");
    expect(repliesLine(2)).toBe("2 replies");
  });

  it("count the replies of each thread that are still there", () => {
    const reply = (key: string, fields: Partial<MessageView> = {}): MessageView => message({ key, threadId: "a", ...fields });
    const all = [message(), reply("b"), reply("c"), reply("d", { deletedAt: "2026-01-02T10:05:00" }), reply("e", { threadId: "b" })];
    expect([...repliesOf(all)]).toEqual([["a", 2], ["b", 1]]);
  });
});
