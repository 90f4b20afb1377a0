/** Who one is. */
import { expect, test } from "@playwright/test";
import { dot } from "./people.ts";
import { Server } from "./server.ts";

let server: Server;

test.afterEach(() => server.remove());

test("a person is chosen, and a wrong one is named", async ({ page }) => {
  server = new Server();
  await server.start();
  await page.goto(server.as("nobody"));
  await expect(page.getByRole("alert")).toContainText("nobody");
  await page.screenshot({ path: "e2e/artifacts/chooser.png" });
  await page.getByRole("link", { name: /Marek Novak/ }).click();
  await expect(dot(page)).toHaveAttribute("data-state", "online");
  await expect(page.locator(".me")).toContainText("Marek Novak");
  await page.getByRole("link", { name: "Switch" }).click();
  await expect(page.getByRole("link")).toHaveCount(4);
  await expect(page.getByRole("alert")).toHaveCount(0);
});

test("a server that is not for development says that signing in is not available", async ({ page }) => {
  server = new Server({ DEBUG: "false", BROKER: "embedded", SECRET_KEY: "of this test and of nothing else in the world" });
  await server.start();
  await page.goto(server.as("driver-1"));
  await expect(page.getByRole("heading", { name: "Signing in is not possible here" })).toBeVisible();
  await expect(page.getByRole("alert")).toContainText("development servers only");
  await expect(page.getByRole("button")).toHaveCount(0);
});
