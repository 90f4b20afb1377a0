import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  // The server names the page's place by a base element, so that one build fits any base path.
  base: "./",
  plugins: [react()],
  // The page's security policy has no place for inlined resources.
  build: { outDir: "dist", emptyOutDir: true, assetsInlineLimit: 0 },
});
