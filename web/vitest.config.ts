import { defineConfig } from "vitest/config";

// Vitest needs this to print failures, and Node 20 lacks it: without it a failing test would not say why.
if (!Object.hasOwn(Map, "groupBy")) Object.assign(Map, { groupBy });

function groupBy<K, V>(items: Iterable<V>, keyOf: (item: V, index: number) => K): Map<K, V[]> {
  const groups = new Map<K, V[]>();
  for (const [index, item] of [...items].entries()) {
    const key = keyOf(item, index);
    groups.set(key, [...(groups.get(key) ?? []), item]);
  }
  return groups;
}

export default defineConfig({
  test: {
    include: ["client/**/*.test.ts", "react/**/*.test.{ts,tsx}", "app/**/*.test.{ts,tsx}"],
  },
});
