package interop;

import static interop.Broker.consume;
import static interop.Broker.declare;
import static interop.Broker.equal;
import static interop.Broker.next;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.LongString;
import interop.Program.Case;
import java.math.BigDecimal;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Collectors;

/** What a message carries: headers of every type, bodies of every size. */
final class ContentCases {
    static final List<Case> ALL = List.of(
            new Case("headers-round-trip", ContentCases::headersRoundTrip),
            new Case("empty-body", broker -> bodyRoundTrip(broker, 0)),
            new Case("large-body", broker -> bodyRoundTrip(broker, 8 * 1024 * 1024)));

    private ContentCases() {
    }

    private static void headersRoundTrip(Broker broker) throws Exception {
        Map<String, Object> headers = new HashMap<>();
        headers.put("boolean", true);
        headers.put("int8", (byte) -128);
        headers.put("int16", (short) -32768);
        headers.put("int32", Integer.MIN_VALUE);
        headers.put("int64", Long.MIN_VALUE);
        headers.put("float", 2.5f);
        headers.put("double", 2.25);
        headers.put("decimal", new BigDecimal("3.14"));
        headers.put("text", "Grüße");
        headers.put("octets", new byte[] {0, 1, 127, -128, -1});
        headers.put("timestamp", new Date(1700000000000L));
        headers.put("nothing", null);
        headers.put("array", Arrays.asList(1, "two", null, List.of(3.5f, true), Map.of("deep", 1L)));
        headers.put("table", Map.of("nested", Map.of("deepest", -1), "empty", Map.of(), "none", List.of()));
        headers.put("", "an empty key");
        headers.put("k".repeat(255), "the longest key");
        try (Connection connection = broker.connect()) {
            Channel channel = connection.createChannel();
            String queue = declare(channel);
            AMQP.BasicProperties sent = new AMQP.BasicProperties.Builder().headers(headers).build();
            channel.basicPublish("", queue, sent, new byte[0]);
            Map<String, Object> received = next(consume(channel, queue)).getProperties().getHeaders();
            equal(received.keySet(), headers.keySet(), "keys");
            received.forEach((key, value) -> equal(plain(value), headers.get(key), key));
        }
    }

    /** This client reads text as its own LongString: here it becomes a String again, at any depth. */
    private static Object plain(Object value) {
        if (value instanceof LongString) {
            return value.toString();
        }
        if (value instanceof List<?> list) {
            return list.stream().map(ContentCases::plain).collect(Collectors.toList());
        }
        if (value instanceof Map<?, ?> table) {
            Map<Object, Object> copy = new HashMap<>();
            table.forEach((key, item) -> copy.put(key, plain(item)));
            return copy;
        }
        return value;
    }

    private static void bodyRoundTrip(Broker broker, int octets) throws Exception {
        byte[] body = new byte[octets];
        new Random().nextBytes(body);
        try (Connection connection = broker.connect()) {
            Channel channel = connection.createChannel();
            String queue = declare(channel);
            channel.basicPublish("", queue, null, body);
            Delivery delivery = next(consume(channel, queue));
            equal(Arrays.equals(delivery.getBody(), body), true, "the body came back as it went");
        }
    }
}
