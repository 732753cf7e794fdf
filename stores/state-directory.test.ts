import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { UnusableStateError } from "./errors.js";
import { StateDirectory } from "./state-directory.js";

const root = mkdtempSync(join(tmpdir(), "millrace-state-"));
afterAll(() => rmSync(root, { recursive: true }));

let stateDir: string;
let count = 0;
beforeEach(() => {
  stateDir = join(root, `state-${count++}`);
});

const open = (applicationId = "purchases", hostName = "here"): StateDirectory =>
  StateDirectory.open({ stateDir, applicationId, hostName });

function refusal(work: () => unknown): UnusableStateError {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(UnusableStateError);
    return error as UnusableStateError;
  }
  throw new Error("nothing was refused");
}

describe("the lock", () => {
  test("is held against a second owner, and named with the directory", () => {
    const directory = open();
    const error = refusal(() => open());
    expect(error.code).toBe("STATE_DIRECTORY_LOCKED");
    expect(error.message).toContain(`state directory ${join(stateDir, "purchases")} is in use by another process`);
    directory.close();
    open().close();
  });

  test("is one for each application", () => {
    const one = open("one");
    open("two").close();
    one.close();
  });

  test("of another process is freed by SIGKILL", async () => {
    open().close();
    const holder = spawn(
      process.execPath,
      ["--input-type=module", "-e", HOLDER, join(stateDir, "purchases", "lock.db")],
      {
        cwd: new URL("..", import.meta.url),
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    await once(holder.stdout, "data");
    expect(refusal(() => open()).code).toBe("STATE_DIRECTORY_LOCKED");
    holder.kill("SIGKILL");
    await once(holder, "exit");

    open().close();
  });

  test("file that is no SQLite file is named as the one to delete", () => {
    open().close();
    writeFileSync(join(stateDir, "purchases", "lock.db"), "x".repeat(5_000));
    expect(refusal(() => open()).message).toMatch(/lock\.db is damaged.*delete it/);
  });
});

/** Locks as the directory does, from a process of its own, until it is killed. */
const HOLDER = `
  import Database from "better-sqlite3";
  const lock = new Database(process.argv[1], { timeout: 0 });
  lock.pragma("locking_mode = EXCLUSIVE");
  lock.exec("BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS held (by_process INTEGER)");
  console.log("held");
  setInterval(() => lock.name, 1000);
`;

describe("the identity", () => {
  const identityOf = (applicationId?: string, hostName?: string): string => {
    const directory = open(applicationId, hostName);
    directory.close();
    return directory.uuid;
  };

  test("stays as long as the directory stays where it is", () => {
    expect(identityOf()).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(identityOf()).toBe(identityOf());
  });

  test("is new on another host", () => {
    expect(identityOf("purchases", "here")).not.toBe(identityOf("purchases", "there"));
  });

  test("is new in a copied directory, which has another inode", () => {
    const original = identityOf();
    mkdirSync(join(stateDir, "copy"));
    copyFileSync(join(stateDir, "purchases", "identity.json"), join(stateDir, "copy", "identity.json"));
    expect(identityOf("copy")).not.toBe(original);
    expect(identityOf()).toBe(original);
  });

  test("is new, and whole again, where its file is torn", () => {
    const original = identityOf();
    const file = join(stateDir, "purchases", "identity.json");
    writeFileSync(file, readFileSync(file, "utf8").slice(0, 60));
    const next = identityOf();
    expect(next).not.toBe(original);
    expect(identityOf()).toBe(next);
  });

  test("is kept on a host with a strange name", () => {
    expect(identityOf("purchases", 'a "b" \\')).toBe(identityOf("purchases", 'a "b" \\'));
  });
});

describe("the file of a task", () => {
  const nameOf = (stores: readonly string[], partition: number): string => {
    const directory = open();
    directory.close();
    return basename(directory.taskFile(stores, partition));
  };

  test("is named by its stores and its partition, whatever the stores' order", () => {
    expect(nameOf(["purchases-per-user"], 3)).toBe("purchases-per-user-3.db");
    expect(nameOf(["b", "a"], 0)).toBe("a+b-0.db");
  });

  test("with long names is cut, and told apart by a hash", () => {
    const long = "x".repeat(150);
    expect(nameOf([`${long}1`], 2)).toMatch(/^x{100}-[0-9a-f]{8}-2\.db$/);
    expect(nameOf([`${long}1`], 2)).not.toBe(nameOf([`${long}2`], 2));
  });

  test("and the directory cannot leave the state directory by their names", () => {
    const directory = open("../../away");
    expect(directory.path).toBe(join(stateDir, "..%2F..%2Faway"));
    directory.close();
    const dots = open("..");
    expect(dots.path).toBe(join(stateDir, "%2E%2E"));
    dots.close();
  });
});

describe("a path that cannot be used says why", () => {
  test("a part of it is a file", () => {
    mkdirSync(stateDir);
    writeFileSync(join(stateDir, "file"), "");
    const error = refusal(() => StateDirectory.open({ stateDir: join(stateDir, "file", "deep"), applicationId: "a" }));
    expect(error.code).toBe("STATE_DIRECTORY_UNUSABLE");
    expect(error.message).toMatch(/\(ENOTDIR\).*part of the path is a file/);
  });

  test("it is a file", () => {
    mkdirSync(stateDir);
    writeFileSync(join(stateDir, "purchases"), "");
    expect(refusal(() => open()).message).toMatch(/\(EEXIST\).*it is a file/);
  });

  test.skipIf(!existsSync("/proc/1"))("it lies where nothing can be made", () => {
    const error = refusal(() => StateDirectory.open({ stateDir: "/proc/1/state", applicationId: "a" }));
    expect(error.message).toMatch(/\((ENOENT|EACCES|EPERM)\)/);
  });
});
