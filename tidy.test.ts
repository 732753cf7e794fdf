import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, test } from "vitest";

/** What the files of a room may do. A file belongs to the room with the longest name that its path begins with. */
interface Room {
  /** Rooms whose files it may import, besides its own; `doors` stands for the public doors only. */
  readonly rooms: readonly string[];
  /** Packages it may import; `node:*` stands for Node's own modules. */
  readonly packages: readonly string[];
  /** No `async`, no `await`: the runtime is the only room that waits. */
  readonly isSynchronous?: true;
  /** No clock, no chance, no input or output. */
  readonly isPure?: true;
}

const ENGINE = ["runtime", "stores", "topology", "serdes", "metrics"];

/** Optional: an application installs those that it uses. */
const CODECS = ["kafkajs-snappy", "lz4-napi", "@mongodb-js/zstd"];

const ROOMS: Readonly<Record<string, Room>> = {
  // Of crypto serdes and topology take hashes; chance is refused by isPure.
  serdes: { rooms: [], packages: ["@standard-schema/spec", "avsc", "node:crypto"], isSynchronous: true, isPure: true },
  // The one part of serdes that asks somebody else: before and between records, never for one.
  "serdes/schema-registry.ts": { rooms: ["serdes"], packages: [] },
  "serdes/registry-serdes.ts": { rooms: ["serdes", "serdes/schema-registry.ts"], packages: ["@standard-schema/spec"] },
  "serdes/index.ts": { rooms: ["serdes", "serdes/schema-registry.ts", "serdes/registry-serdes.ts"], packages: [] },
  metrics: { rooms: [], packages: ["prom-client"] },
  topology: { rooms: ["serdes", "metrics"], packages: ["node:crypto"], isSynchronous: true, isPure: true },
  stores: { rooms: ["topology", "serdes", "metrics"], packages: ["better-sqlite3", "node:*"], isSynchronous: true },
  runtime: { rooms: ["stores", "topology", "serdes", "metrics"], packages: ["@node-rs/crc32", "node:*", ...CODECS] },
  "runtime/kafkajs": { rooms: ENGINE, packages: ["kafkajs", "node:*"] },
  "runtime/embedded": { rooms: ENGINE, packages: ["better-sqlite3", "node:*"] },
  dashboard: { rooms: [...ENGINE, "dashboard/messages.ts"], packages: ["@dagrejs/dagre", "node:*"] },
  // What server and page say to each other: of neither.
  "dashboard/messages.ts": { rooms: [], packages: [] },
  // Runs in a browser; of uplot it takes the types, the program is a file beside it.
  "dashboard/page": { rooms: ["dashboard/messages.ts"], packages: ["uplot"] },
  testing: { rooms: ENGINE, packages: ["node:*"] },
  "testing/simulation": { rooms: [...ENGINE, "serdes/index.ts", "runtime/embedded"], packages: ["node:*"] },
  // Stands above everything: it runs the app against an enemy and an oracle of its own.
  "testing/chaos": {
    rooms: ["apps/purchase", "bench", "testing/kafka", "runtime", "runtime/kafkajs"],
    packages: ["cli-table3", "log-update", "picocolors", "node:*"],
  },
  // The broker of the tests comes before everything it tests.
  "testing/kafka": { rooms: [], packages: ["kafkajs", "vitest", "node:*"] },
  "index.ts": { rooms: [...ENGINE, "runtime/kafkajs", "runtime/embedded"], packages: [] },
  "apps/purchase": {
    rooms: ["doors"],
    packages: ["cli-progress", "cli-table3", "commander", "log-update", "picocolors", "pino", "zod", "node:*"],
  },
  // What users write: the doors, and the client library they have anyway.
  examples: { rooms: ["doors"], packages: ["kafkajs", "zod", "node:*"] },
  // Stands above everything: it runs the app, compares the engine with a bare loop over the same parts, starts brokers.
  bench: {
    rooms: [
      ...["doors", "apps/purchase", "testing", "testing/kafka"],
      ...[...ENGINE, "serdes/schema-registry.ts", "runtime/kafkajs", "runtime/embedded"],
    ],
    packages: ["better-sqlite3", "cli-progress", "cli-table3", "prom-client", "node:*"],
  },
  // Writes and tests what looks at a running application: nothing of it is in the package.
  monitoring: { rooms: ["metrics"], packages: ["@grafana/grafana-foundation-sdk", "node:*"] },
  "vitest.config.ts": { rooms: [], packages: ["vitest", "node:*"] },
  "tidy.test.ts": { rooms: [], packages: ["typescript"] },
  "readme.test.ts": { rooms: ["doors"], packages: ["typescript"] },
  // Each rule of docs/protocol.md has its test.
  "protocol.test.ts": { rooms: [], packages: [] },
  // Compares the pages with the tables that they tell of.
  "docs.test.ts": { rooms: ["apps/purchase", "metrics"], packages: ["typescript"] },
};

/** Tests stand above everything: nothing imports them, so besides their room's own they may use these, and rooms inside it. */
const TESTS: Room = {
  rooms: ["doors", "testing", "testing/kafka", "bench"],
  // The registry client reads what our serdes write, and the other way round.
  packages: ["vitest", "fast-check", "zod", "@kafkajs/confluent-schema-registry", "playwright-core", "yaml", "node:*"],
};

const DOORS: Readonly<Record<string, string>> = {
  millrace: "index.ts",
  "millrace/serdes": "serdes/index.ts",
  "millrace/testing": "testing/index.ts",
  "millrace/metrics": "metrics/index.ts",
  "millrace/dashboard": "dashboard/index.ts",
};

const FUNCTION_LINES_MAX = 70;
const FILE_LINES_MAX = 450;

/** What needs a clock, chance, input or output; for the pure rooms. */
const IMPURE = new Set([
  ...["Date.now", "new Date()", "Math.random", "performance", "process", "console", "fetch"],
  ...["randomUUID", "randomBytes", "randomInt"],
  ...["setTimeout", "setInterval", "setImmediate", "queueMicrotask"],
]);

/** Path from the root, with forward slashes, and text of each file. */
type Sources = Readonly<Record<string, string>>;

function violations(texts: Sources): string[] {
  const files = Object.entries(texts).map(([path, text]) =>
    ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true),
  );
  return [
    ...files.flatMap((file) => importFaults(file)),
    ...circles(new Map(files.map((file) => [file.fileName, importsOf(file).map((found) => found.target)]))),
    ...files.flatMap((file) => codeFaults(file)),
    ...files.filter((file) => !isTest(file.fileName)).flatMap((file) => lengthFaults(file)),
  ];
}

function isTest(path: string): boolean {
  return /\.(test|suite|test-d)\.ts$/.test(path);
}

function roomOf(path: string): string | undefined {
  const rooms = Object.keys(ROOMS).filter((room) => path === room || path.startsWith(`${room}/`));
  return rooms.sort((a, b) => b.length - a.length)[0];
}

function at(file: ts.SourceFile, node: ts.Node): string {
  return `${file.fileName}:${file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1}`;
}

function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}

interface Import {
  readonly node: ts.Node;
  /** A file of ours as its path, else the specifier. */
  readonly target: string;
  readonly isOurs: boolean;
}

function importsOf(file: ts.SourceFile): Import[] {
  const found: Import[] = [];
  walk(file, (node) => {
    const specifier = specifierOf(node);
    if (specifier !== undefined) found.push({ node, ...resolved(file.fileName, specifier) });
  });
  return found;
}

/** Every form there is: import, export from, import(), import("…").Type, import = require(), require() and require.resolve(). */
function specifierOf(node: ts.Node): string | undefined {
  const text = (found: ts.Node | undefined): string | undefined =>
    found !== undefined && ts.isStringLiteralLike(found) ? found.text : undefined;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return text(node.moduleSpecifier);
  if (ts.isExternalModuleReference(node)) return text(node.expression);
  if (ts.isImportTypeNode(node)) return ts.isLiteralTypeNode(node.argument) ? text(node.argument.literal) : undefined;
  if (!ts.isCallExpression(node)) return undefined;
  const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword;
  return isImport || /^require(\.resolve)?$/.test(node.expression.getText()) ? text(node.arguments[0]) : undefined;
}

function resolved(importer: string, specifier: string): { target: string; isOurs: boolean } {
  const door = DOORS[specifier];
  if (door !== undefined) return { target: door, isOurs: true };
  if (!specifier.startsWith(".")) return { target: specifier, isOurs: false };
  const path = normalize(join(dirname(importer), specifier)).replaceAll("\\", "/");
  return { target: path.replace(/\.js$/, ".ts"), isOurs: true };
}

function importFaults(file: ts.SourceFile): string[] {
  const room = roomOf(file.fileName);
  if (room === undefined) return [`${file.fileName}: stands in no room; add one to ROOMS in tidy.test.ts`];
  const faults = importsOf(file)
    .filter((found) => !mayImport(file.fileName, room, found))
    .map((found) => `${at(file, found.node)}: ${room} may not import ${found.target}`);
  const isStrayDoor = /(^|\/)index\.ts$/.test(file.fileName) && !Object.values(DOORS).includes(file.fileName);
  if (isStrayDoor)
    faults.push(`${file.fileName}: an index.ts that is no public door; import from the file that has it`);
  return faults;
}

function mayImport(importer: string, room: string, { target, isOurs }: Import): boolean {
  const own = ROOMS[room] as Room;
  const rooms = [room, ...own.rooms, ...(isTest(importer) ? TESTS.rooms : [])];
  const packages = [...own.packages, ...(isTest(importer) ? TESTS.packages : [])];
  if (!isOurs)
    return packages.includes(packageOf(target)) || (target.startsWith("node:") && packages.includes("node:*"));
  if (isTest(target) && !isTest(importer)) return false;
  const targetRoom = roomOf(target);
  if (targetRoom === undefined) return false;
  const isInside = isTest(importer) && targetRoom.startsWith(`${room}/`);
  return rooms.includes(targetRoom) || isInside || (rooms.includes("doors") && Object.values(DOORS).includes(target));
}

function packageOf(specifier: string): string {
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

function circles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const found = new Map<string, string>();
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    const start = path.indexOf(file);
    if (start >= 0) {
      const circle = path.slice(start);
      found.set([...circle].sort().join(), `${[...circle, file].join(" -> ")}: an import circle`);
    }
    if (start >= 0 || done.has(file)) return;
    path.push(file);
    for (const target of imports.get(file) ?? []) visit(target);
    path.pop();
    done.add(file);
  };
  for (const file of imports.keys()) visit(file);
  return [...found.values()];
}

function codeFaults(file: ts.SourceFile): string[] {
  const faults: string[] = [];
  const room = isTest(file.fileName) ? undefined : ROOMS[roomOf(file.fileName) ?? ""];
  walk(file, (node) => {
    if (node.kind === ts.SyntaxKind.AnyKeyword) faults.push(`${at(file, node)}: any; say what it is, or unknown`);
    if (isEmptyCatch(node))
      faults.push(`${at(file, node)}: an empty catch; handle the error, count it or let it go up`);
    if (room?.isSynchronous === true && (node.kind === ts.SyntaxKind.AsyncKeyword || ts.isAwaitExpression(node))) {
      faults.push(`${at(file, node)}: ${node.getText(file).split("\n")[0]}: only the runtime waits`);
    }
    if (room?.isPure === true && isImpure(node)) {
      faults.push(`${at(file, node)}: ${node.getText(file)}: this room has no clock, no chance, no input or output`);
    }
  });
  return faults;
}

function isEmptyCatch(node: ts.Node): boolean {
  if (ts.isCatchClause(node)) return node.block.statements.length === 0;
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return false;
  const handler = node.expression.name.text === "catch" ? node.arguments[0] : undefined;
  if (handler === undefined || !(ts.isArrowFunction(handler) || ts.isFunctionExpression(handler))) return false;
  if (ts.isBlock(handler.body)) return handler.body.statements.length === 0;
  return handler.body.getText() === "undefined" && !saysWhy(node);
}

/** Whether a comment stands above the statement: dropping an error needs a reason in words. */
function saysWhy(node: ts.Node): boolean {
  const statement = ts.findAncestor(node, ts.isStatement);
  if (statement === undefined) return false;
  return (ts.getLeadingCommentRanges(node.getSourceFile().text, statement.getFullStart()) ?? []).length > 0;
}

function isImpure(node: ts.Node): boolean {
  if (ts.isNewExpression(node)) return IMPURE.has(node.getText());
  if (ts.isPropertyAccessExpression(node)) return IMPURE.has(node.getText());
  if (!ts.isIdentifier(node) || !IMPURE.has(node.text)) return false;
  const { parent } = node;
  // A member or a key that happens to have the name of a global.
  const isMember =
    (ts.isPropertyAccessExpression(parent) || ts.isQualifiedName(parent)) && node !== parent.getChildAt(0);
  return !isMember && !(ts.isNamedTupleMember(parent) || ("name" in parent && parent.name === node));
}

function lengthFaults(file: ts.SourceFile): string[] {
  const lines = (node: ts.Node): number => {
    const first = file.getLineAndCharacterOfPosition(node.getStart(file)).line;
    return file.getLineAndCharacterOfPosition(node.getEnd()).line - first + 1;
  };
  const faults: string[] = [];
  const fileLines = file.text.split("\n").length - 1;
  if (fileLines > FILE_LINES_MAX) faults.push(`${file.fileName}: ${fileLines} lines; at most ${FILE_LINES_MAX}`);
  walk(file, (node) => {
    if (!ts.isFunctionLike(node) || lines(node) <= FUNCTION_LINES_MAX) return;
    const name = node.name?.getText(file) ?? "a function";
    faults.push(`${at(file, node)}: ${name} has ${lines(node)} lines; at most ${FUNCTION_LINES_MAX}`);
  });
  return faults;
}

const SKIPPED = new Set(["node_modules", "dist", "state", "coverage"]);

function sourcesBelow(root: string, folder = ""): Sources {
  const sources: Record<string, string> = {};
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.name.startsWith(".") || SKIPPED.has(entry.name)) continue;
    if (entry.isDirectory()) Object.assign(sources, sourcesBelow(root, path));
    else if (path.endsWith(".ts")) sources[path] = readFileSync(join(root, path), "utf8");
  }
  return sources;
}

test("the sources keep the house in order", () => {
  const sources = sourcesBelow(fileURLToPath(new URL(".", import.meta.url)));
  expect(Object.keys(sources)).toContain("topology/record.ts");
  expect(violations(sources)).toEqual([]);
  // It parses every source: 3 s alone, over 20 on a machine that is busy with other tests.
}, 120_000);

describe("imports", () => {
  const rejected: readonly [rule: string, path: string, text: string][] = [
    ["a lower room imports no higher one", "topology/dsl.ts", 'import { StreamTask } from "../runtime/task.js";'],
    ["a type import counts", "stores/x.ts", 'import type { Transport } from "../runtime/transport.js";'],
    ["an import type counts", "stores/x.ts", 'type T = import("../runtime/transport.js").Transport;'],
    ["an export from counts", "serdes/x.ts", 'export * from "../topology/record.js";'],
    ["a dynamic import counts", "topology/x.ts", 'const task = import("../runtime/task.js");'],
    ["the ground rooms import nothing of ours", "metrics/x.ts", 'import { string } from "../serdes/serde.js";'],
    [
      "the runtime knows its port, not a transport",
      "runtime/x.ts",
      'import { KafkaJsTransport } from "./kafkajs/transport.js";',
    ],
    ["a transport knows no other one", "runtime/kafkajs/x.ts", 'import { turn } from "../embedded/turn.js";'],
    ["kafkajs stays in runtime/kafkajs", "runtime/x.ts", 'import { Kafka } from "kafkajs";'],
    ["a file inside kafkajs is kafkajs", "runtime/x.ts", 'import broker from "kafkajs/src/broker/index.js";'],
    ["a required package counts", "runtime/x.ts", 'const kafkajs = require("kafkajs");'],
    ["a resolved package counts", "runtime/x.ts", 'const path = require.resolve("kafkajs");'],
    ["the app does not bring its own kafkajs", "apps/purchase/x.ts", 'import { Kafka } from "kafkajs";'],
    ["better-sqlite3 stays in stores and the embedded log", "runtime/x.ts", 'import Database from "better-sqlite3";'],
    ["the topology needs no module of Node", "topology/x.ts", 'import { readFileSync } from "node:fs";'],
    ["apps use doors, not rooms", "apps/purchase/x.ts", 'import { string } from "../../serdes/serde.js";'],
    ["production code imports no test", "runtime/x.ts", 'import { transportSuite } from "./transport.suite.js";'],
    ["production code needs no vitest", "runtime/x.ts", 'import { expect } from "vitest";'],
    ["a test does not lift its room's bounds", "topology/x.test.ts", 'import { Task } from "../runtime/task.js";'],
    ["a file needs a room", "misc/x.ts", "export const one = 1;"],
    ["an index.ts is a public door", "runtime/index.ts", "export const one = 1;"],
  ];
  for (const [rule, path, text] of rejected) {
    test(rule, () => {
      expect(violations({ [path]: text })).toEqual([expect.stringContaining(path)]);
    });
  }

  const allowed: readonly [rule: string, path: string, text: string][] = [
    ["a higher room imports a lower one", "runtime/x.ts", 'import { count } from "../topology/aggregators.js";'],
    ["apps come through the doors", "apps/purchase/x.ts", 'import { string } from "millrace/serdes";'],
    ["an example reads with plain kafkajs", "examples/x.ts", 'import { Kafka } from "kafkajs";'],
    ["a test uses the test driver", "topology/x.test.ts", 'import { D } from "../testing/topology-test-driver.js";'],
    ["a test of the runtime runs on a transport", "runtime/x.test.ts", 'import { E } from "./embedded/transport.js";'],
  ];
  for (const [rule, path, text] of allowed) {
    test(rule, () => {
      expect(violations({ [path]: text })).toEqual([]);
    });
  }
});

describe("circles", () => {
  test("two files that need each other's types are a circle", () => {
    const sources = {
      "topology/a.ts": 'import type { B } from "./b.js";\nexport type A = B;',
      "topology/b.ts": 'import type { A } from "./a.js";\nexport type B = A;',
    };
    expect(violations(sources)).toEqual(["topology/a.ts -> topology/b.ts -> topology/a.ts: an import circle"]);
  });

  test("a circle is found behind files that are in none", () => {
    const sources = {
      "topology/a.ts": 'import "./b.js";\nimport "./d.js";',
      "topology/b.ts": 'import "./c.js";',
      "topology/c.ts": "",
      "topology/d.ts": 'import "./c.js";\nimport "./e.js";',
      "topology/e.ts": 'import "./d.js";',
    };
    expect(violations(sources)).toEqual(["topology/d.ts -> topology/e.ts -> topology/d.ts: an import circle"]);
  });

  test("a file that two others import is no circle", () => {
    const sources = {
      "topology/a.ts": 'import "./b.js";\nimport "./c.js";',
      "topology/b.ts": 'import "./c.js";',
      "topology/c.ts": "",
    };
    expect(violations(sources)).toEqual([]);
  });
});

describe("code", () => {
  const rejected: readonly [rule: string, path: string, text: string][] = [
    ["no any in a type", "runtime/x.ts", "export const a: any = 1;"],
    ["no any in an assertion", "runtime/x.ts", "export const a = (1 as any).b;"],
    ["no any in a test either", "runtime/x.test.ts", "export const a: any[] = [];"],
    ["no empty catch", "runtime/x.ts", "try { f(); } catch {}"],
    ["a comment does not fill a catch", "runtime/x.ts", "try { f(); } catch (error) {\n  // never mind\n}"],
    ["no promise that swallows its error", "runtime/x.ts", "f().catch(() => {});"],
    ["no promise that drops its error without a word", "runtime/x.ts", "f().catch(() => undefined);"],
    ["stores do not wait", "stores/x.ts", "export async function f() {}"],
    ["the topology asks no clock", "topology/x.ts", "export const now = Date.now();"],
    ["the topology makes no date of now", "topology/x.ts", "export const now = new Date();"],
    ["the topology takes no chance", "topology/x.ts", "export const id = Math.random();"],
    ["the topology prints nothing", "topology/x.ts", 'console.log("x");'],
    ["the topology sets no timer", "topology/x.ts", "setTimeout(f, 1);"],
  ];
  for (const [rule, path, text] of rejected) {
    test(rule, () => {
      expect(violations({ [path]: text })).toEqual([expect.stringContaining(`${path}:1:`)]);
    });
  }

  const allowed: readonly [rule: string, path: string, text: string][] = [
    ["the word any in text and comments is no any", "runtime/x.ts", '// any\nexport const a = "any";'],
    ["a catch that does something is none of ours", "runtime/x.ts", "try { f(); } catch (error) { g(error); }"],
    ["a dropped error has its reason above it", "runtime/x.ts", "// awaited later\nf().catch(() => undefined);"],
    ["the runtime waits and asks the clock", "runtime/x.ts", "export async function f() { return Date.now(); }"],
    ["a date of a given time is no clock", "topology/x.ts", "export const date = new Date(0).toISOString();"],
    [
      "a member may be named like a global",
      "topology/x.ts",
      "export const f = (node: N) => node.process({ process: 1 });",
    ],
  ];
  for (const [rule, path, text] of allowed) {
    test(rule, () => {
      expect(violations({ [path]: text })).toEqual([]);
    });
  }
});

describe("lengths", () => {
  const functionOf = (lines: number): string => `export function f() {\n${"  g();\n".repeat(lines - 2)}}\n`;

  test("a function has at most 70 lines", () => {
    expect(violations({ "runtime/x.ts": functionOf(70) })).toEqual([]);
    expect(violations({ "runtime/x.ts": functionOf(71) })).toEqual(["runtime/x.ts:1: f has 71 lines; at most 70"]);
  });

  test("a method has at most 70 lines", () => {
    const text = `class C {\n  m() {\n${"    g();\n".repeat(69)}  }\n}\n`;
    expect(violations({ "runtime/x.ts": text })).toEqual(["runtime/x.ts:2: m has 71 lines; at most 70"]);
  });

  test("a file has at most 450 lines", () => {
    expect(violations({ "runtime/x.ts": "g();\n".repeat(450) })).toEqual([]);
    expect(violations({ "runtime/x.ts": "g();\n".repeat(451) })).toEqual(["runtime/x.ts: 451 lines; at most 450"]);
  });

  test("tests and suites may be longer", () => {
    const text = functionOf(500);
    expect(violations({ "runtime/x.test.ts": text, "runtime/x.suite.ts": text })).toEqual([]);
  });
});
