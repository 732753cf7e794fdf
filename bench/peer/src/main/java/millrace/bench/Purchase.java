package millrace.bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.time.DateTimeException;
import java.time.Instant;
import org.apache.kafka.common.serialization.Deserializer;

/** One purchase, with the bytes that it came in and the times that the timestamp extractor finds. */
@JsonIgnoreProperties(ignoreUnknown = true)
final class Purchase {
    public String transaction_id;
    public String user_id;
    public String goods;
    public long quantity;
    public double price = -1;
    public double amount = -1;
    public String timestamp;

    byte[] bytes;
    long amountCents;
    long eventTimeMs;
    long ingestionTimeMs;
    boolean isLate;

    /** As strict as the pipeline it is compared with: the checks are part of the work. */
    private boolean isValid() {
        return transaction_id != null && !transaction_id.isEmpty()
            && user_id != null && !user_id.isEmpty()
            && goods != null && quantity >= 1
            && isWholeCents(price) && isWholeCents(amount);
    }

    private static boolean isWholeCents(double money) {
        return money >= 0 && Math.abs(money * 100 - Math.rint(money * 100)) < 1e-6 * Math.max(1, money);
    }

    static final class Reader implements Deserializer<Purchase> {
        private final ObjectReader json = new ObjectMapper().readerFor(Purchase.class);

        /** Null for what is no purchase. */
        @Override
        public Purchase deserialize(String topic, byte[] bytes) {
            if (bytes == null) return null;
            try {
                Purchase purchase = json.readValue(bytes);
                if (purchase == null || !purchase.isValid()) return null;
                purchase.bytes = bytes;
                purchase.amountCents = Math.round(purchase.amount * 100);
                purchase.eventTimeMs = Instant.parse(purchase.timestamp).toEpochMilli();
                return purchase;
            } catch (IOException | DateTimeException | NullPointerException refused) {
                return null;
            }
        }
    }
}
