import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { StreamsMetrics } from "../metrics/metrics.js";
import { addProcessMetrics, PROCESS_METRICS } from "../metrics/process-metrics.js";
import { METRICS } from "../metrics/table.js";
import { ROWS } from "./panels.js";

const folder = fileURLToPath(new URL(".", import.meta.url));
const read = (path: string): string => readFileSync(`${folder}/${path}`, "utf8");

function promtool(parameters: readonly string[], input = ""): string {
  try {
    return execFileSync("promtool", parameters, { encoding: "utf8", cwd: folder, input });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT")
      throw new Error("promtool is missing: install Prometheus (apt-get install prometheus)", { cause: error });
    const { stdout, stderr } = error as { readonly stdout?: string; readonly stderr?: string };
    throw new Error(`promtool ${parameters.join(" ")}:\n${stdout}${stderr}`, { cause: error });
  }
}

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly annotations?: Readonly<Record<string, string>>;
}
const rules = readdirSync(`${folder}/prometheus/rules`).flatMap((file) => {
  const { groups } = parse(read(`prometheus/rules/${file}`)) as { groups: { rules: Rule[] }[] };
  return groups.flatMap((group) => group.rules);
});
const alerts = rules.filter(({ alert }) => alert !== undefined);

describe("Prometheus", () => {
  test("takes the configuration and the rules", () => {
    expect(promtool(["check", "config", "prometheus/prometheus.yml"])).toContain("SUCCESS");
  });

  test("the rules pass their tests", () => {
    expect(promtool(["test", "rules", "prometheus/tests/alerts_test.yml"])).toContain("SUCCESS");
  });

  test("every alert has a test", () => {
    const tests = read("prometheus/tests/alerts_test.yml");
    for (const { alert } of alerts) expect(tests).toContain(alert);
  });

  test("finds nothing to say about the metrics", async () => {
    const metrics = new StreamsMetrics({ applicationId: "app" });
    addProcessMetrics(metrics.registry, "app");
    expect(promtool(["check", "metrics"], await metrics.text())).toBe("");
  });
});

describe("expressions", () => {
  const expressions = [...rules, ...ROWS.flatMap(({ panels }) => panels.flatMap(({ queries }) => queries))];

  test.each(expressions.map(({ expr }) => expr))("name metrics that there are: %s", (expr) => {
    const names = [...expr.matchAll(/(?<![\w:])millrace_([a-z_]+)/g)].map(([, name = ""]) => name);
    const recorded = [...expr.matchAll(/[a-z_]+:[a-z_]+:[a-z0-9]+/g)].map(([name]) => name);
    const processNames = [...expr.matchAll(/\b(process|nodejs)_[a-z0-9_]+/g)].map(([name]) => name);
    for (const name of processNames) expect(PROCESS_METRICS).toContain(name.replace(/_sum$/, ""));
    for (const name of names) expect(Object.keys(METRICS)).toContain(name.replace(/_(bucket|count|sum)$/, ""));
    for (const name of recorded) expect(rules.map(({ record }) => record)).toContain(name);
  });
});

test("every alert says what to do, in a part of docs/monitoring.md with its name", () => {
  const page = read("../docs/monitoring.md");
  for (const { alert = "", annotations } of alerts) {
    expect(annotations?.runbook).toBe(`docs/monitoring.md#${alert.toLowerCase()}`);
    expect(page).toContain(`\n### ${alert}\n`);
  }
});

interface DashboardPanel {
  readonly id: number;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

describe("the dashboard", () => {
  const { panels } = JSON.parse(read("grafana/dashboards/millrace.json")) as { panels: DashboardPanel[] };

  test("has each panel once, inside the grid and on a place of its own", () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const taken = new Map<string, string>();
    for (const { title, gridPos } of panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.get(`${x} ${y}`), `${title} lies on another`).toBeUndefined();
          taken.set(`${x} ${y}`, title);
        }
      }
    }
  });

  test("asks only the data source that is chosen", () => {
    const text = JSON.stringify(panels);
    const sources = [...text.matchAll(/"datasource":\{[^}]*"uid":"([^"]*)"/g)].map(([, uid]) => uid);
    expect(new Set(sources)).toEqual(new Set(["$datasource"]));
  });
});

interface Service {
  readonly image?: string;
  readonly build?: string;
  readonly volumes?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly healthcheck?: unknown;
  readonly profiles?: readonly string[];
  readonly ports?: readonly string[];
}

describe("docker-compose.yml", () => {
  const compose = parse(read("../docker-compose.yml")) as {
    readonly services: Readonly<Record<string, Service>>;
    readonly volumes: Readonly<Record<string, unknown>>;
  };
  const services = Object.entries(compose.services);

  test("starts what is needed, and the rest by profile", () => {
    const byDefault = services.filter(([, { profiles }]) => profiles === undefined).map(([name]) => name);
    expect(byDefault).toEqual(["kafka", "pipeline", "prometheus", "grafana"]);
    expect(compose.services["kafka-ui"]?.profiles).toEqual(["kafka-ui"]);
    expect(compose.services["schema-registry"]?.profiles).toEqual(["schema-registry"]);
  });

  test.each(services)(
    "%s: its image has a version, its ports are this machine's, and what it names is there",
    (name, service) => {
      if (service.build === undefined) expect(service.image).toMatch(/:v?\d+\.\d+\.\d+/);
      for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/);
      for (const other of Object.keys(service.depends_on ?? {})) expect(compose.services).toHaveProperty(other);
      for (const volume of service.volumes ?? []) {
        const [source = ""] = volume.split(":");
        if (source.startsWith("./")) expect(() => readdirSync(`${folder}/../${source}`), source).not.toThrow();
        else expect(compose.volumes).toHaveProperty(source);
      }
      if (name !== "producer") expect(service.healthcheck).toBeDefined();
    },
  );
});
