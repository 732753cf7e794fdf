import { KeyFilter } from "./key-filter.js";

/** Windows of five minutes are a few in a segment; a segment of more than this is taken to hold any. */
const STARTS_MAX = 4_096;

/** What the filters of one store may hold together. */
export class FilterRoom {
  /** Keys in the fullest window so far: the next one will have about as many. */
  keysExpected = 0;
  #bytes = 0;

  constructor(readonly bytesMax: number) {}

  get bytes(): number {
    return this.#bytes;
  }

  /** False where there is no room for them; negative ones are given back. */
  take(bytes: number): boolean {
    if (bytes > 0 && this.#bytes + bytes > this.bytesMax) return false;
    this.#bytes += bytes;
    return true;
  }
}

/**
 * What one segment surely does not hold, by window start and key, so that SQLite need not be asked. Where users are many most records
 * begin a row, and 9 of 10 reads were in vain.
 */
export class KnownRows {
  readonly #room: FilterRoom;
  readonly #sinceMs: number;
  /** Null: its keys had no room. */
  readonly #filters = new Map<number, KeyFilter | null>();
  #isOff = false;

  /** `sinceMs`: of windows that start earlier nothing is known, since they were there before. */
  constructor(room: FilterRoom, sinceMs = Number.NEGATIVE_INFINITY) {
    this.#room = room;
    this.#sinceMs = sinceMs;
  }

  mayHoldStart(startMs: number): boolean {
    return this.#isOff || startMs < this.#sinceMs || this.#filters.has(startMs);
  }

  mayHold(key: Uint8Array, startMs: number): boolean {
    if (this.#isOff || startMs < this.#sinceMs) return true;
    const filter = this.#filters.get(startMs);
    return filter === undefined ? false : filter === null || filter.mayHold(key);
  }

  add(key: Uint8Array, startMs: number): void {
    if (this.#isOff || startMs < this.#sinceMs) return;
    const filter = this.#filters.get(startMs);
    if (filter === null) return;
    if (filter === undefined) this.#begin(startMs)?.add(key);
    else {
      const more = filter.add(key);
      if (more > 0 && !this.#room.take(more)) this.#giveUp(startMs, filter, more);
      else if (filter.size > this.#room.keysExpected) this.#room.keysExpected = filter.size;
    }
  }

  /** Gives back the room: the segment is gone. */
  forget(): void {
    for (const filter of this.#filters.values()) this.#room.take(-(filter?.bytes ?? 0));
    this.#filters.clear();
    this.#isOff = true;
  }

  #begin(startMs: number): KeyFilter | undefined {
    if (this.#filters.size === STARTS_MAX) {
      this.forget();
      return undefined;
    }
    const filter = new KeyFilter(this.#room.keysExpected);
    const hasRoom = this.#room.take(filter.bytes);
    this.#filters.set(startMs, hasRoom ? filter : null);
    return hasRoom ? filter : undefined;
  }

  #giveUp(startMs: number, filter: KeyFilter, untakenBytes: number): void {
    this.#room.take(untakenBytes - filter.bytes);
    this.#filters.set(startMs, null);
  }
}
