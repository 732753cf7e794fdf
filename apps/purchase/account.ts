import { GRACE_MS, WINDOW_MS } from "./model.js";
import type { ExpectedPurchase, SimulatedRecord } from "./simulator.js";

/** What the output topics hold, as bytes; headers by name, as text. */
export interface OutputRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
}

/** One user's window: what was produced into it, and what the newest aggregate says. Money in cents. */
interface Cell {
  expected: Sums;
  seen: Sums;
}

interface Sums {
  readonly count: number;
  readonly late: number;
  readonly cents: number;
}

const NOTHING: Sums = { count: 0, late: 0, cents: 0 };
const EXAMPLES_MAX = 5;

/**
 * Compares what the pipeline wrote with what was produced, record by record: plain Maps that share no code with the
 * engine. Purchases are expected in the aggregate of their window, late ones in the late topic as well, expired ones and
 * what is no purchase in topics of their own, with their bytes.
 *
 * What agrees and cannot change any more is folded into totals, so that memory grows with what is open, not with what
 * was produced.
 */
export class Account {
  #produced = 0;
  /** By window start, then user. */
  readonly #windows = new Map<number, Map<string, Cell>>();
  #closed: Sums = NOTHING;
  #streamTimeMs = -1;
  readonly #late = new Outstanding();
  readonly #expired = new Outstanding();
  readonly #deadLetters = new Outstanding();

  produced(record: SimulatedRecord): void {
    this.#produced++;
    const { expected } = record;
    if (expected.kind === "invalid") {
      this.#deadLetters.expect(identity(record));
      return;
    }
    if (expected.isLate) this.#late.expect(expected.transactionId);
    if (expected.isExpired) this.#expired.expect(identity(record));
    else this.#aggregate(expected);
  }

  #aggregate(purchase: ExpectedPurchase): void {
    this.#streamTimeMs = Math.max(this.#streamTimeMs, purchase.eventTimeMs);
    const cell = this.#cell(purchase.windowStartMs, purchase.userId);
    cell.expected = {
      count: cell.expected.count + 1,
      late: cell.expected.late + (purchase.isLate ? 1 : 0),
      cents: cell.expected.cents + purchase.amountCents,
    };
  }

  sawAggregate(row: { readonly userId: string; readonly windowStartMs: number } & Sums): void {
    const { count, late, cents } = row;
    this.#cell(row.windowStartMs, row.userId).seen = { count, late, cents };
  }

  sawLate(transactionId: string): void {
    this.#late.see(transactionId);
  }

  sawExpired(record: OutputRecord): void {
    this.#expired.see(identity(record));
  }

  sawDeadLetter(record: OutputRecord): void {
    this.#deadLetters.see(identity(record));
  }

  /** True when everything that was produced has been seen, and nothing else. */
  get isSettled(): boolean {
    return this.mismatches().length === 0;
  }

  /** What is missing, different or too much, in words; at most a few examples of each kind. */
  mismatches(): readonly string[] {
    this.#fold();
    const found = [
      ...this.#late.faults("late event", "late topic"),
      ...this.#expired.faults("expired purchase", "expired topic"),
      ...this.#deadLetters.faults("dead letter", "dead letter topic"),
    ];
    let wrong = 0;
    for (const [startMs, users] of this.#windows) {
      for (const [user, { expected, seen }] of users) {
        if (agree(expected, seen) || ++wrong > EXAMPLES_MAX) continue;
        found.push(
          `aggregate of ${user} at ${new Date(startMs).toISOString()}: expected ${describe(expected)}, found ${describe(seen)}`,
        );
      }
    }
    if (wrong > EXAMPLES_MAX) found.push(`and ${wrong - EXAMPLES_MAX} more aggregates that differ`);
    return found;
  }

  /** Counted in the output topics, not in what was produced. */
  totals(): {
    produced: number;
    accounted: number;
    aggregated: number;
    late: number;
    expired: number;
    deadLetters: number;
    cents: number;
  } {
    let { count, cents } = this.#closed;
    for (const users of this.#windows.values()) {
      for (const { seen } of users.values()) {
        count += seen.count;
        cents += seen.cents;
      }
    }
    const expired = this.#expired.seen;
    const deadLetters = this.#deadLetters.seen;
    const accounted = count + expired + deadLetters;
    return {
      produced: this.#produced,
      accounted,
      aggregated: count,
      late: this.#late.seen,
      expired,
      deadLetters,
      cents,
    };
  }

  #cell(startMs: number, user: string): Cell {
    const users = this.#windows.get(startMs) ?? new Map<string, Cell>();
    const cell = users.get(user) ?? { expected: NOTHING, seen: NOTHING };
    users.set(user, cell);
    this.#windows.set(startMs, users);
    return cell;
  }

  /** Windows that no event can reach any more, with an hour to spare: the clock of a quiet partition lags behind. */
  #fold(): void {
    for (const [startMs, users] of this.#windows) {
      if (startMs + WINDOW_MS + 2 * GRACE_MS > this.#streamTimeMs) continue;
      for (const [user, { expected, seen }] of users) {
        if (!agree(expected, seen)) continue;
        const { count, late, cents } = this.#closed;
        this.#closed = { count: count + seen.count, late: late + seen.late, cents: cents + seen.cents };
        users.delete(user);
      }
      if (users.size === 0) this.#windows.delete(startMs);
    }
  }
}

/** Expected once each: what is produced and not yet seen counts up, what is seen and not produced counts down. */
class Outstanding {
  seen = 0;
  readonly #balance = new Map<string, number>();

  expect(id: string): void {
    this.#add(id, 1);
  }

  see(id: string): void {
    this.seen++;
    this.#add(id, -1);
  }

  #add(id: string, change: number): void {
    const balance = (this.#balance.get(id) ?? 0) + change;
    if (balance === 0) this.#balance.delete(id);
    else this.#balance.set(id, balance);
  }

  faults(what: string, where: string): readonly string[] {
    let missing = 0;
    let excess = 0;
    for (const balance of this.#balance.values()) {
      if (balance > 0) missing += balance;
      else excess -= balance;
    }
    const [example = ""] = this.#balance.keys();
    const shown = ` (for example ${example.slice(0, 120)})`;
    return [
      ...(missing > 0 ? [`${missing} × ${what} missing in the ${where}${shown}`] : []),
      ...(excess > 0 ? [`${excess} × ${what} too many in the ${where}${shown}`] : []),
    ];
  }
}

/** Key and value, byte for byte; a null is not an empty value. */
function identity({ key, value }: OutputRecord): string {
  const text = (bytes: Uint8Array | null): string =>
    bytes === null ? "null" : `"${Buffer.from(bytes).toString("latin1")}"`;
  return `${text(key)} ${text(value)}`;
}

function agree(one: Sums, other: Sums): boolean {
  return one.count === other.count && one.late === other.late && one.cents === other.cents;
}

function describe({ count, late, cents }: Sums): string {
  return `${count} purchases (${late} late) of ${cents} cents`;
}
