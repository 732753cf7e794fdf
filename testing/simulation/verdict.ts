import type { ProcessingGuarantee } from "../../runtime/config.js";
import type { EmbeddedLog } from "../../runtime/embedded/embedded-log.js";
import { RecordCursor } from "../../runtime/record-cursor.js";
import { readStartMs } from "../../serdes/windowed.js";
import type { Expected, Sums } from "./model.js";
import { windowName } from "./model.js";
import { type Event, TOPICS } from "./pipeline.js";

interface Output {
  readonly key: Buffer;
  readonly value: Buffer;
}

const EVERYTHING = { bytesMax: Number.POSITIVE_INFINITY, oneAtLeast: true, readCommitted: true };

/** All committed records of a topic, each partition in its order. */
export function committedRecords(log: EmbeddedLog, topic: string): Output[] {
  const found: Output[] = [];
  for (const partition of log.topics.get(topic)?.partitions ?? []) {
    const cursor = new RecordCursor(partition.read(partition.logStart, EVERYTHING));
    while (cursor.next()) {
      const { key, value } = cursor;
      found.push({ key: Buffer.from(key ?? []), value: Buffer.from(value ?? []) });
    }
  }
  return found;
}

export interface Circumstances {
  readonly guarantee: ProcessingGuarantee;
  /**
   * Whether a process may have gone on, unknowing, when its work had gone to others. What it then sends outside of any
   * transaction nothing can refuse: under at_least_once an old output may come after a newer one.
   */
  readonly hadZombies: boolean;
}

/** Where a read-committed reader's view differs from the model's; nothing does, if all is well. */
export function differences(log: EmbeddedLog, expected: Expected, circumstances: Circumstances): string[] {
  const isExactlyOnce = circumstances.guarantee === "exactly_once";
  const read = (topic: string): Output[] => committedRecords(log, topic);
  const passedOn = isExactlyOnce ? sameLists : noneMissing;
  return [
    ...passedOn("flagged", expected.flagged, idsByKey(read(TOPICS.flagged))),
    ...passedOn("odd-flagged", expected.oddFlagged, idsByKey(read(TOPICS.oddFlagged))),
    ...passedOn("dead-letters", expected.broken, brokenIdsByKey(read(TOPICS.deadLetters))),
    ...passedOn("late", expected.late, idsByKey(read(TOPICS.late))),
    ...updates(expected.sums, byWindow<Sums>(read(TOPICS.sums)), circumstances),
    ...finals(expected.finals, byWindow<number>(read(TOPICS.finals)), isExactlyOnce),
    ...colors(expected.colors, read(TOPICS.colors), isExactlyOnce),
  ];
}

function idsByKey(records: readonly Output[]): Map<string, number[]> {
  return grouped(records, ({ key, value }) => [key.toString(), (JSON.parse(value.toString()) as Event).id]);
}

function brokenIdsByKey(records: readonly Output[]): Map<string, number[]> {
  return grouped(records, ({ key, value }) => [key.toString(), Number(value.toString().split(" ")[1])]);
}

function byWindow<V>(records: readonly Output[]): Map<string, V[]> {
  return grouped(records, ({ key, value }) => {
    const at = key.length - 8;
    return [windowName(key.toString("utf8", 0, at), readStartMs(key, at)), JSON.parse(value.toString()) as V];
  });
}

function grouped<V>(records: readonly Output[], entry: (record: Output) => readonly [string, V]): Map<string, V[]> {
  const lists = new Map<string, V[]>();
  for (const record of records) {
    const [key, value] = entry(record);
    lists.set(key, [...(lists.get(key) ?? []), value]);
  }
  return lists;
}

type Lists = ReadonlyMap<string, readonly number[]>;

function sameLists(topic: string, expected: Lists, found: Lists): string[] {
  return eachKey(expected, found).flatMap((key) => {
    const [want, has] = [(expected.get(key) ?? []).join(" "), (found.get(key) ?? []).join(" ")];
    return want === has
      ? []
      : [`${topic} of ${key}: expected each once: ${want || "nothing"}; found ${has || "nothing"}`];
  });
}

function noneMissing(topic: string, expected: Lists, found: Lists): string[] {
  return eachKey(expected, found).flatMap((key) => {
    const [want, has] = [new Set(expected.get(key)), new Set(found.get(key))];
    const missing = [...want].filter((id) => !has.has(id));
    const wrong = [...has].filter((id) => !want.has(id));
    return [
      ...missing.map((id) => `${topic} of ${key}: ${id} is lost`),
      ...wrong.map((id) => `${topic} of ${key}: ${id} must not be there`),
    ];
  });
}

/** What a window showed must be values that it had, in their order, up to the last. */
function updates(
  expected: Expected["sums"],
  found: ReadonlyMap<string, readonly Sums[]>,
  { guarantee, hadZombies }: Circumstances,
): string[] {
  return eachKey(expected, found).flatMap((at) => {
    const want = expected.get(at) ?? [];
    const has = found.get(at) ?? [];
    const wrong = has.filter(({ n, total }) => want[n - 1]?.total !== total);
    if (wrong.length > 0)
      return [
        `sums of ${at}: ${JSON.stringify(wrong[0])} was never its sum; its last is ${JSON.stringify(want.at(-1))}`,
      ];
    const last = want.at(-1)?.n;
    if (guarantee === "exactly_once") {
      const repeated = has.find(({ n }, i) => n <= (has[i - 1]?.n ?? 0));
      if (repeated !== undefined)
        return [`sums of ${at}: update ${repeated.n} came again, in ${has.map(({ n }) => n).join(" ")}`];
    }
    const shown = hadZombies && guarantee !== "exactly_once" ? Math.max(...has.map(({ n }) => n)) : has.at(-1)?.n;
    return shown === last ? [] : [`sums of ${at}: ends with update ${shown} of ${last}`];
  });
}

function finals(
  expected: Expected["finals"],
  found: ReadonlyMap<string, readonly number[]>,
  exactlyOnce: boolean,
): string[] {
  return eachKey(expected, found).flatMap((at) => {
    const want = expected.get(at);
    const has = found.get(at) ?? [];
    const isRight = has.length > 0 && has.every((n) => n === want) && (!exactlyOnce || has.length === 1);
    return isRight
      ? []
      : [
          `finals of ${at}: expected ${want ?? "nothing"}${exactlyOnce ? " once" : ""}, found ${has.join(" ") || "nothing"}`,
        ];
  });
}

/** Behind a repartition topic: what at_least_once sends there again counts again. */
function colors(expected: Expected["colors"], records: readonly Output[], exactlyOnce: boolean): string[] {
  const found = grouped(records, ({ key, value }) => [key.toString(), JSON.parse(value.toString()) as number]);
  return eachKey(expected, found).flatMap((color) => {
    const want = expected.get(color) ?? 0;
    const has = found.get(color) ?? [];
    const last = exactlyOnce ? (has.at(-1) ?? 0) : Math.max(0, ...has);
    const isGrowing = !exactlyOnce || has.every((n, at) => n > (has[at - 1] ?? 0));
    const isRight = exactlyOnce ? last === want && isGrowing : last >= want;
    return isRight ? [] : [`colors of ${color}: expected ${want}, found ${has.join(" ")}`];
  });
}

function eachKey(...maps: readonly ReadonlyMap<string, unknown>[]): string[] {
  return [...new Set(maps.flatMap((map) => [...map.keys()]))];
}
