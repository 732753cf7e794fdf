import { WINDOW_MS } from "../apps/purchase/model.js";

/** Sums are kept in 32 bits; a user who spends more in five minutes ends the run instead of passing it by accident. */
const CENTS_MAX = 2 ** 32 - 1;
const USER_DIGITS = 6;
const USER_PREFIX = "user-";

/** How an output differs from what it must be; all zero when it is right. */
export interface Verdict {
  /** Rows that are not there, or late purchases. */
  readonly missing: number;
  readonly different: number;
  /** Rows and purchases that must not be there, and rows that moved to another partition, where their order is lost. */
  readonly unexpected: number;
  /** Late purchases written more than once. */
  readonly repeated: number;
}

export interface AggregateRow {
  readonly user_id: string;
  readonly window_start: string;
  readonly transaction_count: number;
  readonly late_transaction: number;
  readonly total_amount: number;
}

/** Rows of one window, by user. Columns, so that ten million rows are 140 MB and no objects. */
class Columns {
  readonly counts: Uint32Array;
  readonly lates: Uint32Array;
  readonly cents: Uint32Array;
  /** Where the row was seen first, plus one. */
  readonly partitions: Uint16Array;

  constructor(users: number) {
    this.counts = new Uint32Array(users);
    this.lates = new Uint32Array(users);
    this.cents = new Uint32Array(users);
    this.partitions = new Uint16Array(users);
  }
}

type Windows = Map<number, Columns>;

function columnsOf(windows: Windows, startMs: number, users: number): Columns {
  let columns = windows.get(startMs);
  if (columns === undefined) {
    columns = new Columns(users);
    windows.set(startMs, columns);
  }
  return columns;
}

/**
 * What the outputs must be in the end, summed from the numbers that the purchases were made from. It shares no code with the
 * engine or the topology: windows and lateness are worked out here.
 */
export class Oracle {
  readonly users: number;
  readonly #windows: Windows = new Map();
  /** By purchase number: 1 for a late one. */
  #isLate = new Uint8Array(1 << 16);
  #records = 0;
  #rows = 0;
  #late = 0;

  constructor(users: number) {
    this.users = users;
  }

  get records(): number {
    return this.#records;
  }

  /** Rows that the last aggregates must have: one for each user and window with a purchase. */
  get rows(): number {
    return this.#rows;
  }

  /** Purchases are numbered in the order in which they are added. */
  add(purchase: { readonly user: number; readonly eventMs: number; readonly isLate: boolean; readonly cents: number }) {
    const { user, eventMs, isLate, cents } = purchase;
    const columns = columnsOf(this.#windows, eventMs - (eventMs % WINDOW_MS), this.users);
    if (columns.counts[user] === 0) this.#rows++;
    columns.counts[user]!++;
    const sum = columns.cents[user]! + cents;
    if (sum > CENTS_MAX) throw new Error(`user ${user} has spent more than the oracle can hold: use more users`);
    columns.cents[user] = sum;
    const number = this.#records++;
    if (!isLate) return;
    columns.lates[user]!++;
    this.#late++;
    if (number >= this.#isLate.length) {
      const more = new Uint8Array(Math.max(2 * this.#isLate.length, number + 1));
      more.set(this.#isLate);
      this.#isLate = more;
    }
    this.#isLate[number] = 1;
  }

  /** Compares the aggregates topic: the last row of each user and window counts. */
  checkAggregates(): { readonly see: (row: AggregateRow, partition: number) => void; readonly verdict: () => Verdict } {
    const seen: Windows = new Map();
    let unexpected = 0;
    const see = (row: AggregateRow, partition: number): void => {
      const user = userOf(row.user_id, this.users);
      const startMs = Date.parse(row.window_start);
      if (user === undefined || !this.#windows.has(startMs)) {
        unexpected++;
        return;
      }
      const columns = columnsOf(seen, startMs, this.users);
      if (columns.partitions[user] === 0) columns.partitions[user] = partition + 1;
      else if (columns.partitions[user] !== partition + 1) unexpected++;
      columns.counts[user] = row.transaction_count;
      columns.lates[user] = row.late_transaction;
      columns.cents[user] = Math.round(row.total_amount * 100);
    };
    const verdict = (): Verdict => {
      const differences = { missing: 0, different: 0, unexpected, repeated: 0 };
      for (const [startMs, want] of this.#windows) compare(want, seen.get(startMs), differences);
      return differences;
    };
    return { see, verdict };
  }

  /** Compares the late topic: every late purchase stands in it exactly once. */
  checkLate(): { readonly see: (transactionId: string) => void; readonly verdict: () => Verdict } {
    const times = new Uint8Array(this.#records);
    let unexpected = 0;
    let repeated = 0;
    let found = 0;
    const see = (transactionId: string): void => {
      const number = Number(transactionId.slice(transactionId.lastIndexOf("-") + 1));
      if (this.#isLate[number] !== 1) unexpected++;
      else if (times[number]!++ === 0) found++;
      else repeated++;
    };
    return { see, verdict: () => ({ missing: this.#late - found, different: 0, unexpected, repeated }) };
  }
}

function compare(
  want: Columns,
  got: Columns | undefined,
  differences: { missing: number; different: number; unexpected: number },
): void {
  for (let user = 0; user < want.counts.length; user++) {
    const count = got?.counts[user] ?? 0;
    if (want.counts[user] === 0) {
      if (count !== 0) differences.unexpected++;
    } else if (count === 0) differences.missing++;
    else if (
      count !== want.counts[user] ||
      got?.lates[user] !== want.lates[user] ||
      got?.cents[user] !== want.cents[user]
    )
      differences.different++;
  }
}

export function userName(user: number): string {
  return `${USER_PREFIX}${String(user).padStart(USER_DIGITS, "0")}`;
}

function userOf(name: string, users: number): number | undefined {
  const user = Number(name.slice(USER_PREFIX.length));
  return user >= 0 && user < users && userName(user) === name ? user : undefined;
}

export function isRight({ missing, different, unexpected, repeated }: Verdict): boolean {
  return missing + different + unexpected + repeated === 0;
}
