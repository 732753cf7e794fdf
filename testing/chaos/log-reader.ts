import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { kafkaClassPath } from "../kafka/kafka-jars.js";

export interface LoggedRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: ReadonlyMap<string, string>;
}

const SOURCE = fileURLToPath(new URL("../java/ReadLog.java", import.meta.url));

/** Reads topics as Apache Kafka's own read-committed consumer sees them: nothing of ours stands between log and verdict. */
export class LogReader {
  readonly #java: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #topics: readonly string[];
  #errors = "";

  private constructor(java: ChildProcess, topics: readonly string[]) {
    this.#java = java;
    this.#topics = topics;
    if (java.stdout === null) throw new Error("the reader has no output");
    this.#lines = createInterface({ input: java.stdout })[Symbol.asyncIterator]();
    java.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-2_000);
    });
  }

  /** @param topics the input of the group first */
  static async open(brokers: readonly string[], groupId: string, topics: readonly string[]): Promise<LogReader> {
    const args = ["-Xmx256m", "-cp", await kafkaClassPath(), SOURCE, brokers.join(","), groupId, ...topics];
    return new LogReader(spawn("java", args, { stdio: ["pipe", "pipe", "pipe"] }), topics);
  }

  /**
   * What is new in all topics, once the group has committed all of its input and no transaction is open.
   *
   * @throws Error when that does not come about within `timeoutSeconds`
   */
  async *read(timeoutSeconds: number): AsyncGenerator<LoggedRecord> {
    this.#java.stdin?.write(`read ${timeoutSeconds}\n`);
    for (;;) {
      const { value: line, done } = await this.#lines.next();
      if (done === true) throw new Error(`the reader ended: ${this.#errors}`);
      if (line === "end") return;
      if (line.startsWith("failed ")) {
        throw new Error(`not everything was processed within ${timeoutSeconds} s: ${line.slice("failed ".length)}`);
      }
      yield this.#parse(line);
    }
  }

  close(): void {
    this.#java.kill("SIGKILL");
  }

  #parse(line: string): LoggedRecord {
    const [topic, partition, offset, timestampMs, key = "-", value = "-", ...headers] = line.split(" ");
    return {
      topic: this.#topics[Number(topic)] as string,
      partition: Number(partition),
      offset: Number(offset),
      timestampMs: Number(timestampMs),
      key: bytes(key),
      value: bytes(value),
      headers: new Map(
        headers.map((header) => {
          const at = header.indexOf("=");
          return [header.slice(0, at), String(bytes(header.slice(at + 1)))];
        }),
      ),
    };
  }
}

function bytes(text: string): Buffer | null {
  return text === "-" ? null : Buffer.from(text, "base64");
}
