import { expect, test } from "vitest";
import { decodeCommitMetadata, encodeCommitMetadata, METADATA_BYTES_MAX, metadataBytesMax } from "./commit-metadata.js";

const metadata = {
  commitNumber: 300,
  owner: "shop-5f1c-1",
  clocks: {
    count: { streamTimeMs: 1_760_000_000_000, emittedUpToMs: -1 },
    suppress: { streamTimeMs: 0, emittedUpToMs: 7 },
  },
};

test("what was written is read again", () => {
  expect(decodeCommitMetadata(encodeCommitMetadata(metadata), ["count", "suppress"])).toEqual(metadata);
});

test("clocks of nodes that are gone are left out", () => {
  expect(decodeCommitMetadata(encodeCommitMetadata(metadata), ["count"])?.clocks).toEqual({
    count: metadata.clocks.count,
  });
});

test.each(["", "{}", "offsets set by hand", "AA==", encodeCommitMetadata(metadata).slice(0, 12)])(
  "%j is not ours",
  (text) => {
    expect(decodeCommitMetadata(text, ["count"])).toBeUndefined();
  },
);

test("the bound holds for the largest times and a long owner", () => {
  const clocks = Object.fromEntries(
    Array.from({ length: 100 }, (_, at) => [`node-${at}`, { streamTimeMs: 2 ** 53 - 2, emittedUpToMs: 2 ** 53 - 2 }]),
  );
  const text = encodeCommitMetadata({ commitNumber: 2 ** 53 - 1, owner: "x".repeat(100), clocks });
  expect(text.length).toBeLessThanOrEqual(metadataBytesMax(100));
  expect(metadataBytesMax(100)).toBeLessThan(METADATA_BYTES_MAX);
});
