import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";
import * as settingTable from "./apps/purchase/setting-table.js";
import { METRICS } from "./metrics/table.js";

const root = fileURLToPath(new URL(".", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

/** The first cell of each row of the tables in a page, without its backquotes. */
function rowsOf(page: string): string[] {
  return [...read(page).matchAll(/^\| `([^`]+)` \|/gm)].map((found) => found[1] ?? "");
}

function pages(): string[] {
  const docs = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" });
  return [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    ...docs.filter((name) => name.endsWith(".md")).map((name) => join("docs", name)),
  ];
}

test("the README lists every setting of the app that is there", () => {
  const settings = Object.values(settingTable).flatMap((group) => Object.values(group));
  const variables = settings.filter(({ help }) => help !== "not there yet").map(({ variable }) => variable);
  for (const variable of new Set(variables))
    if (variable !== undefined) expect(rowsOf("README.md")).toContain(variable);
});

test("docs/metrics.md lists every metric", () => {
  expect(rowsOf("docs/metrics.md")).toEqual(expect.arrayContaining(Object.keys(METRICS)));
});

test("docs/configuration.md lists every key of StreamsConfig, and no other", () => {
  const file = ts.createSourceFile("config.ts", read("runtime/config.ts"), ts.ScriptTarget.Latest, true);
  const config = file.statements.filter(ts.isInterfaceDeclaration).find(({ name }) => name.text === "StreamsConfig");
  const keys = config?.members.map((member) => member.name?.getText() ?? "") ?? [];
  expect(keys).toContain("applicationId");
  expect(new Set(rowsOf("docs/configuration.md"))).toEqual(new Set(keys));
});

test("every bound in docs/configuration.md is a constant of the file that it names", () => {
  const bounds = [...read("docs/configuration.md").matchAll(/\| `([A-Z_]+)` \| `([a-z/.-]+)` \|$/gm)];
  expect(bounds.length).toBeGreaterThan(20);
  for (const [, constant, file] of bounds) expect(read(file ?? ""), file).toMatch(new RegExp(`const ${constant} = `));
});

test("every link of a page leads to a file and a heading that exist", () => {
  const anchors = (path: string): string[] =>
    [...read(path).matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
      title
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-"),
    );
  for (const page of pages()) {
    for (const [, target = ""] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? page : join(dirname(page), path);
      expect(existsSync(join(root, file)), `${page} links to ${target}`).toBe(true);
      if (anchor !== undefined) expect(anchors(file), `${page} links to ${target}`).toContain(anchor);
    }
  }
});

test("every file that a page names in code exists", () => {
  const isPath = /^(apps|bench|docs|examples|metrics|runtime|serdes|stores|testing|topology)\/[\w/.-]+\.\w+$/;
  for (const page of pages()) {
    for (const [, text = ""] of read(page).matchAll(/`([^`\n]+)`/g)) {
      if (isPath.test(text)) expect(existsSync(join(root, text)), `${page} names ${text}`).toBe(true);
    }
  }
});
