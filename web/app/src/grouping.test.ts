import type { MessageView } from "@safeshipper/client";
import { describe, expect, it } from "vitest";
import { grouped } from "./grouping.ts";
import { day, initials, roleName, typingLine } from "./names.ts";

function message(key: string, senderId: string, createdAt: string, isEmergency = false): MessageView {
  return {
    key,
    id: key,
    seq: 1,
    senderId,
    senderName: senderId,
    content: key,
    createdAt,
    messageType: "TEXT",
    priority: "NORMAL",
    isEmergency,
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
  };
}

describe("messages stand together", () => {
  it("by sender, time, day and urgency", () => {
    const groups = grouped([
      message("a", "dana", "2026-01-02T10:00:00"),
      message("b", "dana", "2026-01-02T10:04:00"),
      message("c", "dana", "2026-01-02T10:10:00"),
      message("d", "marek", "2026-01-02T10:10:01"),
      message("e", "marek", "2026-01-02T10:10:02", true),
      message("f", "marek", "2026-01-03T10:10:02", true),
    ]);
    expect(groups.map((group) => group.messages.map((one) => one.key).join(""))).toEqual(["ab", "c", "d", "e", "f"]);
    expect(groups.map((group) => group.beginsDay)).toEqual([true, false, false, false, true]);
  });

  it("not at all when there are none", () => {
    expect(grouped([])).toEqual([]);
  });
});

describe("words", () => {
  it("are readable", () => {
    expect(roleName("COMPLIANCE_OFFICER")).toBe("Compliance officer");
    expect(initials("Ines van der Okafor")).toBe("IO");
    expect(initials("dana")).toBe("D");
    expect(initials("")).toBe("");
    expect(typingLine([])).toBe("");
    expect(typingLine(["Dana"])).toBe("Dana is typing…");
    expect(typingLine(["Dana", "Marek"])).toBe("Dana and Marek are typing…");
    expect(typingLine(["Dana", "Marek", "Ines"])).toBe("Several people are typing…");
  });

  it("name the day", () => {
    const now = new Date("2026-01-03T00:30:00");
    expect(day("2026-01-03T00:10:00", now)).toBe("Today");
    expect(day("2026-01-02T23:50:00", now)).toBe("Yesterday");
    expect(day("2025-12-24T12:00:00", now)).toContain("24");
  });
});
