package millrace.bench;

import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The purchase pipeline on Kafka Streams: the same input, the same two outputs, the same checks; RocksDB below.
 * Arguments: INPUT OUTPUT LATE, then Kafka Streams' own settings as key=value.
 */
public final class Peer {
    private static final long LATE_AFTER_MS = Duration.ofMinutes(30).toMillis();
    private static final Duration WINDOW = Duration.ofMinutes(5);
    private static final Duration GRACE = Duration.ofHours(1);
    private static final Duration CLOSE_TIMEOUT = Duration.ofSeconds(30);

    private Peer() {}

    public static void main(String[] arguments) throws InterruptedException {
        Properties settings = new Properties();
        for (int at = 3; at < arguments.length; at++) {
            String[] setting = arguments[at].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        KafkaStreams streams = new KafkaStreams(topology(arguments[0], arguments[1], arguments[2]), settings);
        AtomicLong restored = new AtomicLong();
        streams.setGlobalStateRestoreListener(counting(restored));
        streams.setStateListener((now, before) -> System.out.println("STATE " + now + " restored=" + restored.get()));
        CountDownLatch closed = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(CLOSE_TIMEOUT);
            closed.countDown();
        }));
        streams.start();
        closed.await();
    }

    private static Topology topology(String input, String output, String late) {
        StreamsBuilder builder = new StreamsBuilder();
        Serde<Purchase> purchase = Serdes.serdeFrom((topic, value) -> value.bytes, new Purchase.Reader());
        KStream<String, Purchase> purchases = builder
            .stream(input, Consumed.with(Serdes.String(), purchase).withTimestampExtractor((record, partitionTimeMs) -> {
                // The only place that sees a record's own time beside its event time.
                if (!(record.value() instanceof Purchase read)) return Math.max(0, partitionTimeMs);
                read.ingestionTimeMs = record.timestamp();
                read.isLate = read.eventTimeMs < read.ingestionTimeMs - LATE_AFTER_MS;
                return read.eventTimeMs;
            }))
            .filter((key, read) -> read != null && read.user_id.equals(key));

        purchases
            .filter((key, read) -> read.isLate)
            .mapValues(Outputs::latePurchase)
            .to(late, Produced.with(Serdes.String(), Serdes.ByteArray()));

        Serde<Outputs.UserWindow> row = Serdes.serdeFrom(new Outputs.UserWindowWriter(), (topic, bytes) -> {
            throw new UnsupportedOperationException("rows are written only");
        });
        purchases
            .groupByKey()
            .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, GRACE))
            .aggregate(() -> Sums.NONE, (key, read, sums) -> sums.plus(read),
                Materialized.<String, Sums, WindowStore<Bytes, byte[]>>as("purchases-per-user")
                    .withKeySerde(Serdes.String())
                    .withValueSerde(Sums.SERDE))
            .toStream()
            .mapValues((key, sums) -> Outputs.userWindow(key.key(), key.window().start(), key.window().end(), sums))
            .to(output, Produced.with(WindowedSerdes.timeWindowedSerdeFrom(String.class, WINDOW.toMillis()), row));
        return builder.build();
    }

    private static StateRestoreListener counting(AtomicLong restored) {
        return new StateRestoreListener() {
            @Override
            public void onRestoreStart(TopicPartition partition, String store, long from, long to) {}

            @Override
            public void onBatchRestored(TopicPartition partition, String store, long end, long count) {
                restored.addAndGet(count);
            }

            @Override
            public void onRestoreEnd(TopicPartition partition, String store, long total) {}
        };
    }
}
