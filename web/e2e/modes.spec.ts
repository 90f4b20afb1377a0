/** Two people in two tabs of a real browser, in each mode: they cannot tell which one it is. */
import { type Browser, type Page, expect, test } from "@playwright/test";
import { Fleet } from "./fleet.ts";
import { BACK, SOON, box, complaints, dot, messages, order, signIn, write } from "./people.ts";
import { Server, type System } from "./server.ts";

const MODES: readonly (readonly [string, () => System])[] = [
  ["embedded", () => new Server()],
  ["on NATS", () => new Fleet()],
];

let server: System;

test.afterEach(() => server.remove());

async function open(browser: Browser, person: string): Promise<Page> {
  return signIn(await browser.newContext(), server, person);
}

for (const [mode, make] of MODES) {
  test(`${mode}: message, typing and reply appear in the other tab within a second`, async ({ browser }) => {
    server = make();
    await server.start();
    const [dana, ines] = [await open(browser, "driver-1"), await open(browser, "dispatcher-1")];
    const heard = complaints(dana);
    await expect(messages(ines, "UN 1203")).toBeVisible();

    await box(dana).pressSequentially("Smoke at gate 4");
    await expect(ines.getByText("Dana Reyes is typing…")).toBeVisible(SOON);
    await box(dana).press("Enter");
    await expect(messages(ines, "Smoke at gate 4")).toBeVisible(SOON);
    await expect(messages(dana, "Smoke at gate 4")).toHaveAttribute("data-status", "sent", SOON);
    await expect(ines.getByText("Dana Reyes is typing…")).toBeHidden(SOON);

    const asked = messages(ines, "Smoke at gate 4");
    await asked.hover();
    await asked.getByRole("button", { name: "Reply to Dana Reyes" }).click();
    await expect(ines.locator(".replying")).toContainText("Smoke at gate 4");
    await write(ines, "On my way");
    await expect(ines.locator(".replying")).toHaveCount(0);
    const reply = messages(dana, "On my way");
    await expect(reply).toBeVisible(SOON);
    await expect(reply.locator(".quote")).toContainText("You Smoke at gate 4");
    await expect(messages(dana, "Smoke at gate 4").and(dana.locator(":not(:has(.quote))"))).toHaveCount(1);

    await dana.reload();
    await expect(dot(dana)).toHaveAttribute("data-state", "online");
    expect(heard, "nothing is refused by the page's policy, nothing fails").toEqual([]);
  });

  test(`${mode}: a kill of the server loses nothing and repeats nothing`, async ({ browser }) => {
    // Three falls in a row are one long trouble to a page: it may wait for the longest time in each.
    test.slow();
    server = make();
    await server.start();
    const [dana, ines] = [await open(browser, "driver-1"), await open(browser, "dispatcher-1")];
    const pages = [dana, ines];
    const written: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      for (let n = 0; n < 5; n += 1) {
        for (const [who, page] of [["dana", dana] as const, ["ines", ines] as const]) {
          written.push(`${who} ${round}.${n}.`);
          await write(page, `${who} ${round}.${n}.`);
        }
      }
      // Whatever is on its way now is cut off.
      await server.kill();
      for (const page of pages) await expect(dot(page)).toHaveAttribute("data-state", "waiting");
      written.push(`offline ${round}.`);
      await write(dana, `offline ${round}.`);
      await expect(messages(dana, `offline ${round}.`)).toHaveAttribute("data-status", "pending");
      await server.start();
      for (const page of pages) await expect(dot(page)).toHaveAttribute("data-state", "online", BACK);
    }
    for (const page of pages) {
      for (const text of written) await expect(messages(page, text), text).toHaveCount(1, BACK);
      await expect(page.locator('[data-testid="message"]:not([data-status="sent"])')).toHaveCount(0, BACK);
    }
    expect(await order(dana)).toEqual(await order(ines));
    // What a fresh tab reads from history is the same again.
    const marek = await open(browser, "driver-2");
    await expect(messages(marek, written.at(-1) ?? "")).toHaveCount(1);
    expect(await order(marek)).toEqual(await order(dana));
  });
}
