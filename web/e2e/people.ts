/** What the tests do as a person: open a tab, write, look. */
import { type BrowserContext, type Locator, type Page, expect } from "@playwright/test";
import { BACKOFF_CAP_MS } from "../client/src/backoff.ts";
import type { System } from "./server.ts";

/** What one tab does must be seen in the other within this time. */
export const SOON = { timeout: 1000 };

/** A server that comes back is found again within this time: the longest wait between two attempts, and one attempt. */
export const BACK = { timeout: BACKOFF_CAP_MS + 5000 };

/** Opens a tab as a person and waits until it is online. */
export async function signIn(context: BrowserContext, server: System, person: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(server.as(person));
  await expect(dot(page)).toHaveAttribute("data-state", "online");
  return page;
}

export function dot(page: Page): Locator {
  return page.getByTestId("connection");
}

/** What says that the connection is away; which reason stands there depends on how far the next attempt got. */
export function trouble(page: Page): Locator {
  return page.getByText(/^(The connection was lost|The server cannot be reached\.|Connecting…)$/).and(page.locator("strong"));
}

export function messages(page: Page, text: string | RegExp): Locator {
  return page.getByTestId("message").filter({ hasText: text });
}

export function box(page: Page): Locator {
  return page.getByRole("textbox", { name: /^Message to/ });
}

export async function write(page: Page, text: string): Promise<void> {
  await box(page).fill(text);
  await box(page).press("Enter");
}

/** The contents of all messages, in the order shown. */
export function order(page: Page): Promise<string[]> {
  return page.locator(".content").allTextContents();
}

/** Returns a list that fills with what the page complains about, such as a refused style or a fault in a script. */
export function complaints(page: Page): string[] {
  const heard: string[] = [];
  page.on("pageerror", (error) => heard.push(String(error)));
  page.on("console", (line) => {
    if (line.type() === "error" || line.type() === "warning") heard.push(line.text());
  });
  return heard;
}
