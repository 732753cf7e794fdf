import { describe, expect, test } from "vitest";
import { encodeCommitMetadata } from "./commit-metadata.js";
import { type StartFacts, startPosition } from "./start-position.js";

const NOTE = Buffer.from("s");
const clocks = { count: { streamTimeMs: 5_000, emittedUpToMs: -1 } };
const ours = (commitNumber: number): string =>
  encodeCommitMetadata({ commitNumber, owner: "me", clocks, stores: NOTE });
const source = {
  topic: "in",
  partition: 0,
  committed: 40 as number | undefined,
  metadata: ours(7),
  logStart: 0,
  logEnd: 100,
  isAnew: false,
  reset: "earliest" as const,
};
const facts: StartFacts = {
  task: "0_0",
  sources: [source],
  changelogs: [{ store: "s", low: 0, high: 30 }],
  checkpoint: undefined,
  timedNodes: ["count"],
  onOffsetOutOfRange: "fail",
  storesNote: NOTE,
};
const checkpoint = {
  commitNumber: 9,
  sourceOffsets: [{ topic: "in", partition: 0, offset: 38 }],
  changelogOffsets: { s: 30 },
  clocks: { count: { streamTimeMs: 6_000, emittedUpToMs: 2 } },
  topicIds: {},
  wallClockMs: 0,
};

describe("startPosition", () => {
  test("a task goes on at its committed offset with its committed clocks", () => {
    expect(startPosition(facts)).toEqual({
      offsets: [{ topic: "in", partition: 0, offset: 40 }],
      commitNumber: 7,
      clocks,
      isNew: false,
    });
  });

  test("each clock is taken at its latest", () => {
    expect(startPosition({ ...facts, checkpoint }).clocks).toEqual({
      count: { streamTimeMs: 6_000, emittedUpToMs: 2 },
    });
  });

  test.each([
    ["earliest", 10],
    ["latest", 100],
  ] as const)("a new task starts at the %s offset and must commit it", (reset, offset) => {
    const fresh = { ...source, committed: undefined, metadata: "", logStart: 10, reset };
    const start = startPosition({ ...facts, sources: [fresh], changelogs: [{ store: "s", low: 0, high: 0 }] });
    expect(start).toMatchObject({ offsets: [{ offset }], isNew: true, commitNumber: 0 });
  });

  test.each([
    ["no offsets", undefined, ""],
    ["offsets set by a tool", 0, ""],
  ])("state with %s goes on from a complete local file", (_, committed, metadata) => {
    const start = startPosition({ ...facts, checkpoint, sources: [{ ...source, committed, metadata }] });
    expect(start).toMatchObject({ offsets: [{ offset: 38 }], commitNumber: 9, isNew: true });
  });

  test("a local file is complete when only the marker of its last commit lies beyond it", () => {
    const lost = { ...source, committed: undefined, metadata: "" };
    const local = { ...checkpoint, changelogOffsets: { s: 29 } };
    expect(startPosition({ ...facts, checkpoint: local, sources: [lost] })).toMatchObject({
      offsets: [{ offset: 38 }],
    });
  });

  test.each([
    ["with committed offsets", {}],
    ["without them", { committed: undefined, metadata: "" }],
  ])("a source topic made anew, %s, is an error, unless the configuration says where to go on", (_, committed) => {
    const anew = { ...facts, checkpoint, sources: [{ ...source, ...committed, isAnew: true, logStart: 5 }] };
    expect(() => startPosition(anew)).toThrow(expect.objectContaining({ code: "SOURCE_TOPIC_MADE_ANEW" }));
    const start = startPosition({ ...anew, onOffsetOutOfRange: "earliest" });
    expect(start).toMatchObject({ offsets: [{ offset: 5 }], commitNumber: 9, isNew: true });
  });

  test.each([
    ["no local file", undefined],
    ["a local file that is behind", { ...checkpoint, changelogOffsets: { s: 28 } }],
  ])("state without offsets and with %s is refused: everything would count twice", (_, local) => {
    const lost = { ...facts, checkpoint: local, sources: [{ ...source, committed: undefined, metadata: "" }] };
    expect(() => startPosition(lost)).toThrow(expect.objectContaining({ code: "NO_OFFSETS_FOR_STATE" }));
  });

  test("a task whose stores are not those of its last commit says so in a commit before it goes on", () => {
    expect(startPosition({ ...facts, storesNote: Buffer.from("other") })).toMatchObject({
      offsets: [{ offset: 40 }],
      isNew: true,
    });
  });

  test("a source topic that was added to the topology starts by its reset policy", () => {
    const added = { ...source, topic: "in2", committed: undefined, metadata: "", logStart: 3 };
    expect(startPosition({ ...facts, sources: [source, added] })).toMatchObject({
      offsets: [{ offset: 40 }, { offset: 3 }],
      isNew: true,
    });
  });

  test.each([
    ["below the log", 4],
    ["past its end", 101],
  ])("a committed offset %s is an error, unless the configuration says where to go on", (_, committed) => {
    const gone = { ...facts, sources: [{ ...source, committed, logStart: 5 }] };
    expect(() => startPosition(gone)).toThrow(expect.objectContaining({ code: "OFFSET_OUT_OF_RANGE" }));
    expect(startPosition({ ...gone, onOffsetOutOfRange: "earliest" })).toMatchObject({
      offsets: [{ offset: 5 }],
      isNew: true,
    });
    expect(startPosition({ ...gone, onOffsetOutOfRange: "latest" })).toMatchObject({
      offsets: [{ offset: 100 }],
      isNew: true,
    });
  });
});
