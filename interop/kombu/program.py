"""Python's kombu (and py-amqp below it), as Celery uses them: the cases of the suite."""

import collections
import datetime
import decimal
import os

import amqp.exceptions
import kombu

import texts
from cases import WAIT_S, Cases, broker_from_environment, equal, unique
from relay import Relay

cases = Cases()


def connect(broker, port=None, password=None, **options):
    url = broker.url(port, password)
    connection = kombu.Connection(url, transport_options=options, connect_timeout=WAIT_S)
    connection.ensure_connection(max_retries=1)
    return connection


class Consumption:
    """A consumer whose messages are taken one at a time."""

    def __init__(self, connection, queue, channel=None, **options):
        self.connection = connection
        self.arrived = collections.deque()
        self.channel = channel or connection.channel()
        self.consumer = kombu.Consumer(
            self.channel, [kombu.Queue(queue, no_declare=True)], auto_declare=False,
            on_message=self.arrived.append, accept=["json", "text/plain"], **options,
        )
        self.consumer.consume()

    def next(self):
        while not self.arrived:
            self.connection.drain_events(timeout=WAIT_S)
        return self.arrived.popleft()


def declare(connection, **options):
    # kombu.Queue would make an exclusive queue auto-delete: these outlive their first consumer.
    options = {"exclusive": True, "auto_delete": False, **options}
    channel, name = connection.channel(), unique()
    channel.queue_declare(name, **options)
    return kombu.Queue(name, no_declare=True)(channel)


def publish(channel, key, body, exchange="", **properties):
    # Text or octets as they are: the serialisers are kombu's own affair.
    properties = {"content_type": "application/data", "content_encoding": "binary", **properties}
    kombu.Producer(channel).publish(body, routing_key=key, exchange=exchange, **properties)


def ready_messages(channel, queue):
    return channel.queue_declare(queue, passive=True).message_count


def refused(connection, code, text, request):
    """The channel is closed with exactly this, and the connection goes on."""
    channel = connection.channel()
    try:
        request(channel)
    except amqp.exceptions.ChannelError as closed:
        equal((closed.reply_code, closed.reply_text), (code, text), "channel.close")
    else:
        raise AssertionError(f"not refused with {code}")
    connection.channel().close()


@cases.case("publish-consume")
def publish_consume(broker):
    with connect(broker) as connection:
        channel = connection.channel()
        exchange = kombu.Exchange(unique(), "topic", durable=False, auto_delete=True)
        queue = kombu.Queue(unique(), exchange, "a.*.c", durable=False, auto_delete=True)
        queue(channel).declare()
        sent = {
            "priority": 3, "correlation_id": "c", "reply_to": "r", "message_id": "m", "type": "t",
            "timestamp": 1700000000, "user_id": broker.user, "app_id": "a", "delivery_mode": 2,
            "content_encoding": "utf-8", "content_type": "application/json",
        }
        for number in range(100):
            publish(channel, "a.b.c", b"%d" % number, exchange.name, expiration=60, **sent)
            publish(channel, "a.b", b"elsewhere", exchange.name)
        consumption = Consumption(connection, queue.name)
        expected = {**sent, "expiration": "60000", "application_headers": {}}
        for number in range(100):
            message = consumption.next()
            equal(message.payload, number, "body")
            info = message.delivery_info
            equal((info["exchange"], info["routing_key"]), (exchange.name, "a.b.c"), "origin")
            equal((info["redelivered"], message.delivery_tag), (False, number + 1), "delivery")
            equal(message.properties, expected, "properties")
            message.ack()


@cases.case("publisher-confirms")
def publisher_confirms(broker):
    with connect(broker, confirm_publish=True) as connection:
        limits = {"x-max-length": 50, "x-overflow": "reject-publish"}
        queue = declare(connection, arguments=limits)
        channel = connection.channel()
        for _ in range(50):
            publish(channel, queue.name, b"confirmed")
        equal(ready_messages(channel, queue.name), 50, "messages")
        try:
            publish(channel, queue.name, b"one too many")
            raise AssertionError("a full queue confirmed a message")
        except amqp.exceptions.MessageNacked:
            pass


@cases.case("manual-ack")
def manual_ack(broker):
    with connect(broker) as connection:
        queue = declare(connection)
        for _ in range(3):
            publish(queue.channel, queue.name, b"work")
        consumption = Consumption(connection, queue.name)
        received = [consumption.next() for _ in range(3)]
        equal([message.delivery_tag for message in received], [1, 2, 3], "delivery tags")
        received[1].ack(multiple=True)
        consumption.channel.close()
        left = queue.get()
        info = left.delivery_info
        equal((info["redelivered"], info["message_count"]), (True, 0), "not acknowledged")
        left.ack()
        queue.channel.close()
        after = queue(connection.channel()).get()
        equal(after, None, "after the last acknowledgement")


@cases.case("redelivery-after-nack")
def redelivery_after_nack(broker):
    with connect(broker) as connection:
        queue = declare(connection)
        publish(queue.channel, queue.name, b"again")
        consumption = Consumption(connection, queue.name)
        message = consumption.next()
        equal(message.delivery_info["redelivered"], False, "first delivery")
        message.requeue()
        message = consumption.next()
        equal((message.delivery_info["redelivered"], message.body), (True, b"again"), "second")
        message.reject()
        consumption.channel.close()
        equal(queue.get(), None, "after reject without requeue")


@cases.case("redelivery-after-connection-loss")
def redelivery_after_connection_loss(broker):
    with connect(broker) as connection, Relay(broker.host, broker.port) as relay:
        queue = declare(connection, exclusive=False)
        publish(queue.channel, queue.name, b"survives")
        held = Consumption(connect(broker, relay.port), queue.name).next()
        equal(held.delivery_info["redelivered"], False, "first delivery")
        relay.cut()
        consumption = Consumption(connection, queue.name)
        message = consumption.next()
        equal((message.delivery_info["redelivered"], message.body), (True, b"survives"), "after")
        message.ack()
        consumption.consumer.cancel()
        queue.delete()


@cases.case("prefetch")
def prefetch(broker):
    with connect(broker) as connection:
        queue = declare(connection)
        for number in range(5):
            publish(queue.channel, queue.name, b"%d" % number)
        consumption = Consumption(connection, queue.name, prefetch_count=2)
        first, _ = consumption.next(), consumption.next()
        channel = consumption.channel
        equal(ready_messages(channel, queue.name), 3, "held back")
        equal(len(consumption.arrived), 0, "messages beyond the limit")
        first.ack()
        equal(consumption.next().body, b"2", "one more")
        equal(ready_messages(channel, queue.name), 2, "held back")
        equal(len(consumption.arrived), 0, "messages beyond the limit")


@cases.case("mandatory-return")
def mandatory_return(broker):
    with connect(broker) as connection:
        channel, nowhere, returned = connection.channel(), unique(), []
        producer = kombu.Producer(channel, on_return=lambda *method: returned.append(method))
        producer.publish(b"back", routing_key=nowhere, mandatory=True, headers={"h": 1},
                         content_type="application/data", content_encoding="binary")
        while not returned:
            connection.drain_events(timeout=WAIT_S)
        [(error, exchange, routing_key, message)] = returned
        equal((error.reply_code, error.reply_text), (312, "NO_ROUTE"), "basic.return")
        equal((exchange, routing_key), ("", nowhere), "origin")
        content = message.properties["application_headers"], message.body
        equal(content, ({"h": 1}, b"back"), "content")


@cases.case("headers-round-trip")
def headers_round_trip(broker):
    headers = {
        "boolean": True,
        "other boolean": False,
        "integer": -2147483647,
        "long integer": 2**62,
        "negative long": -(2**62),
        "float": 2.5,
        "decimal": decimal.Decimal("3.14"),
        "text": "Grüße",
        "timestamp": datetime.datetime(2024, 2, 29, 12, 30, 1),
        "nothing": None,
        "array": [1, "two", None, [3.5, True], {"deep": 2**40}],
        "table": {"nested": {"deeper": {"deepest": -1}}, "empty": {}, "none": []},
        "": "an empty key",
        "k" * 255: "the longest key",
    }
    with connect(broker) as connection:
        queue = declare(connection)
        publish(queue.channel, queue.name, b"", headers=headers)
        equal(Consumption(connection, queue.name).next().headers, headers, "headers")


@cases.case("empty-body")
def empty_body(broker):
    body_round_trip(broker, b"")


@cases.case("large-body")
def large_body(broker):
    body_round_trip(broker, os.urandom(8 * 1024 * 1024))


def body_round_trip(broker, body):
    with connect(broker) as connection:
        queue = declare(connection)
        publish(queue.channel, queue.name, body)
        received = Consumption(connection, queue.name).next().body
        # py-amqp gives an empty body as text.
        if (received or b"") != body:
            raise AssertionError(f"{len(body)} octets went out, others came back")


@cases.case("error-404")
def error_404(broker):
    missing = unique()
    with connect(broker) as connection:
        refused(connection, 404, texts.no_queue(missing),
                lambda channel: channel.queue_declare(missing, passive=True))
        refused(connection, 404, texts.no_queue(missing),
                lambda channel: Consumption(connection, missing, channel))
    with connect(broker, confirm_publish=True) as connection:
        refused(connection, 404, texts.no_exchange(missing),
                lambda channel: publish(channel, "key", b"lost", missing))


@cases.case("error-405")
def error_405(broker):
    with connect(broker) as owner, connect(broker) as other:
        name = declare(owner).name
        refused(other, 405, texts.locked(name),
                lambda channel: channel.queue_declare(name, exclusive=True, auto_delete=False))
        refused(other, 405, texts.locked(name),
                lambda channel: Consumption(other, name, channel))


@cases.case("error-406")
def error_406(broker):
    with connect(broker) as connection:
        queue = declare(connection, durable=True, exclusive=False)
        refused(connection, 406, texts.other_durability(queue.name),
                lambda channel: channel.queue_declare(queue.name, auto_delete=False))
        refused(connection, 406, texts.unknown_delivery_tag(42), acknowledge_unknown)
        queue.delete()


def acknowledge_unknown(channel):
    channel.basic_ack(42)
    channel.queue_declare(exclusive=True)


@cases.case("error-403")
def error_403(broker):
    reserved = f"amq.{unique()}"
    with connect(broker) as connection:
        refused(connection, 403, texts.reserved_name(reserved),
                lambda channel: channel.queue_declare(reserved))
        queue = declare(connection)
        queue.channel.basic_consume(queue.name, exclusive=True)
        refused(connection, 403, texts.exclusive_use(queue.name),
                lambda channel: Consumption(connection, queue.name, channel))


@cases.case("login-refused")
def login_refused(broker):
    try:
        connect(broker, password="wrong")
        raise AssertionError("logged in with a wrong password")
    except amqp.exceptions.AccessRefused as error:
        equal((error.reply_code, error.reply_text), (403, texts.LOGIN_REFUSED), "close")


@cases.case("consumer-cancel-notification")
def consumer_cancel_notification(broker):
    with connect(broker) as connection, connect(broker) as other:
        queue, cancelled = declare(connection, exclusive=False), []
        channel = connection.channel()
        channel.basic_consume(queue.name, consumer_tag="mine", on_cancel=cancelled.append)
        queue(other.channel()).delete()
        while not cancelled:
            connection.drain_events(timeout=WAIT_S)
        equal(cancelled, ["mine"], "cancelled consumer")
        channel.queue_declare(exclusive=True)


@cases.case("reconnect")
def reconnect(broker):
    """`ensure` opens the connection again and repeats what failed."""
    with connect(broker) as observer, Relay(broker.host, broker.port) as relay:
        queue = declare(observer, exclusive=False)
        connection = connect(broker, relay.port)
        Consumption(connection, queue.name)
        relay.cut()
        try:
            connection.drain_events(timeout=WAIT_S)
            raise AssertionError("the loss was not noticed")
        except connection.connection_errors as error:
            equal(isinstance(error, TimeoutError), False, f"timed out: {error!r}")
        connection.ensure_connection(max_retries=3, interval_start=0)
        producer = kombu.Producer(connection.channel())
        resilient = connection.ensure(producer, producer.publish, max_retries=3, interval_start=0)
        resilient(b"after", routing_key=queue.name, exchange="",
                  content_type="application/data", content_encoding="binary")
        equal(Consumption(connection, queue.name).next().body, b"after", "body")
        queue.delete()


cases.run(broker_from_environment())
