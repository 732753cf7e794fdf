import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "../testing/log-probe.suite.js";

const RULES = fileURLToPath(new URL("prometheus/rules/", import.meta.url));
/** What is minutes for people is seconds here, and so on. */
const FASTER = 60;
const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000 } as const;
/** Two samples in the shortest range of the rules, which is a minute there. */
const SCRAPE = "500ms";

/** A rule file with all its durations divided by 60: those of `for:`, of ranges and of their steps. */
export function hurried(rules: string): string {
  return rules.replace(/(?<=for: |\[|:)(\d+)([smh])(?=\n|\]|:)/g, (_, count: string, unit: keyof typeof UNIT_MS) => {
    return `${(Number(count) * UNIT_MS[unit]) / FASTER}ms`;
  });
}

export type Result = readonly { readonly metric: Readonly<Record<string, string>>; readonly value: [number, string] }[];

/** A Prometheus of the test's own, with our rules hurried. */
export class RealPrometheus {
  readonly #child: ChildProcess;
  #output = "";

  private constructor(
    readonly port: number,
    readonly directory: string,
  ) {
    const parameters = [
      `--config.file=${join(directory, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=warn",
    ];
    this.#child = spawn("prometheus", parameters, { stdio: ["ignore", "ignore", "pipe"] });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
    this.#child.once("error", (error) => {
      this.#output += error.message;
    });
  }

  /** @throws when there is none on this machine: what to install */
  static async start(port: number, directory: string, targets: readonly string[]): Promise<RealPrometheus> {
    try {
      execFileSync("prometheus", ["--version"], { stdio: "ignore" });
    } catch (error) {
      throw new Error("Prometheus is missing: install it (apt-get install prometheus)", { cause: error });
    }
    mkdirSync(join(directory, "rules"));
    for (const file of readdirSync(RULES)) {
      writeFileSync(join(directory, "rules", file), hurried(readFileSync(join(RULES, file), "utf8")));
    }
    const config = `
global: {scrape_interval: ${SCRAPE}, scrape_timeout: ${SCRAPE}, evaluation_interval: ${SCRAPE}}
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: millrace
    static_configs: [{targets: [${targets.map((target) => `"${target}"`).join(", ")}]}]
`;
    writeFileSync(join(directory, "prometheus.yml"), config);
    const prometheus = new RealPrometheus(port, directory);
    await eventually(
      () => `Prometheus is ready; it said: ${prometheus.#output}`,
      async () => {
        // It does not listen yet.
        const answer = await fetch(`http://127.0.0.1:${port}/-/ready`).catch(() => undefined);
        return answer?.ok === true;
      },
      30_000,
    );
    return prometheus;
  }

  /** @throws with what Prometheus says about the expression */
  async query(expr: string): Promise<Result> {
    const body = new URLSearchParams({ query: expr });
    const answer = await fetch(`http://127.0.0.1:${this.port}/api/v1/query`, { method: "POST", body });
    const { status, data, error } = (await answer.json()) as {
      status: string;
      data: { result: Result };
      error: string;
    };
    if (status !== "success") throw new Error(`${expr}: ${error}`);
    return data.result;
  }

  /** The alerts that fire now. */
  async firing(): Promise<ReadonlySet<string>> {
    const answer = await fetch(`http://127.0.0.1:${this.port}/api/v1/alerts`);
    const { data } = (await answer.json()) as {
      data: { alerts: { state: string; labels: Readonly<Record<string, string>> }[] };
    };
    const firing = data.alerts.filter(({ state }) => state === "firing");
    return new Set(firing.map(({ labels }) => labels.alertname ?? ""));
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.kill("SIGKILL");
    await ended;
  }
}
