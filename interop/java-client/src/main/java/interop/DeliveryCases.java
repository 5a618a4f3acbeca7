package interop;

import static interop.Broker.consume;
import static interop.Broker.declare;
import static interop.Broker.equal;
import static interop.Broker.next;
import static interop.Broker.publish;
import static interop.Broker.unique;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.Return;
import interop.Program.Case;
import java.io.IOException;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** Messages on their way: published, confirmed, delivered, settled, returned. */
final class DeliveryCases {
    static final List<Case> ALL = List.of(
            new Case("publish-consume", DeliveryCases::publishConsume),
            new Case("publisher-confirms", DeliveryCases::publisherConfirms),
            new Case("manual-ack", DeliveryCases::manualAck),
            new Case("redelivery-after-nack", DeliveryCases::redeliveryAfterNack),
            new Case("prefetch", DeliveryCases::prefetch),
            new Case("mandatory-return", DeliveryCases::mandatoryReturn));

    private DeliveryCases() {
    }

    private static void publishConsume(Broker broker) throws Exception {
        try (Connection connection = broker.connect()) {
            Channel channel = connection.createChannel();
            String exchange = unique();
            String queue = unique();
            channel.exchangeDeclare(exchange, "topic", false, true, null);
            channel.queueDeclare(queue, false, false, true, null);
            channel.queueBind(queue, exchange, "a.*.c");
            AMQP.BasicProperties sent = new AMQP.BasicProperties.Builder().contentType("text/plain")
                    .contentEncoding("utf-8").deliveryMode(2).priority(3).correlationId("c").replyTo("r")
                    .expiration("60000").messageId("m").timestamp(new Date(1700000000000L)).type("t")
                    .userId(broker.user()).appId("a").clusterId("k").build();
            for (int number = 0; number < 100; number++) {
                channel.basicPublish(exchange, "a.b.c", sent, String.valueOf(number).getBytes());
                channel.basicPublish(exchange, "a.b", sent, "elsewhere".getBytes());
            }
            BlockingQueue<Delivery> arrivals = consume(channel, queue);
            for (int number = 0; number < 100; number++) {
                Delivery delivery = next(arrivals);
                equal(new String(delivery.getBody()), String.valueOf(number), "body");
                equal(delivery.getEnvelope().getExchange(), exchange, "exchange");
                equal(delivery.getEnvelope().getRoutingKey(), "a.b.c", "routing key");
                equal(delivery.getEnvelope().isRedeliver(), false, "redelivered");
                equal(delivery.getEnvelope().getDeliveryTag(), number + 1L, "delivery tag");
                equal(delivery.getProperties(), sent, "properties");
                channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
            }
        }
    }

    private static void publisherConfirms(Broker broker) throws Exception {
        try (Connection connection = broker.connect()) {
            Channel channel = connection.createChannel();
            channel.confirmSelect();
            Map<String, Object> limits = Map.of("x-max-length", 50, "x-overflow", "reject-publish");
            String queue = channel.queueDeclare(unique(), false, true, false, limits).getQueue();
            for (int number = 0; number < 50; number++) {
                publish(channel, queue, "confirmed");
            }
            channel.waitForConfirmsOrDie(Broker.PATIENCE_S * 1000);
            equal(channel.messageCount(queue), 50L, "messages");
            publish(channel, queue, "one too many");
            equal(channel.waitForConfirms(Broker.PATIENCE_S * 1000), false, "a full queue's confirm");
        }
    }

    private static void manualAck(Broker broker) throws Exception {
        try (Connection connection = broker.connect()) {
            Channel channel = connection.createChannel();
            String queue = declare(channel);
            for (int number = 0; number < 3; number++) {
                publish(channel, queue, "work");
            }
            BlockingQueue<Delivery> arrivals = consume(channel, queue);
            next(arrivals);
            Delivery second = next(arrivals);
            equal(next(arrivals).getEnvelope().getDeliveryTag(), 3L, "delivery tag");
            channel.basicAck(second.getEnvelope().getDeliveryTag(), true);
            channel.close();
            channel = connection.createChannel();
            GetResponse left = channel.basicGet(queue, false);
            equal(left.getEnvelope().isRedeliver(), true, "redelivered");
            equal(left.getMessageCount(), 0, "messages left");
            channel.basicAck(left.getEnvelope().getDeliveryTag(), false);
            channel.close();
            equal(connection.createChannel().basicGet(queue, true), null, "after the last acknowledgement");
        }
    }

    private static void redeliveryAfterNack(Broker broker) throws Exception {
        try (Connection connection = broker.connect()) {
            Channel channel = connection.createChannel();
            String queue = declare(channel);
            publish(channel, queue, "again");
            BlockingQueue<Delivery> arrivals = consume(channel, queue);
            Delivery delivery = next(arrivals);
            equal(delivery.getEnvelope().isRedeliver(), false, "first delivery");
            channel.basicNack(delivery.getEnvelope().getDeliveryTag(), false, true);
            delivery = next(arrivals);
            equal(delivery.getEnvelope().isRedeliver(), true, "second delivery");
            channel.basicReject(delivery.getEnvelope().getDeliveryTag(), true);
            delivery = next(arrivals);
            equal(delivery.getEnvelope().isRedeliver(), true, "third delivery");
            equal(new String(delivery.getBody()), "again", "body");
            channel.basicNack(delivery.getEnvelope().getDeliveryTag(), false, false);
            channel.close();
            equal(connection.createChannel().basicGet(queue, true), null, "after nack without requeue");
        }
    }

    private static void prefetch(Broker broker) throws Exception {
        try (Connection connection = broker.connect()) {
            Channel channel = connection.createChannel();
            String queue = declare(channel);
            for (int number = 0; number < 5; number++) {
                publish(channel, queue, String.valueOf(number));
            }
            channel.basicQos(2);
            BlockingQueue<Delivery> arrivals = consume(channel, queue);
            Delivery first = next(arrivals);
            next(arrivals);
            equal(channel.messageCount(queue), 3L, "messages held back");
            equal(arrivals.size(), 0, "messages beyond the limit");
            channel.basicAck(first.getEnvelope().getDeliveryTag(), false);
            equal(new String(next(arrivals).getBody()), "2", "one more");
            equal(channel.messageCount(queue), 2L, "messages held back");
            equal(arrivals.size(), 0, "messages beyond the limit");
        }
    }

    private static void mandatoryReturn(Broker broker) throws Exception {
        try (Connection connection = broker.connect()) {
            Channel channel = connection.createChannel();
            BlockingQueue<Return> returns = new LinkedBlockingQueue<>();
            BlockingQueue<Integer> returnsBeforeConfirm = new LinkedBlockingQueue<>();
            channel.confirmSelect();
            channel.addReturnListener(returns::add);
            channel.addConfirmListener((tag, multiple) -> returnsBeforeConfirm.add(returns.size()),
                    (tag, multiple) -> {
                        throw new IOException("nacked");
                    });
            String nowhere = unique();
            AMQP.BasicProperties sent = new AMQP.BasicProperties.Builder().messageId("m").headers(Map.of("h", 1))
                    .build();
            channel.basicPublish("", nowhere, true, sent, "back".getBytes());
            equal(next(returnsBeforeConfirm), 1, "returns before the confirm");
            Return returned = next(returns);
            equal(returned.getReplyCode() + " " + returned.getReplyText(), "312 NO_ROUTE", "basic.return");
            equal(returned.getExchange() + returned.getRoutingKey(), nowhere, "origin");
            equal(new String(returned.getBody()), "back", "body");
            equal(returned.getProperties(), sent, "properties");
        }
    }
}
