import { Kafka, logLevel } from "kafkajs";

/** What a broker does by itself when a group was idle for `offsets.retention.minutes`. The group must be empty. */
export async function deleteGroup(brokers: readonly string[], groupId: string): Promise<void> {
  const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  await admin.deleteGroups([groupId]);
  await admin.disconnect();
}
