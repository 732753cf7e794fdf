import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * What a read-committed reader sees, by Apache Kafka's own client. Arguments: brokers, group, then topics, the group's input
 * first. For each line "read SECONDS" on the standard input it waits until the group has committed all of its input and no
 * transaction is open, and prints what is new: "TOPIC-INDEX PARTITION OFFSET TIMESTAMP KEY VALUE NAME=VALUE...", bytes in
 * base64, null as "-"; then "end", or "failed WHY".
 */
public class ReadLog {
  private static final Base64.Encoder BASE64 = Base64.getEncoder();

  private final Admin admin;
  private final KafkaConsumer<byte[], byte[]> consumer;
  private final String group;
  private final List<String> topics;
  private final Map<TopicPartition, Long> positions = new HashMap<>();
  private final PrintStream out = new PrintStream(System.out, false, StandardCharsets.US_ASCII);

  private ReadLog(String brokers, String group, List<String> topics) {
    this.group = group;
    this.topics = topics;
    Properties config = new Properties();
    config.put("bootstrap.servers", brokers);
    config.put("isolation.level", "read_committed");
    config.put("enable.auto.commit", "false");
    config.put("auto.offset.reset", "earliest");
    config.put("request.timeout.ms", "5000");
    config.put("default.api.timeout.ms", "10000");
    this.admin = Admin.create(config);
    this.consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  public static void main(String[] args) throws Exception {
    ReadLog log = new ReadLog(args[0], args[1], Arrays.asList(args).subList(2, args.length));
    BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
    for (String line = commands.readLine(); line != null; line = commands.readLine()) {
      log.read(System.nanoTime() + Long.parseLong(line.split(" ")[1]) * 1_000_000_000L);
      log.out.flush();
    }
  }

  private void read(long deadline) throws Exception {
    Map<TopicPartition, Long> ends = null;
    String waiting = "";
    while (ends == null) {
      try {
        // In this order: a commit between the questions must not count as done with the ends of before it.
        Map<TopicPartition, OffsetAndMetadata> committed =
            admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        Map<TopicPartition, Long> high = offsets(IsolationLevel.READ_UNCOMMITTED);
        Map<TopicPartition, Long> stable = offsets(IsolationLevel.READ_COMMITTED);
        waiting = behind(committed, high, stable);
        if (waiting == null) ends = stable;
      } catch (Exception error) {
        waiting = String.valueOf(error.getMessage());
      }
      if (ends == null && System.nanoTime() > deadline) {
        out.println("failed " + waiting.replace('\n', ' '));
        return;
      }
      if (ends == null) Thread.sleep(200);
    }
    print(ends);
    out.println("end");
  }

  /** What is waited for, or null. */
  private String behind(
      Map<TopicPartition, OffsetAndMetadata> committed,
      Map<TopicPartition, Long> high,
      Map<TopicPartition, Long> stable) {
    for (Map.Entry<TopicPartition, Long> end : high.entrySet()) {
      TopicPartition at = end.getKey();
      if (!end.getValue().equals(stable.get(at))) return "a transaction is open on " + at;
      if (!at.topic().equals(topics.get(0)) || end.getValue() == 0) continue;
      OffsetAndMetadata offset = committed.get(at);
      if (offset == null || offset.offset() != end.getValue())
        return at + " is committed up to " + (offset == null ? "nothing" : offset.offset()) + " of " + end.getValue();
    }
    return null;
  }

  private Map<TopicPartition, Long> offsets(IsolationLevel isolation) throws Exception {
    Map<TopicPartition, OffsetSpec> specs = new HashMap<>();
    admin.describeTopics(topics).allTopicNames().get().forEach((topic, description) ->
        description.partitions().forEach(one ->
            specs.put(new TopicPartition(topic, one.partition()), OffsetSpec.latest())));
    Map<TopicPartition, Long> found = new HashMap<>();
    admin.listOffsets(specs, new ListOffsetsOptions(isolation)).all().get()
        .forEach((at, result) -> found.put(at, result.offset()));
    return found;
  }

  private void print(Map<TopicPartition, Long> ends) {
    List<TopicPartition> open = new ArrayList<>();
    ends.forEach((at, end) -> {
      if (end > positions.getOrDefault(at, 0L)) open.add(at);
    });
    consumer.assign(open);
    // A pause outlives an assignment that has the partition again.
    consumer.resume(open);
    for (TopicPartition at : open) consumer.seek(at, positions.getOrDefault(at, 0L));
    while (!open.isEmpty()) {
      for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
        TopicPartition at = new TopicPartition(record.topic(), record.partition());
        if (record.offset() < ends.get(at)) print(record);
      }
      for (TopicPartition at : List.copyOf(open)) {
        if (consumer.position(at) < ends.get(at)) continue;
        positions.put(at, ends.get(at));
        open.remove(at);
        consumer.pause(List.of(at));
      }
    }
  }

  private void print(ConsumerRecord<byte[], byte[]> record) {
    StringBuilder line = new StringBuilder();
    line.append(topics.indexOf(record.topic())).append(' ').append(record.partition()).append(' ');
    line.append(record.offset()).append(' ').append(record.timestamp()).append(' ');
    line.append(text(record.key())).append(' ').append(text(record.value()));
    for (Header header : record.headers()) line.append(' ').append(header.key()).append('=').append(text(header.value()));
    out.println(line);
  }

  private static String text(byte[] bytes) {
    return bytes == null ? "-" : BASE64.encodeToString(bytes);
  }
}
