import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { windowed } from "millrace/serdes";
import { TopologyTestDriver } from "millrace/testing";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL(".", import.meta.url));
const blocks = [...readFileSync(`${root}README.md`, "utf8").matchAll(/^```ts\n(.*?)^```$/gms)].map(
  (found) => found[1] ?? "",
);
const [topology = "", itsTest = ""] = blocks;
const folder = `${root}.cache/readme-${process.pid}`;

/** The statement that starts it on a broker, which is the last. */
const RUN = /^process\.exitCode = await run\(builder\.build\(\), \{$.*^\}\);$/ms;

function written(name: string, text: string): string {
  const path = `${folder}/${name}`;
  writeFileSync(path, text);
  return path;
}

/** What the compiler says of each file, by path: one program for all, because most of its time goes into the libraries. */
function compiled(paths: readonly string[]): Map<string, string[]> {
  const config = `${root}tsconfig.json`;
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(config, ts.sys.readFile).config,
    ts.sys,
    root,
    {},
    config,
  );
  const program = ts.createProgram(paths, options);
  const faults = (path: string): string[] =>
    ts
      .getPreEmitDiagnostics(program, program.getSourceFile(path))
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
  return new Map(paths.map((path) => [path, faults(path)]));
}

let asItStands = "";
let withItsTest = "";
let faults = new Map<string, string[]>();

beforeAll(() => {
  mkdirSync(folder, { recursive: true });
  asItStands = written("topology.ts", topology);
  const imports = 'import { expect } from "vitest";\nimport { windowed } from "millrace/serdes";\n';
  withItsTest = written("with-its-test.ts", `${imports}${topology.replace(RUN, "")}\n${itsTest}`);
  faults = compiled([asItStands, withItsTest]);
}, 60_000);

afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe("the topology of the README", () => {
  test("it has under 25 lines and ends by running", () => {
    expect(topology.trimEnd().split("\n").length).toBeLessThan(25);
    expect(topology.trimEnd()).toMatch(RUN);
  });

  test("it compiles as it stands", () => {
    expect(faults.get(asItStands)).toEqual([]);
  });

  test("it sums per user and window, and keeps what is too late apart", async () => {
    const text = `${topology.replace(RUN, "")}\nexport { builder, Purchase };\n`;
    const { builder, Purchase } = (await import(written("run.ts", text))) as ReadmeModule;
    const driver = new TopologyTestDriver(builder.build(), { initialWallClockMs: Date.parse("2026-11-22T12:00:00Z") });
    const utf8 = {
      name: "text",
      serialize: (value: string) => Buffer.from(value),
      deserialize: (bytes: Uint8Array) => Buffer.from(bytes).toString(),
    };
    const purchases = driver.createInputTopic("purchases", utf8, utf8);
    const spent = driver.createOutputTopic("spent-per-user", windowed(utf8, { sizeMs: 300_000 }), utf8);
    const tooLate = driver.createOutputTopic("too-late", utf8, utf8);
    const purchase = (user: string, cents: number, timestamp: string): string => {
      const value = JSON.stringify(Purchase.parse({ cents, timestamp }));
      purchases.pipeInput(user, value);
      return value;
    };

    purchase("ann", 250, "2026-11-22T12:00:00Z");
    purchase("ann", 50, "2026-11-22T12:04:59Z");
    purchase("bob", 1_000, "2026-11-22T13:04:59Z");
    purchase("ann", 7, "2026-11-22T12:01:00Z");
    purchase("bob", 1, "2026-11-22T13:05:00Z");
    const refused = purchase("ann", 9, "2026-11-22T12:02:00Z");

    expect(spent.readRecordsToList().map(({ value }) => JSON.parse(value ?? ""))).toEqual([
      { user: "ann", from: "2026-11-22T12:00:00.000Z", purchases: 1, cents: 250 },
      { user: "ann", from: "2026-11-22T12:00:00.000Z", purchases: 2, cents: 300 },
      { user: "bob", from: "2026-11-22T13:00:00.000Z", purchases: 1, cents: 1_000 },
      { user: "ann", from: "2026-11-22T12:00:00.000Z", purchases: 3, cents: 307 },
      { user: "bob", from: "2026-11-22T13:05:00.000Z", purchases: 1, cents: 1 },
    ]);
    expect(tooLate.readKeyValuesToList()).toEqual([{ key: "ann", value: refused }]);
    driver.close();
  });

  test("its test compiles and passes", async () => {
    expect(faults.get(withItsTest)).toEqual([]);
    await import(withItsTest);
  });
});

interface ReadmeModule {
  readonly builder: { build(): ConstructorParameters<typeof TopologyTestDriver>[0] };
  readonly Purchase: { parse(value: unknown): unknown };
}
