import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const RULES = 25;

const read = (path: string): string => readFileSync(fileURLToPath(new URL(path, import.meta.url)), "utf8");

interface Row {
  readonly rule: number;
  readonly test: string;
  readonly file: string;
}

const rows: readonly Row[] = [
  ...read("docs/protocol.md").matchAll(/^\| (\d+) \| [^|]+ \| ([^|]+) \| `([^`]+)` \|$/gm),
].map(([, rule, name = "", file = ""]) => ({ rule: Number(rule), test: name, file }));

test("every rule of the protocol names a test, and has its place in the table", () => {
  expect(rows.map(({ rule }) => rule)).toEqual(Array.from({ length: RULES }, (_, at) => at + 1));
});

test.each(rows)("protocol $rule: $test", ({ test: name, file }) => {
  expect(existsSync(fileURLToPath(new URL(file, import.meta.url))), file).toBe(true);
  expect(read(file)).toContain(`"${name}"`);
});
