import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { LoadStream } from "../../bench/load.js";
import { buildIfStale, logLines, NO_DIFFERENCES, Pipeline } from "./pipeline.suite.js";

const run = promisify(execFile);
const START_MS = Date.UTC(2026, 10, 22, 10);
const HOUR_MS = 3_600_000;

/** Real file systems, which only root can mount. Left out only where somebody says so. */
const isLeftOut = process.env.WITHOUT_ROOT === "1";

let disk: string;

beforeAll(buildIfStale);

beforeEach(async () => {
  disk = await mkdtemp(join(tmpdir(), "millrace-disk-"));
  if (isLeftOut) return;
  if (process.platform !== "linux" || process.getuid?.() !== 0)
    throw new Error("a disk that is full can be mounted by root on Linux only; WITHOUT_ROOT=1 leaves this test out");
  await run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]);
});

afterEach(async () => {
  if (!isLeftOut) await run("umount", ["-l", disk]);
  await rm(disk, { recursive: true, force: true });
});

const remount = (options: string) => run("mount", ["-o", `remount,${options}`, disk]);

test.skipIf(isLeftOut)("a full disk: one line, exit code 1, and with more room it goes on from its state", async () => {
  const pipeline = await Pipeline.open();
  const options = { topic: pipeline.input, users: 20_000, partitions: 3, late: 0.1, seed: 9 };
  const load = await LoadStream.open(pipeline.probe.transport, options);
  await load.produce(60_000, START_MS, HOUR_MS);
  const instance = pipeline.start("1", { STATE_DIR: disk });
  expect(await instance.ended).toBe(1);
  const errors = logLines(instance).filter(({ level }) => level >= 50);
  expect(errors.map(({ msg }) => msg)).toEqual([
    expect.stringMatching(/ cannot grow: the disk is full; make room and start again, the state is intact$/),
  ]);

  await remount("size=200m");
  // All that came before may be committed: SQLite follows behind. What comes now has to be counted on from there.
  await load.produce(20_000, START_MS + HOUR_MS, HOUR_MS);
  const again = pipeline.start("1", { STATE_DIR: disk });
  await pipeline.ready(again);
  await pipeline.caughtUp();
  expect(await again.end("SIGTERM")).toBe(0);
  expect(await pipeline.differences(load.expected)).toEqual(NO_DIFFERENCES);
  expect((await pipeline.lateIds()).sort()).toEqual([...load.lateIds].sort());
});

test.skipIf(isLeftOut)("a read-only file system: one line that names the directory, and exit code 1", async () => {
  const pipeline = await Pipeline.open();
  await mkdir(join(disk, "state"));
  await remount("ro");
  const instance = pipeline.start("1", { STATE_DIR: join(disk, "state") });
  expect(await instance.ended).toBe(1);
  const errors = logLines(instance).filter(({ level }) => level >= 50);
  expect(errors.map(({ msg }) => msg)).toEqual([
    expect.stringMatching(/^state directory .*read-only; set a state directory/),
  ]);
});
