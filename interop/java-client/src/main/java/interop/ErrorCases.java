package interop;

import static interop.Broker.declare;
import static interop.Broker.equal;
import static interop.Broker.refused;
import static interop.Broker.unique;

import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DefaultConsumer;
import interop.Program.Case;
import java.util.List;

/** What the broker refuses, with the code, the method and the text it gives. */
final class ErrorCases {
    static final List<Case> ALL = List.of(
            new Case("error-404", ErrorCases::error404),
            new Case("error-405", ErrorCases::error405),
            new Case("error-406", ErrorCases::error406),
            new Case("error-403", ErrorCases::error403),
            new Case("login-refused", ErrorCases::loginRefused));

    private ErrorCases() {
    }

    private static void consume(Channel channel, String queue) throws Exception {
        channel.basicConsume(queue, new DefaultConsumer(channel));
    }

    private static void error404(Broker broker) throws Exception {
        String missing = unique();
        try (Connection connection = broker.connect()) {
            refused(connection, 404, 50, 10, Texts.noQueue(missing),
                    channel -> channel.queueDeclarePassive(missing));
            refused(connection, 404, 60, 20, Texts.noQueue(missing), channel -> consume(channel, missing));
            refused(connection, 404, 40, 10, Texts.noExchange(missing),
                    channel -> channel.exchangeDeclarePassive(missing));
            refused(connection, 404, 60, 40, Texts.noExchange(missing),
                    channel -> channel.basicPublish(missing, "key", null, new byte[0]));
        }
    }

    private static void error405(Broker broker) throws Exception {
        try (Connection owner = broker.connect(); Connection other = broker.connect()) {
            String queue = declare(owner.createChannel());
            refused(other, 405, 50, 10, Texts.locked(queue),
                    channel -> channel.queueDeclare(queue, false, true, false, null));
            refused(other, 405, 60, 20, Texts.locked(queue), channel -> consume(channel, queue));
        }
    }

    private static void error406(Broker broker) throws Exception {
        String queue = unique();
        try (Connection connection = broker.connect()) {
            Channel declaring = connection.createChannel();
            declaring.queueDeclare(queue, true, false, false, null);
            refused(connection, 406, 50, 10, Texts.otherDurability(queue),
                    channel -> channel.queueDeclare(queue, false, false, false, null));
            refused(connection, 406, 60, 80, Texts.unknownDeliveryTag(42), channel -> channel.basicAck(42, false));
            declaring.queueDelete(queue);
        }
    }

    private static void error403(Broker broker) throws Exception {
        String reserved = "amq." + unique();
        try (Connection connection = broker.connect()) {
            refused(connection, 403, 50, 10, Texts.reservedName(reserved),
                    channel -> channel.queueDeclare(reserved, false, false, false, null));
            Channel exclusive = connection.createChannel();
            String queue = declare(exclusive);
            exclusive.basicConsume(queue, false, "", false, true, null, new DefaultConsumer(exclusive));
            refused(connection, 403, 60, 20, Texts.exclusiveUse(queue), channel -> consume(channel, queue));
        }
    }

    private static void loginRefused(Broker broker) throws Exception {
        ConnectionFactory factory = broker.factory(broker.address.getPort());
        factory.setPassword("wrong");
        try {
            factory.newConnection().close();
        } catch (AuthenticationFailureException refusal) {
            equal(refusal.getMessage(), Texts.LOGIN_REFUSED, "text");
            return;
        }
        throw new AssertionError("logged in with a wrong password");
    }
}
