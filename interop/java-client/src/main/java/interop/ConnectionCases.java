package interop;

import static interop.Broker.consume;
import static interop.Broker.declare;
import static interop.Broker.equal;
import static interop.Broker.next;
import static interop.Broker.publish;
import static interop.Broker.unique;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import interop.Program.Case;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** Connections that break, consumers that lose their queue. */
final class ConnectionCases {
    static final List<Case> ALL = List.of(
            new Case("redelivery-after-connection-loss", ConnectionCases::redeliveryAfterConnectionLoss),
            new Case("consumer-cancel-notification", ConnectionCases::consumerCancelNotification),
            new Case("reconnect", ConnectionCases::reconnect));

    private ConnectionCases() {
    }

    private static Relay relay(Broker broker) throws Exception {
        return new Relay(broker.address.getHost(), broker.address.getPort());
    }

    private static void redeliveryAfterConnectionLoss(Broker broker) throws Exception {
        try (Connection connection = broker.connect(); Relay relay = relay(broker)) {
            Channel channel = connection.createChannel();
            String queue = channel.queueDeclare(unique(), false, false, false, null).getQueue();
            publish(channel, queue, "survives");
            Connection lost = broker.factory(relay.port()).newConnection();
            Delivery held = next(consume(lost.createChannel(), queue));
            equal(held.getEnvelope().isRedeliver(), false, "first delivery");
            relay.cut();
            Delivery delivery = next(consume(channel, queue));
            equal(delivery.getEnvelope().isRedeliver(), true, "after the loss");
            equal(new String(delivery.getBody()), "survives", "body");
            channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
            channel.queueDelete(queue);
        }
    }

    private static void consumerCancelNotification(Broker broker) throws Exception {
        try (Connection connection = broker.connect(); Connection other = broker.connect()) {
            Channel channel = connection.createChannel();
            String queue = channel.queueDeclare(unique(), false, false, false, null).getQueue();
            BlockingQueue<String> cancelled = new LinkedBlockingQueue<>();
            String consumerTag = channel.basicConsume(queue, false, (tag, delivery) -> { }, cancelled::add);
            other.createChannel().queueDelete(queue);
            equal(next(cancelled), consumerTag, "cancelled consumer");
            declare(channel);
        }
    }

    /** The client's automatic recovery restores connection, channel, queue, binding and consumer. */
    private static void reconnect(Broker broker) throws Exception {
        try (Connection publisher = broker.connect(); Relay relay = relay(broker)) {
            ConnectionFactory factory = broker.factory(relay.port());
            factory.setAutomaticRecoveryEnabled(true);
            factory.setNetworkRecoveryInterval(50);
            BlockingQueue<Boolean> recoveries = new LinkedBlockingQueue<>();
            Connection connection = factory.newConnection();
            ((Recoverable) connection).addRecoveryListener(recoveryListener(recoveries));
            Channel channel = connection.createChannel();
            // A name of the broker's making: recovery declares a new one and moves binding and consumer to it.
            String queue = channel.queueDeclare().getQueue();
            String exchange = unique();
            channel.exchangeDeclare(exchange, "fanout", false, true, null);
            channel.queueBind(queue, exchange, "");
            BlockingQueue<Delivery> arrivals = consume(channel, queue);
            relay.cut();
            next(recoveries);
            publisher.createChannel().basicPublish(exchange, "", null, "after".getBytes());
            equal(new String(next(arrivals).getBody()), "after", "body");
            connection.close();
        }
    }

    private static RecoveryListener recoveryListener(BlockingQueue<Boolean> recoveries) {
        return new RecoveryListener() {
            @Override
            public void handleRecovery(Recoverable recovered) {
                recoveries.add(true);
            }

            @Override
            public void handleRecoveryStarted(Recoverable recovering) {
                // Only the end is of interest.
            }
        };
    }
}
