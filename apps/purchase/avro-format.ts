import {
  type InferAvro,
  registryAvro,
  type SchemaRegistry,
  type Serde,
  topicSubject,
  withBytes,
} from "millrace/serdes";
import type { PurchaseFormat, Sums, TimedPurchase } from "./format.js";
import { NotAPurchaseError, Purchase, type UserWindow } from "./model.js";
import type { TopicNames } from "./topics.js";

const MONEY = { type: "bytes", logicalType: "decimal", precision: 18, scale: 2 } as const;
const TIME = { type: "long", logicalType: "timestamp-millis" } as const;
const NAMESPACE = "millrace.purchase";

const PURCHASE_FIELDS = [
  { name: "transaction_id", type: "string" },
  { name: "user_id", type: "string" },
  { name: "goods", type: "string" },
  { name: "quantity", type: "long" },
  { name: "price", type: MONEY },
  { name: "amount", type: MONEY },
  { name: "timestamp", type: TIME },
] as const;

export const PURCHASE_SCHEMA = {
  type: "record",
  name: "Purchase",
  namespace: NAMESPACE,
  fields: PURCHASE_FIELDS,
} as const;

export const LATE_PURCHASE_SCHEMA = {
  type: "record",
  name: "LatePurchase",
  namespace: NAMESPACE,
  fields: [
    ...PURCHASE_FIELDS,
    { name: "event_time", type: TIME },
    { name: "ingestion_time", type: TIME },
    { name: "is_late", type: "int" },
  ],
} as const;

export const USER_WINDOW_SCHEMA = {
  type: "record",
  name: "UserWindow",
  namespace: NAMESPACE,
  fields: [
    { name: "window_start", type: TIME },
    { name: "window_end", type: TIME },
    { name: "user_id", type: "string" },
    { name: "transaction_count", type: "long" },
    { name: "late_transaction", type: "long" },
    { name: "total_amount", type: MONEY },
  ],
} as const;

const SUMS_SCHEMA = {
  type: "record",
  name: "Sums",
  namespace: NAMESPACE,
  fields: [
    { name: "transaction_count", type: "long" },
    { name: "late_transaction", type: "long" },
    { name: "total_cents", type: "long" },
  ],
} as const;

type AvroPurchase = InferAvro<typeof PURCHASE_SCHEMA>;
type AvroLate = InferAvro<typeof LATE_PURCHASE_SCHEMA>;
type AvroUserWindow = InferAvro<typeof USER_WINDOW_SCHEMA>;

/** What reads the values of each topic, as the objects that JSON would give. */
export interface PurchaseReaders {
  readonly purchase: Serde<Purchase>;
  readonly late: Serde<object>;
  readonly userWindow: Serde<UserWindow>;
}

/** Avro through a schema registry, each topic under its own subject. */
export function avroFormat(
  registry: SchemaRegistry,
  topics: Pick<TopicNames, "inputTopic" | "lateTopic" | "outputTopic">,
  /** The changelog's name, for the subject of the state's schema. */
  changelog: string,
): PurchaseFormat & { readonly readers: PurchaseReaders } {
  const wire = registryAvro(registry, PURCHASE_SCHEMA, { subject: topicSubject(topics.inputTopic) });
  const purchase: Serde<Purchase> = { ...wire, serialize: (value) => wire.serialize(toAvro(value)), deserialize };
  function deserialize(bytes: Uint8Array): Purchase {
    return fromAvro(wire.deserialize(bytes));
  }
  const late = registryAvro(registry, LATE_PURCHASE_SCHEMA, { subject: topicSubject(topics.lateTopic) });
  const userWindow = registryAvro(registry, USER_WINDOW_SCHEMA, { subject: topicSubject(topics.outputTopic) });
  const sums: Serde<Sums> = registryAvro(registry, SUMS_SCHEMA, { subject: topicSubject(changelog) });
  const readers = {
    purchase,
    late: {
      ...late,
      serialize: () => new Uint8Array(0),
      deserialize: (bytes: Uint8Array) => plain(late.deserialize(bytes)),
    },
    userWindow: {
      ...userWindow,
      serialize: (value: UserWindow) => userWindow.serialize(windowToAvro(value)),
      deserialize: (bytes: Uint8Array) => windowFromAvro(userWindow.deserialize(bytes)),
    },
  };
  return {
    purchase: withBytes(purchase),
    late: { prepare: late.prepare, serialize: (value) => late.serialize(lateToAvro(value)) },
    userWindow: readers.userWindow,
    sums,
    readers,
  };
}

/** What no Avro type says, the JSON's schema does: both formats have the same purchases. */
function fromAvro(value: AvroPurchase): Purchase {
  const found = Purchase.safeParse({
    transaction_id: value.transaction_id,
    user_id: value.user_id,
    goods: value.goods,
    quantity: value.quantity,
    price: Number(value.price),
    amount: Number(value.amount),
    timestamp: value.timestamp.toISOString(),
  });
  if (found.success) return found.data;
  const [issue] = found.error.issues;
  throw new NotAPurchaseError(`${issue?.path.join(".")}: ${issue?.message}`);
}

function toAvro(purchase: Purchase): AvroPurchase {
  const { transaction_id, user_id, goods, quantity, price, amount, timestamp } = purchase;
  return {
    transaction_id,
    user_id,
    goods,
    quantity,
    price: money(price),
    amount: money(amount),
    timestamp: new Date(timestamp),
  };
}

function lateToAvro({ read, eventTimeMs, ingestionTimeMs }: TimedPurchase): AvroLate {
  return {
    ...toAvro(read.value),
    event_time: new Date(eventTimeMs),
    ingestion_time: new Date(ingestionTimeMs),
    is_late: 1,
  };
}

function windowToAvro(value: UserWindow): AvroUserWindow {
  return {
    window_start: new Date(value.window_start),
    window_end: new Date(value.window_end),
    user_id: value.user_id,
    transaction_count: value.transaction_count,
    late_transaction: value.late_transaction,
    total_amount: money(value.total_amount),
  };
}

function windowFromAvro(value: AvroUserWindow): UserWindow {
  return {
    window_start: value.window_start.toISOString(),
    window_end: value.window_end.toISOString(),
    user_id: value.user_id,
    transaction_count: value.transaction_count,
    late_transaction: value.late_transaction,
    total_amount: Number(value.total_amount),
  };
}

/** Dates as text and amounts as numbers, as the JSON form has them. */
function plain(value: AvroLate): object {
  const { price, amount, timestamp, event_time, ingestion_time, ...rest } = value;
  return {
    ...rest,
    price: Number(price),
    amount: Number(amount),
    timestamp: timestamp.toISOString(),
    event_time: event_time.toISOString(),
    ingestion_time: ingestion_time.toISOString(),
  };
}

/** In plain notation, whatever its size: it is whole cents, and `toFixed` would go over to exponents at 10^21. */
function money(amount: number): string {
  return amount.toFixed(2);
}
