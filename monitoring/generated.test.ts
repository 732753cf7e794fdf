import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { GENERATED } from "./generated.js";

test.each(Object.entries(GENERATED))("%s is what the code generates: npm run generate", (path, text) => {
  expect(readFileSync(new URL(`../${path}`, import.meta.url), "utf8")).toBe(text());
});
