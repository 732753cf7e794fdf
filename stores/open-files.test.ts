import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { TYPESCRIPT_THREADS } from "../testing/typescript-threads.suite.js";
import { claimFile, isFileOpen, releaseFile, releaseFilesOf } from "./open-files.js";

/** A thread that claims and releases files as it is told, and answers with what came of it. */
async function startThread() {
  const source = `
    import { parentPort } from "node:worker_threads";
    const files = await import(${JSON.stringify(new URL("./open-files.ts", import.meta.url).href)});
    parentPort.on("message", ([what, paths]) => parentPort.postMessage(paths.map((path) => files[what](path))));
    parentPort.postMessage("ready");`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
    execArgv: [...TYPESCRIPT_THREADS],
  });
  onTestFinished(async () => void (await worker.terminate()));
  await once(worker, "message");
  const { threadId } = worker;
  const ask = async (what: "claimFile" | "releaseFile" | "isFileOpen", ...paths: string[]): Promise<unknown[]> => {
    const answer = once(worker, "message") as Promise<[unknown[]]>;
    worker.postMessage([what, paths]);
    return (await answer)[0];
  };
  return { worker, threadId, ask };
}

test("a file has one owner among all threads, until that one releases it", async () => {
  const thread = await startThread();
  expect(claimFile("/state/a.db")).toBe(true);
  expect(claimFile("/state/a.db")).toBe(false);
  expect(await thread.ask("isFileOpen", "/state/a.db")).toEqual([true]);
  expect(await thread.ask("claimFile", "/state/a.db")).toEqual([false]);
  await thread.ask("releaseFile", "/state/a.db");
  expect(isFileOpen("/state/a.db")).toBe(true);
  releaseFile("/state/a.db");
  expect(await thread.ask("claimFile", "/state/a.db")).toEqual([true]);
  expect(claimFile("/state/a.db")).toBe(false);
});

test("what a thread held when it was ended has no owner once it is released for it, and nothing else is released", async () => {
  const thread = await startThread();
  await thread.ask("claimFile", "/state/1.db", "/state/2.db", "/state/3.db");
  claimFile("/state/mine.db");
  await thread.worker.terminate();
  expect(isFileOpen("/state/2.db")).toBe(true);
  releaseFilesOf(thread.threadId);
  for (const path of ["/state/1.db", "/state/2.db", "/state/3.db"]) expect(isFileOpen(path)).toBe(false);
  expect(isFileOpen("/state/mine.db")).toBe(true);
  releaseFile("/state/mine.db");
});

test("threads that claim the same files at the same time never both get one", async () => {
  const threads = await Promise.all([startThread(), startThread()]);
  const paths = Array.from({ length: 2_000 }, (_, at) => `/state/race-${at}.db`);
  const won = await Promise.all(threads.map(({ ask }) => ask("claimFile", ...paths)));
  expect(paths.filter((_, at) => won.filter((of) => of[at] === true).length !== 1)).toEqual([]);
});
