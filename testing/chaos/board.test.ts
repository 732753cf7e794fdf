import { expect, test, vi } from "vitest";
import { Board } from "./board.js";
import type { ChaosRun } from "./chaos-run.js";

class Screen {
  text = "";
  columns = 80;
  rows = 24;
  constructor(readonly isTTY: boolean) {}
  write(text: string): boolean {
    this.text += text;
    return true;
  }
}

const ESCAPE = "\u001b";
const status = {
  ...{ faults: 12, differences: 0, written: 34_567, broker: false },
  instances: [
    { number: 1, state: "up" as const },
    { number: 2, state: "frozen" as const },
  ],
};

function boardOn(screen: Screen): Board {
  return new Board(screen as unknown as NodeJS.WriteStream, 60_000);
}

test("in a pipe each event is a plain line with its time", () => {
  const screen = new Screen(false);
  const board = boardOn(screen);
  board.watch({ status } as ChaosRun);
  board.event({ kind: "fault", number: 3, text: "instance 2: SIGSTOP for 5000 ms" });
  board.event({ kind: "difference", text: "late: tx-1: expected 1 times, found 2 times" });
  board.stop();
  expect(screen.text).toBe(
    "00:00  fault 3: instance 2: SIGSTOP for 5000 ms\n00:00  DIFFERENCE late: tx-1: expected 1 times, found 2 times\n",
  );
  expect(screen.text).not.toContain(ESCAPE);
});

test("on a terminal a board shows the time gone, what every process does, and the newest events within its width", () => {
  vi.useFakeTimers();
  const screen = new Screen(true);
  const board = boardOn(screen);
  board.watch({ status } as ChaosRun);
  board.event({ kind: "fault", number: 3, text: "x".repeat(200) });
  vi.advanceTimersByTime(300);
  board.stop();
  vi.useRealTimers();
  expect(screen.text).toContain("of 01:00   faults 12");
  expect(screen.text).toContain("2 frozen");
  expect(screen.text).toContain("34,567 records");
  expect(screen.text).not.toContain("x".repeat(80));
});
