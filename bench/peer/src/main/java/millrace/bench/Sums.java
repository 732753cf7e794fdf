package millrace.bench;

import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** What the store holds of one user's window: three longs, the smallest row that Kafka Streams could be given. */
record Sums(long count, long late, long cents) {
    static final Sums NONE = new Sums(0, 0, 0);

    static final Serde<Sums> SERDE = Serdes.serdeFrom(
        (topic, sums) -> sums == null ? null
            : ByteBuffer.allocate(3 * Long.BYTES).putLong(sums.count).putLong(sums.late).putLong(sums.cents).array(),
        (topic, bytes) -> {
            if (bytes == null) return null;
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            return new Sums(buffer.getLong(), buffer.getLong(), buffer.getLong());
        });

    Sums plus(Purchase purchase) {
        return new Sums(count + 1, late + (purchase.isLate ? 1 : 0), cents + purchase.amountCents);
    }
}
