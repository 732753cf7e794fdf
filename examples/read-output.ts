// Prints what is in purchase-aggregates and what comes. A key is the user's UTF-8 bytes, then the window's start as int64 BE.
import { Kafka } from "kafkajs";

const brokers = (process.env.KAFKA_BROKERS ?? "localhost:9092").split(",");
const consumer = new Kafka({ clientId: "read-output", brokers }).consumer({ groupId: "read-output" });
await consumer.connect();
await consumer.subscribe({ topic: "purchase-aggregates", fromBeginning: true });
await consumer.run({
  eachMessage: async ({ message: { key, value } }) => {
    if (key === null || value === null) return;
    const user = key.toString("utf8", 0, key.length - 8);
    const windowStart = new Date(Number(key.readBigInt64BE(key.length - 8)));
    const { transaction_count, late_transaction, total_amount } = JSON.parse(value.toString("utf8"));
    console.log(windowStart.toISOString(), user, transaction_count, late_transaction, total_amount);
  },
});
