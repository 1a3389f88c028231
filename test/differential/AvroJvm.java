import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.SchemaNormalization;

/**
 * Avro's own answers for test/differential. One line of JSON in, one out: {"reader", "writer"} gives {"found": [[type, path,
 * message]]}; {"schema", "references"} gives {"printed", "canonical", "crc"}. A schema that cannot be parsed: {"error"}.
 */
public class AvroJvm {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private static Schema parse(String text) {
    return new Schema.Parser().parse(text);
  }

  private static void compare(JsonNode question, ObjectNode answer) {
    Schema reader = parse(question.get("reader").asText());
    Schema writer = parse(question.get("writer").asText());
    ArrayNode found = answer.putArray("found");
    SchemaCompatibility.checkReaderWriterCompatibility(reader, writer).getResult().getIncompatibilities()
        .forEach(one -> found.addArray().add(one.getType().toString()).add(one.getLocation()).add(one.getMessage()));
  }

  private static void print(JsonNode question, ObjectNode answer) {
    Schema.Parser parser = new Schema.Parser();
    List<Schema> references = new ArrayList<>();
    question.get("references").forEach(text -> references.add(parser.parse(text.asText())));
    Schema schema = parser.parse(question.get("schema").asText());
    answer.put("printed", schema.toString(references, false));
    answer.put("canonical", SchemaNormalization.toParsingForm(schema));
    answer.put("crc", String.format("%016x", SchemaNormalization.parsingFingerprint64(schema)));
  }

  public static void main(String[] args) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
    PrintStream out = new PrintStream(System.out, false, "UTF-8");
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JsonNode question = MAPPER.readTree(line);
      ObjectNode answer = MAPPER.createObjectNode();
      try {
        if (question.has("reader")) compare(question, answer);
        else if (question.has("schema")) print(question, answer);
      } catch (RuntimeException error) {
        answer.removeAll();
        answer.put("error", error.getClass().getSimpleName() + ": " + error.getMessage());
      }
      out.println(MAPPER.writeValueAsString(answer));
    }
    out.flush();
  }
}
