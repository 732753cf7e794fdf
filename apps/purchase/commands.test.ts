import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { runCommand } from "./commands.js";

class Output {
  text = "";
  readonly isTTY = false;
  write(text: string): boolean {
    this.text += text;
    return true;
  }
}

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

async function command(line: string, environment: Record<string, string> = {}): Promise<Ended> {
  const [out, error] = [new Output(), new Output()];
  const stream = (output: Output): NodeJS.WriteStream => output as unknown as NodeJS.WriteStream;
  const code = await runCommand(
    line.split(" ").filter((word) => word !== ""),
    { stdout: stream(out), stderr: stream(error), environment },
  );
  return { code, out: out.text, error: error.text };
}

const TOOLS = ["lag", "query", "doctor", "reset", "config", "completion"];

test("--help lists the commands and ends well; each command has examples", async () => {
  const { code, out } = await command("--help");
  expect(code).toBe(0);
  for (const name of ["run", "produce", "demo", "live", "topology", ...TOOLS]) {
    expect(out).toMatch(new RegExp(`^ {2}${name} `, "m"));
    const help = await command(`${name} --help`);
    expect(help.code).toBe(0);
    expect(help.out).toContain("Examples:");
  }
});

test("--version is the package's, and nothing else", async () => {
  const file = new URL("../../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { readonly version: string };
  expect(await command("--version")).toEqual({ code: 0, out: `${version}\n`, error: "" });
});

test("every command that says something speaks JSON as well", async () => {
  for (const name of ["run", "produce", "demo", "live", "topology", ...TOOLS.filter((tool) => tool !== "completion")])
    expect((await command(`${name} --help`)).out).toMatch(/^ {2}--json /m);
});

test.each(["", "bogus", "demo --bogus", "topology --format svg", "demo --count"])(
  "`purchase %s` is a usage error",
  async (line) => {
    const { code, error } = await command(line);
    expect(code).toBe(2);
    expect(error).not.toBe("");
  },
);

test.each(["run", "produce", "live", "lag", "reset"])(
  "`%s` without a broker says so in one line, and names demo",
  async (name) => {
    const { code, error } = await command(name);
    expect(code).toBe(2);
    expect(error.trimEnd().split("\n")).toEqual([expect.stringMatching(/^KAFKA_BROKERS: .*demo/)]);
  },
);

test("every wrong setting has a line of its own", async () => {
  const { code, error } = await command("run --threads 0 --kafka-brokers x:1", {
    PROCESSING_GUARANTEE: "twice",
    HTTP_PORT: "x",
  });
  expect(code).toBe(2);
  expect(error.trimEnd().split("\n")).toEqual([
    expect.stringMatching(/^THREADS \(--threads\): /),
    expect.stringMatching(/^PROCESSING_GUARANTEE: /),
    expect.stringMatching(/^HTTP_PORT: /),
  ]);
});

test("the difference to a state directory that is not there is one line that names it", async () => {
  const { code, error } = await command("topology --diff /nowhere/at/all");
  expect(code).toBe(1);
  expect(error).toMatch(/^purchase: there is no state of "purchases": \/nowhere\/at\/all\/purchases\n$/);
});

test("the topology is printed in every format, without a broker", async () => {
  const text = await command("topology");
  expect(text.code).toBe(0);
  expect(text.out).toContain("Sub-topology: 0");
  expect(text.out).toContain("purchase-aggregates");
  expect(JSON.parse((await command("topology --format json --output-topic sums")).out)).toBeTypeOf("object");
  expect((await command("topology --format mermaid")).out).toMatch(/^(flowchart|graph) /);
  expect((await command("topology --format dot")).out).toMatch(/^digraph /);
});

test("config shows each setting with its source, and no secret", async () => {
  const environment = { COMMIT_INTERVAL_MS: "50", HTTP_TOKEN: "correct-horse-battery" };
  const { code, out } = await command("config --show --json --http-port 0", environment);
  expect(code).toBe(0);
  expect(out).not.toContain("correct-horse");
  const { settings } = JSON.parse(out) as { readonly settings: readonly { readonly variable: string }[] };
  const of = (variable: string): unknown => settings.find((setting) => setting.variable === variable);
  expect(of("COMMIT_INTERVAL_MS")).toEqual({ variable: "COMMIT_INTERVAL_MS", value: "50", from: "environment" });
  expect(of("HTTP_PORT")).toEqual({ variable: "HTTP_PORT", value: "0", from: "flag" });
  expect(of("HTTP_TOKEN")).toEqual({ variable: "HTTP_TOKEN", value: "********", from: "environment" });
  expect(of("STATE_DIR")).toEqual({ variable: "STATE_DIR", value: "./state", from: "default" });
  const wrong = await command("config --http-port x");
  expect(wrong).toMatchObject({ code: 2, error: expect.stringMatching(/^HTTP_PORT \(--http-port\): /) });
});

test.each(["bash", "zsh", "fish"])("completion for %s knows every command, and their flags", async (shell) => {
  const { code, out } = await command(`completion --shell ${shell}`);
  expect(code).toBe(0);
  for (const name of ["run", "demo", "topology", ...TOOLS]) expect(out).toContain(name);
  expect(out).toContain("commit-interval-ms");
});

test.each([
  ["query", /^query: give it SQL .* or --user/],
  ["query --limit 0 x", /^--limit: /],
  ["reset --dry-run maybe --kafka-brokers x:1", /^--dry-run: /],
  ["completion --shell tcsh", /tcsh/],
  ["lag --sample-ms 1 --kafka-brokers x:1", /^--sample-ms: /],
])("`purchase %s` is a usage error", async (line, message) => {
  const { code, error } = await command(line);
  expect(code).toBe(2);
  expect(error).toMatch(message);
});

test("a query that nobody can answer is one line that says what to do", async () => {
  const { code, error } = await command("query --http-port 1 --user ann");
  expect(code).toBe(1);
  expect(error).toMatch(/^purchase: no instance answers at http:\/\/127.0.0.1:1\/sql .*--offline\n$/);
  const offline = await command("query --offline --state-dir /nowhere/at/all --user ann");
  expect(offline).toMatchObject({ code: 1, error: expect.stringContaining("/nowhere/at/all/purchases") });
});

describe("demo", () => {
  test("with a count ends by itself, and its last line accounts for every purchase", async () => {
    const { code, out, error } = await command("demo --count 3000 --rate 0 --seed 7 --partitions 4");
    expect(error).toBe("");
    const last = out.trimEnd().split("\n").at(-1)!;
    expect(last).toMatch(
      /^3,000 produced · 3,000 accounted for · 2,\d{3} aggregated · \d+ late · \d+ expired · \d+ dead letters · total [\d,]+\.\d\d$/,
    );
    expect(code).toBe(0);
    const [produced, , aggregated, , expired, dead] = last
      .split(" · ")
      .map((part) => Number(part.split(" ")[0]!.replaceAll(",", "")));
    expect(aggregated! + expired! + dead!).toBe(produced);
    expect(expired).toBeGreaterThan(0);
    expect(dead).toBeGreaterThan(0);
  });

  test("with --json is one object a line: every record, and at the end the account", async () => {
    const { code, out, error } = await command("demo --count 300 --rate 0 --seed 7 --partitions 2 --json");
    expect({ code, error }).toEqual({ code: 0, error: "" });
    const events = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { readonly event: string; readonly [field: string]: unknown });
    const count = (event: string): number => events.filter((one) => one.event === event).length;
    expect(count("purchase")).toBe(300);
    expect(events.at(-1)).toMatchObject({ event: "summary", produced: 300, accounted: 300, faults: [] });
    const { late, expired, dead_letters } = events.at(-1)!;
    expect({ late, expired, dead_letters }).toEqual({
      late: count("late"),
      expired: count("expired"),
      dead_letters: count("dead-letter"),
    });
    expect(count("aggregate")).toBeGreaterThan(0);
  });
});
