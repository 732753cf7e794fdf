import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import {
  decodeCommitMetadata,
  encodeCommitMetadata,
  METADATA_BYTES_MAX,
  metadataBytesMax,
  newerMetadataVersion,
} from "./commit-metadata.js";

const metadata = {
  commitNumber: 300,
  owner: "shop-5f1c-1",
  clocks: {
    count: { streamTimeMs: 1_760_000_000_000, emittedUpToMs: -1 },
    suppress: { streamTimeMs: 0, emittedUpToMs: 7 },
  },
  stores: Buffer.from("what they are"),
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
  const text = encodeCommitMetadata({
    commitNumber: 2 ** 53 - 1,
    owner: "x".repeat(100),
    clocks,
    stores: Buffer.alloc(300),
  });
  expect(text.length).toBeLessThanOrEqual(metadataBytesMax(100, 300));
  expect(metadataBytesMax(100, 300)).toBeLessThan(METADATA_BYTES_MAX);
});

test("what the first format wrote is read: number, owner and clocks, and nothing about stores", () => {
  // Version 1, commit 3, owner "me", the first four bytes of SHA-256 of "count", stream time 1, nothing emitted.
  const text = Buffer.from([1, 3, 2, 0x6d, 0x65, 0, 0, 0, 0, 2, 0]);
  createHash("sha256").update("count").digest().copy(text, 5, 0, 4);
  expect(decodeCommitMetadata(text.toString("base64"), ["count"])).toEqual({
    commitNumber: 3,
    owner: "me",
    clocks: { count: { streamTimeMs: 1, emittedUpToMs: -1 } },
    stores: undefined,
  });
});

test("what a later release wrote is told from what a tool wrote", () => {
  const later = Buffer.from(encodeCommitMetadata(metadata), "base64");
  later[0] = 3;
  expect(newerMetadataVersion(later.toString("base64"))).toBe(3);
  expect(["", "AA==", "offsets set by hand", encodeCommitMetadata(metadata)].map(newerMetadataVersion)).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});
