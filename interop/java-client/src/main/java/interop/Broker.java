package interop;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.ShutdownSignalException;
import java.net.URI;
import java.util.HexFormat;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The broker under test, and the few words in which the cases speak to it. */
final class Broker {
    static final long PATIENCE_S = 20;

    final URI address;

    Broker(URI address) {
        this.address = address;
    }

    String user() {
        return address.getUserInfo().split(":")[0];
    }

    ConnectionFactory factory(int port) {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(port == address.getPort() ? address.getHost() : "127.0.0.1");
        factory.setPort(port);
        factory.setUsername(user());
        factory.setPassword(address.getUserInfo().split(":")[1]);
        factory.setAutomaticRecoveryEnabled(false);
        return factory;
    }

    Connection connect() throws Exception {
        return factory(address.getPort()).newConnection();
    }

    /** A name no other run uses, short enough for every reply text to stay under 252 octets. */
    static String unique() {
        byte[] octets = new byte[6];
        new Random().nextBytes(octets);
        return "io-" + HexFormat.of().formatHex(octets);
    }

    static String declare(Channel channel) throws Exception {
        return channel.queueDeclare(unique(), false, true, false, null).getQueue();
    }

    static void publish(Channel channel, String queue, String body) throws Exception {
        channel.basicPublish("", queue, null, body.getBytes());
    }

    static BlockingQueue<Delivery> consume(Channel channel, String queue) throws Exception {
        BlockingQueue<Delivery> arrivals = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, false, (tag, delivery) -> arrivals.add(delivery), tag -> { });
        return arrivals;
    }

    static <T> T next(BlockingQueue<T> arrivals) throws InterruptedException {
        T item = arrivals.poll(PATIENCE_S, TimeUnit.SECONDS);
        if (item == null) {
            throw new AssertionError("nothing arrived within " + PATIENCE_S + " s");
        }
        return item;
    }

    static void equal(Object actual, Object expected, String what) {
        if (!Objects.deepEquals(actual, expected)) {
            throw new AssertionError(what + ": expected " + expected + ", found " + actual);
        }
    }

    /** What a case asks of a channel that will be closed for it. */
    interface Request {
        void ask(Channel channel) throws Exception;
    }

    /** The channel is closed with exactly this, and the connection goes on. */
    static void refused(Connection connection, int code, int classId, int methodId, String text, Request request)
            throws Exception {
        Channel channel = connection.createChannel();
        BlockingQueue<ShutdownSignalException> signals = new LinkedBlockingQueue<>();
        channel.addShutdownListener(signals::add);
        try {
            request.ask(channel);
        } catch (java.io.IOException expected) {
            // The reason is read from the shutdown signal, which asynchronous methods raise as well.
        }
        AMQP.Channel.Close close = (AMQP.Channel.Close) next(signals).getReason();
        equal(close.getReplyText(), text, "reply text");
        equal(close.getReplyCode(), code, "reply code");
        equal(close.getClassId() + "." + close.getMethodId(), classId + "." + methodId, "method");
        connection.createChannel().close();
    }
}
