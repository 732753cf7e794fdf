import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

// The apps and examples import the package by its name; in tests that is the source, not a build that may be old.
const alias = [
  { find: /^millrace$/, replacement: source("index.ts") },
  { find: /^millrace\/(serdes|testing|metrics|dashboard)$/, replacement: source("$1/index.ts") },
];

export default defineConfig({
  test: {
    // vitest leaves one core free by default, which on two is half of them.
    maxWorkers: "100%",
    projects: [
      {
        resolve: { alias },
        test: {
          name: "unit",
          include: ["**/*.test.ts"],
          exclude: ["**/node_modules/**", "dist/**", "**/*.kafka.test.ts", "**/*.sim.test.ts"],
          testTimeout: 20_000,
        },
      },
      {
        resolve: { alias },
        test: {
          name: "sim",
          include: ["**/*.sim.test.ts"],
          exclude: ["**/node_modules/**", "dist/**"],
          testTimeout: 240_000,
        },
      },
      {
        resolve: { alias },
        test: {
          name: "kafka",
          include: ["**/*.kafka.test.ts"],
          exclude: ["**/node_modules/**", "dist/**"],
          globalSetup: ["testing/kafka/global-setup.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
