import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: ".",
  outputDir: "artifacts/results",
  timeout: 60_000,
  // Each test owns a server; two cores are not enough for more than one.
  workers: 1,
  forbidOnly: true,
  reporter: "list",
  use: {
    viewport: { width: 1100, height: 760 },
    launchOptions: {
      // Debian's browser; the test tool's own cannot be installed everywhere.
      executablePath: "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"],
    },
  },
});
