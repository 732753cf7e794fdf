import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Why network namespaces cannot be made here, or undefined when they can. */
export async function missingForNamespaces(): Promise<string | undefined> {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  const found = await run("ip", ["-V"]).then(
    () => true,
    () => false,
  );
  return found ? undefined : "network namespaces need `ip` (Debian: iproute2)";
}

/**
 * One network namespace for each instance, and a bridge between them and the broker. A cut is the instance's cable pulled:
 * connections stay open at both ends, and nothing gets through.
 */
export class Namespaces {
  readonly #name = `mr${process.pid}`;
  readonly #subnet = `10.213.${process.pid % 250}`;
  readonly #count: number;

  private constructor(count: number) {
    this.#count = count;
  }

  /** Where the instances find the broker. */
  get hostAddress(): string {
    return `${this.#subnet}.1`;
  }

  static async open(count: number): Promise<Namespaces> {
    const namespaces = new Namespaces(count);
    try {
      await namespaces.#make();
    } catch (error) {
      await namespaces.close();
      throw new Error("no network namespace could be made, though this is root", { cause: error });
    }
    return namespaces;
  }

  /** What stands before a command that runs in it. `ip` gives its process to the command, so signals reach it. */
  command(at: number): readonly string[] {
    return ["ip", "netns", "exec", this.#namespace(at)];
  }

  async cut(at: number): Promise<void> {
    await run("ip", ["link", "set", this.#cable(at), "down"]);
  }

  async mend(at: number): Promise<void> {
    await run("ip", ["link", "set", this.#cable(at), "up"]);
  }

  async close(): Promise<void> {
    // The cables first: the kernel takes those of a namespace away with it, some time later.
    const links = (await run("ip", ["-o", "link"])).stdout;
    for (const link of links.matchAll(new RegExp(`: (${this.#name}[bv]\\d*)[@:]`, "g"))) {
      await run("ip", ["link", "del", link[1] as string]);
    }
    const made = (await run("ip", ["netns", "list"])).stdout.split("\n").map((line) => line.split(" ")[0]);
    for (let at = 1; at <= this.#count; at++) {
      if (made.includes(this.#namespace(at))) await run("ip", ["netns", "del", this.#namespace(at)]);
    }
  }

  async #make(): Promise<void> {
    const bridge = `${this.#name}b`;
    await run("ip", ["link", "add", bridge, "type", "bridge"]);
    await run("ip", ["addr", "add", `${this.hostAddress}/24`, "dev", bridge]);
    await run("ip", ["link", "set", bridge, "up"]);
    for (let at = 1; at <= this.#count; at++) {
      const inside = `${this.#name}w${at}`;
      const within = (...args: readonly string[]) => run("ip", ["-n", this.#namespace(at), ...args]);
      await run("ip", ["netns", "add", this.#namespace(at)]);
      await run("ip", ["link", "add", this.#cable(at), "type", "veth", "peer", "name", inside]);
      await run("ip", ["link", "set", inside, "netns", this.#namespace(at)]);
      await run("ip", ["link", "set", this.#cable(at), "master", bridge, "up"]);
      await within("link", "set", "lo", "up");
      await within("addr", "add", `${this.#subnet}.${at + 1}/24`, "dev", inside);
      await within("link", "set", inside, "up");
    }
  }

  #namespace(at: number): string {
    return `${this.#name}n${at}`;
  }

  #cable(at: number): string {
    return `${this.#name}v${at}`;
  }
}
