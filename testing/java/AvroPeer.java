import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.Decoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;

/**
 * Apache Avro's generic reader and writer. Each line of the file is {"schema", "json", "hex"}: a schema, a value in Avro's
 * JSON, and the same value in our bytes. Prints a line for each: the bytes made of the JSON, then those made of our bytes.
 */
public class AvroPeer {
  public static void main(String[] args) throws Exception {
    ObjectMapper mapper = new ObjectMapper();
    StringBuilder out = new StringBuilder();
    try (BufferedReader lines = Files.newBufferedReader(Path.of(args[0]), StandardCharsets.UTF_8)) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        JsonNode test = mapper.readTree(line);
        Schema schema = new Schema.Parser().parse(test.get("schema").toString());
        Decoder json = DecoderFactory.get().jsonDecoder(schema, test.get("json").asText());
        Decoder binary = DecoderFactory.get().binaryDecoder(HexFormat.of().parseHex(test.get("hex").asText()), null);
        out.append(again(schema, json)).append(' ').append(again(schema, binary)).append('\n');
      }
    }
    System.out.print(out);
  }

  /** Keeps the order of a map's entries, which Avro leaves open, so that bytes can be compared. */
  private static final class OrderedReader extends GenericDatumReader<Object> {
    OrderedReader(Schema schema) {
      super(schema);
    }

    @Override
    protected Object newMap(Object old, int size) {
      return new LinkedHashMap<>();
    }

    /** Not the array for primitives that 1.12.0 takes: it makes a float of each double. */
    @Override
    protected Object newArray(Object old, int size, Schema schema) {
      return new GenericData.Array<>(size, schema);
    }
  }

  private static String again(Schema schema, Decoder decoder) throws Exception {
    Object value = new OrderedReader(schema).read(null, decoder);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(bytes, null);
    new GenericDatumWriter<>(schema).write(value, encoder);
    encoder.flush();
    return HexFormat.of().formatHex(bytes.toByteArray());
  }
}
