import { fileURLToPath } from "node:url";
import { WatchedProcess } from "./watched-process.js";

export { until } from "./watched-process.js";

const CLI = fileURLToPath(new URL("../dist/apps/purchase/cli.js", import.meta.url));

/** As the Makefile and the image start it. */
const NODE_FLAGS = ["--max-semi-space-size=8"];
const NODE_ENVIRONMENT = { MALLOC_MMAP_THRESHOLD_: "131072" };

/** The purchase pipeline as a user runs it: its own process, watched from outside. */
export class PipelineProcess extends WatchedProcess {
  #port: number | undefined;

  constructor(environment: Readonly<Record<string, string>>, command: readonly string[] = PipelineProcess.command()) {
    super(process.execPath, command, { ...NODE_ENVIRONMENT, HTTP_PORT: "0", LOG_FORMAT: "json", ...environment });
  }

  /** `nodeFlags`: more of them than those it is started with everywhere. */
  static command(nodeFlags: readonly string[] = []): string[] {
    return [...NODE_FLAGS, ...nodeFlags, CLI, "run"];
  }

  /** One metric's values by their labels; empty until the endpoints are there. */
  async metric(name: string): Promise<ReadonlyMap<string, number>> {
    const text = (await this.get("/metrics"))?.text ?? "";
    const lines = text.matchAll(new RegExp(`^${name}(\\{[^}]*\\})? (\\S+)$`, "gm"));
    return new Map([...lines].map(([, labels = "", value]) => [labels, Number(value)]));
  }

  /** One endpoint's answer; undefined until the endpoints are there, and when they are gone. */
  async get(path: string): Promise<{ readonly status: number; readonly text: string } | undefined> {
    if (this.#port === undefined || this.hasEnded) return undefined;
    const answer = await fetch(`http://127.0.0.1:${this.#port}${path}`).catch((error: unknown) => {
      if (this.hasEnded || error instanceof TypeError) return undefined;
      throw error;
    });
    return answer === undefined ? undefined : { status: answer.status, text: await answer.text() };
  }

  /** True once every task has its state. */
  async isReady(): Promise<boolean> {
    return (await this.get("/readyz"))?.status === 200;
  }

  protected override sees(text: string): void {
    const port = /http:\/\/[^:]+:(\d+)/.exec(text)?.[1];
    if (port !== undefined) this.#port = Number(port);
  }
}
