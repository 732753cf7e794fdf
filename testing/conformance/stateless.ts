import { string } from "../../serdes/serde.js";
import {
  type Definitions,
  firstWord,
  floorMod,
  long,
  longs,
  nullableKey,
  plainKey,
  text,
  texts,
  words,
} from "./definition.js";

const out = { outputs: { out: plainKey } };

/** Operators without state. */
export const stateless: Definitions = {
  filter: {
    ...out,
    build: (builder, p) => {
      const mod = p("mod");
      builder
        .stream("in", longs)
        .filter((v) => v !== null && v % mod === 0)
        .to("out");
    },
  },
  "filter-not": {
    ...out,
    build: (builder, p) => {
      const min = p("min");
      builder
        .stream("in", longs)
        .filterNot((v) => v !== null && v < min)
        .to("out");
    },
  },
  map: {
    ...out,
    build: (builder, p) => {
      const mul = p("mul");
      const add = p("add");
      builder
        .stream("in", longs)
        .map((v, { key }) => ({
          key: key === null ? "none" : `${key}-${v === null ? "null" : floorMod(v, 3)}`,
          value: v === null ? null : v * mul + add,
        }))
        .to("out", { key: string, value: long });
    },
  },
  "map-values": {
    ...out,
    build: (builder, p) => {
      const mul = p("mul");
      builder
        .stream("in", longs)
        .mapValues((v, { key }) => (v === null ? null : `${key}:${v * mul}`))
        .to("out", { value: text });
    },
  },
  "flat-map": {
    ...out,
    build: (builder) => {
      builder
        .stream("in", texts)
        .flatMap((v, { key }) => (v === null ? [] : words(v).map((word) => ({ key: word, value: key }))))
        .to("out", { key: string, value: text });
    },
  },
  "flat-map-values": {
    ...out,
    build: (builder) => {
      builder
        .stream("in", texts)
        .flatMapValues((v) => (v === null ? [] : words(v)))
        .to("out", { value: text });
    },
  },
  "select-key": {
    ...out,
    build: (builder) => {
      builder.stream("in", texts).selectKey(firstWord, { key: nullableKey }).to("out");
    },
  },
  peek: {
    ...out,
    build: (builder, p) => {
      const min = p("min");
      let seen = 0;
      builder
        .stream("in", longs)
        .peek(() => {
          seen += 1;
        })
        .filter((v) => seen > 0 && (v === null || v >= min))
        .to("out");
    },
  },
  merge: {
    ...out,
    build: (builder) => {
      const one = builder.stream("in1", longs).mapValues((v) => `1:${v}`, { value: text });
      const two = builder.stream("in2", longs).mapValues((v) => `2:${v}`, { value: text });
      one.merge(two).to("out");
    },
  },
  "branch-default": {
    outputs: { "out-low": plainKey, "out-even": plainKey, "out-rest": plainKey },
    build: (builder, p) => {
      const low = p("low");
      const mod = p("mod");
      const branches = builder
        .stream("in", longs)
        .split()
        .branch((v) => v !== null && v < low, "low")
        .branch((v) => v !== null && v % mod === 0, "even")
        .defaultBranch("rest");
      branches.low.to("out-low");
      branches.even.to("out-even");
      branches.rest.to("out-rest");
    },
  },
  "branch-no-default": {
    outputs: { "out-1": plainKey, "out-2": plainKey, "out-3": plainKey },
    build: (builder, p) => {
      const low = p("low");
      const mod = p("mod");
      const branches = builder
        .stream("in", longs)
        .split()
        .branch((v) => v !== null && v < low, "one")
        .branch((v) => v !== null && v % mod === 0, "two")
        .branch((_, { key }) => key === null, "three")
        .noDefaultBranch();
      branches.one.to("out-1");
      branches.two.to("out-2");
      branches.three.to("out-3");
    },
  },
  repartition: {
    ...out,
    build: (builder) => {
      builder
        .stream("in", texts)
        .selectKey(firstWord, { key: nullableKey })
        .repartition("rp", { partitions: 1 })
        .mapValues((v, { key }) => `${key}/${v}`)
        .to("out", { value: text });
    },
  },
  "topic-router": {
    outputs: { "out-null": plainKey, "out-even": plainKey, "out-odd": plainKey },
    build: (builder) => {
      builder.stream("in", longs).to((v) => (v === null ? "out-null" : v % 2 === 0 ? "out-even" : "out-odd"));
    },
  },
  "stateless-chain": {
    ...out,
    build: (builder) => {
      const branches = builder
        .stream("in", texts)
        .filter((v) => v !== null)
        .flatMapValues((v) => words(v))
        .map((word, { key }) => ({ key: word, value: `${key}-${word.length}` }), { key: string, value: text })
        .split()
        .branch((_, { key }) => key === "red", "red")
        .defaultBranch("other");
      branches.red
        .mapValues((v) => `${v}!`, { value: text })
        .merge(branches.other)
        .to("out");
    },
  },
};
