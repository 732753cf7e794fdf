package millrace.bench;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Serializer;

/** The bytes of the two output topics, as the purchase pipeline's contract has them. */
final class Outputs {
    private static final DateTimeFormatter ISO =
        DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);

    record UserWindow(String window_start, String window_end, String user_id, long transaction_count,
                      long late_transaction, double total_amount) {}

    private Outputs() {}

    static UserWindow userWindow(String user, long startMs, long endMs, Sums sums) {
        return new UserWindow(isoTime(startMs), isoTime(endMs), user, sums.count(), sums.late(), sums.cents() / 100.0);
    }

    static final class UserWindowWriter implements Serializer<UserWindow> {
        private final ObjectMapper json = new ObjectMapper();

        @Override
        public byte[] serialize(String topic, UserWindow row) {
            try {
                return json.writeValueAsBytes(row);
            } catch (JsonProcessingException cause) {
                throw new SerializationException("a row cannot be written", cause);
            }
        }
    }

    /** The purchase as it came, with three fields at its end: put into the text, which is the cheapest way on both sides. */
    static byte[] latePurchase(Purchase purchase) {
        String added = ",\"event_time\":\"" + isoTime(purchase.eventTimeMs) + "\",\"ingestion_time\":\""
            + isoTime(purchase.ingestionTimeMs) + "\",\"is_late\":1}";
        byte[] tail = added.getBytes(StandardCharsets.UTF_8);
        int end = purchase.bytes.length - 1;
        while (purchase.bytes[end] != '}') end--;
        byte[] all = new byte[end + tail.length];
        System.arraycopy(purchase.bytes, 0, all, 0, end);
        System.arraycopy(tail, 0, all, end, tail.length);
        return all;
    }

    private static String isoTime(long timeMs) {
        return ISO.format(Instant.ofEpochMilli(timeMs));
    }
}
