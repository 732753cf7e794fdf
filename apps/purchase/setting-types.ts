import { z } from "zod";

// What a setting's text may be. Each message is the rest of a line that begins with the setting's key.

const BYTE_UNITS: Readonly<Record<string, number>> = { "": 1, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30 };
const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
/** What Kafka takes for a topic's, a group's and a member's name. */
const KAFKA_NAME = /^[a-zA-Z0-9._-]+$/;

/** A schema from text to a value; `read` gives undefined when the text does not say one. */
function textSchema<T>(read: (text: string) => T | undefined, expected: string): z.ZodType<T, string> {
  return z.string().transform((text, context): T => {
    const value = read(text.trim());
    if (value !== undefined) return value;
    context.addIssue({ code: "custom", message: `must be ${expected}` });
    return z.NEVER;
  });
}

export const text = textSchema((given) => (given === "" ? undefined : given), "some text");

/** It stands in a header, and a short one is soon guessed. */
export const token = textSchema(
  (given) => (/^[\x21-\x7e]{12,512}$/.test(given) ? given : undefined),
  "12 to 512 letters, digits or signs without spaces, for example what `openssl rand -hex 24` prints",
);

export const webAddress = textSchema(
  (given) => (/^https?:\/\/[^/\s]+/.test(given) && URL.canParse(given) ? given : undefined),
  "an address that begins with http:// or https://",
);

export function wholeNumber(min: number, max: number, example: number): z.ZodType<number, string> {
  const read = (given: string): number | undefined => {
    const value = /^-?\d+$/.test(given) ? Number(given) : Number.NaN;
    return value >= min && value <= max ? value : undefined;
  };
  return textSchema(read, `a whole number from ${min} to ${max}, for example ${example}`);
}

/** How many of something, or one for each core. */
export function countOrAuto(min: number, max: number, example: number): z.ZodType<number | "auto", string> {
  const read = (given: string): number | "auto" | undefined => {
    const value = /^\d+$/.test(given) ? Number(given) : Number.NaN;
    if (given === "auto") return given;
    return value >= min && value <= max ? value : undefined;
  };
  return textSchema(read, `auto, or a whole number from ${min} to ${max}, for example ${example}`);
}

export const replicationFactor = textSchema((given) => {
  const value = /^(-1|\d{1,5})$/.test(given) ? Number(given) : 0;
  return value === 0 ? undefined : value;
}, "-1 (the broker's default) or a whole number from 1");

export function decimal(min: number, max: number, example: number): z.ZodType<number, string> {
  const read = (given: string): number | undefined => {
    const value = /^\d+(\.\d+)?$/.test(given) ? Number(given) : Number.NaN;
    return value >= min && value <= max ? value : undefined;
  };
  return textSchema(read, `a number from ${min} to ${max}, for example ${example}`);
}

/** A share of all: `0.1` or `10%`. */
export const share = textSchema((given) => {
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(given);
  if (match === null) return undefined;
  const value = Number(match[1]) / (match[2] === "%" ? 100 : 1);
  return value <= 1 ? value : undefined;
}, "a share from 0 to 1, for example 0.1 or 10%");

export function oneOf<const T extends string>(...choices: readonly T[]): z.ZodType<T, string> {
  return textSchema((given) => choices.find((choice) => choice === given), choices.join(" or "));
}

export const onOff = textSchema((given): boolean | undefined => {
  const lower = given.toLowerCase();
  if (["true", "on", "yes", "1"].includes(lower)) return true;
  return ["false", "off", "no", "0"].includes(lower) ? false : undefined;
}, "true or false");

export const byteSize = textSchema((given) => {
  const match = /^(\d+) ?(|kib|mib|gib)$/i.exec(given);
  const value = match === null ? 0 : Number(match[1]) * (BYTE_UNITS[(match[2] ?? "").toLowerCase()] ?? 1);
  return Number.isSafeInteger(value) && value >= 65_536 ? value : undefined;
}, "a number of bytes of at least 64 KiB, for example 67108864 or 64MiB");

export function kafkaName(lengthMax: number): z.ZodType<string, string> {
  const isName = (given: string): boolean =>
    KAFKA_NAME.test(given) && given.length <= lengthMax && given !== "." && given !== "..";
  return textSchema(
    (given) => (isName(given) ? given : undefined),
    `1 to ${lengthMax} letters, digits, dots, dashes or underscores`,
  );
}

export const brokers = textSchema((given): readonly string[] | undefined => {
  const list = given.split(",").map((broker) => broker.trim());
  return list.every(isHostAndPort) ? list : undefined;
}, "a comma list of host:port, for example kafka-1:9092,kafka-2:9092");

function isHostAndPort(broker: string): boolean {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^\s:/,]+):(\d{1,5})$/.exec(broker);
  const port = Number(match?.[2]);
  return port >= 1 && port <= 65_535;
}

function durationMs(given: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(given);
  return match === null ? undefined : Math.round(Number(match[1]) * (DURATION_UNITS[match[2] as string] as number));
}

/** `30m..60m`: exclusive at both ends, so at least two milliseconds apart. */
export const durationRange = textSchema((given): { readonly from: number; readonly to: number } | undefined => {
  const [from, to, ...more] = given.split("..").map(durationMs);
  return from !== undefined && to !== undefined && more.length === 0 && to - from >= 2 ? { from, to } : undefined;
}, "a range of durations in ms, s, m or h, for example 30m..60m");
