import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collections;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The Java client, to write and read what the batch codec reads and writes: `write brokers topic codec count`, `read brokers topic count`. */
public class CodecPeer {
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  public static void main(String[] args) throws Exception {
    if (args[0].equals("write")) write(args[1], args[2], args[3], Integer.parseInt(args[4]));
    else read(args[1], args[2], Integer.parseInt(args[3]));
  }

  private static void write(String brokers, String topic, String codec, int count) throws Exception {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", brokers);
    settings.put("compression.type", codec);
    settings.put("linger.ms", "200");
    settings.put("batch.size", "400000");
    StringSerializer text = new StringSerializer();
    try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, text, text)) {
      for (int i = 0; i < count; i++) producer.send(new ProducerRecord<>(topic, 0, 1000L + i, "key-" + i, "value of record " + i));
      producer.flush();
    }
  }

  private static void read(String brokers, String topic, int count) {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", brokers);
    StringDeserializer text = new StringDeserializer();
    StringBuilder out = new StringBuilder();
    try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings, text, text)) {
      TopicPartition partition = new TopicPartition(topic, 0);
      consumer.assign(Collections.singletonList(partition));
      consumer.seekToBeginning(Collections.singletonList(partition));
      long endNanos = System.nanoTime() + PATIENCE.toNanos();
      int seen = 0;
      while (seen < count && System.nanoTime() < endNanos) {
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
          out.append(record.offset()).append('\t').append(record.timestamp()).append('\t');
          out.append(record.key()).append('\t').append(record.value()).append('\n');
          seen++;
        }
      }
    }
    System.out.print(out);
    System.out.flush();
  }
}
