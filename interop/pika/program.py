"""Python's pika 1.x, its blocking connection: the cases of the interoperability suite."""

import datetime
import decimal
import os

import pika
from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    NackError,
    ProbableAuthenticationError,
    UnroutableError,
)

import texts
from cases import WAIT_S, Cases, broker_from_environment, equal, unique
from relay import Relay

cases = Cases()


def connect(broker, port=None, password=None):
    return pika.BlockingConnection(pika.URLParameters(broker.url(port, password)))


def next_delivery(channel, queue):
    for method, properties, body in channel.consume(queue, inactivity_timeout=WAIT_S):
        if method is None:
            raise AssertionError(f"nothing arrived within {WAIT_S} s")
        return method, properties, body


def ready_messages(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def refused(connection, code, text, request):
    """The channel is closed with exactly this, and the connection goes on."""
    channel = connection.channel()
    try:
        request(channel)
    except ChannelClosedByBroker as closed:
        equal((closed.reply_code, closed.reply_text), (code, text), "channel.close")
    else:
        raise AssertionError(f"not refused with {code}")
    connection.channel().close()


@cases.case("publish-consume")
def publish_consume(broker):
    with connect(broker) as connection:
        channel = connection.channel()
        exchange, queue = unique(), unique()
        channel.exchange_declare(exchange, "topic", auto_delete=True)
        channel.queue_declare(queue, auto_delete=True)
        channel.queue_bind(queue, exchange, "a.*.c")
        sent = pika.BasicProperties(
            content_type="text/plain", content_encoding="utf-8", delivery_mode=2, priority=3,
            correlation_id="c", reply_to="r", expiration="60000", message_id="m",
            timestamp=1700000000, type="t", user_id=broker.user, app_id="a", cluster_id="k",
        )
        for number in range(100):
            channel.basic_publish(exchange, "a.b.c", b"%d" % number, sent)
            channel.basic_publish(exchange, "a.b", b"elsewhere", sent)
        for number in range(100):
            method, properties, body = next_delivery(channel, queue)
            equal(body, b"%d" % number, "body")
            equal((method.exchange, method.routing_key), (exchange, "a.b.c"), "origin")
            equal((method.redelivered, method.delivery_tag), (False, number + 1), "delivery")
            equal(vars(properties), vars(sent), "properties")
            channel.basic_ack(method.delivery_tag)


@cases.case("publisher-confirms")
def publisher_confirms(broker):
    with connect(broker) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = unique()
        limits = {"x-max-length": 50, "x-overflow": "reject-publish"}
        channel.queue_declare(queue, exclusive=True, arguments=limits)
        for _ in range(50):
            channel.basic_publish("", queue, b"confirmed")
        equal(ready_messages(channel, queue), 50, "messages")
        try:
            channel.basic_publish("", queue, b"one too many")
            raise AssertionError("a full queue confirmed a message")
        except NackError:
            pass


@cases.case("manual-ack")
def manual_ack(broker):
    with connect(broker) as connection:
        channel = connection.channel()
        queue = unique()
        channel.queue_declare(queue, exclusive=True)
        for _ in range(3):
            channel.basic_publish("", queue, b"work")
        tags = [next_delivery(channel, queue)[0].delivery_tag for _ in range(3)]
        equal(tags, [1, 2, 3], "delivery tags")
        channel.basic_ack(2, multiple=True)
        channel.close()
        channel = connection.channel()
        method, _, _ = channel.basic_get(queue)
        equal((method.redelivered, method.message_count), (True, 0), "what was not acknowledged")
        channel.basic_ack(method.delivery_tag)
        channel.close()
        channel = connection.channel()
        equal(channel.basic_get(queue), (None, None, None), "after the last acknowledgement")


@cases.case("redelivery-after-nack")
def redelivery_after_nack(broker):
    with connect(broker) as connection:
        channel = connection.channel()
        queue = unique()
        channel.queue_declare(queue, exclusive=True)
        channel.basic_publish("", queue, b"again")
        method, _, _ = next_delivery(channel, queue)
        equal(method.redelivered, False, "first delivery")
        channel.basic_nack(method.delivery_tag, requeue=True)
        method, _, body = next_delivery(channel, queue)
        equal((method.redelivered, body), (True, b"again"), "second delivery")
        channel.basic_reject(method.delivery_tag, requeue=True)
        method, _, body = next_delivery(channel, queue)
        equal((method.redelivered, body), (True, b"again"), "third delivery")
        channel.basic_nack(method.delivery_tag, requeue=False)
        channel.close()
        channel = connection.channel()
        equal(channel.basic_get(queue), (None, None, None), "after nack without requeue")


@cases.case("redelivery-after-connection-loss")
def redelivery_after_connection_loss(broker):
    queue = unique()
    with connect(broker) as connection, Relay(broker.host, broker.port) as relay:
        channel = connection.channel()
        channel.queue_declare(queue)
        channel.basic_publish("", queue, b"survives")
        lost = connect(broker, relay.port)
        method, _, _ = next_delivery(lost.channel(), queue)
        equal(method.redelivered, False, "first delivery")
        relay.cut()
        method, _, body = next_delivery(channel, queue)
        equal((method.redelivered, body), (True, b"survives"), "after the loss")
        channel.basic_ack(method.delivery_tag)
        channel.queue_delete(queue)


@cases.case("prefetch")
def prefetch(broker):
    with connect(broker) as connection:
        channel = connection.channel()
        queue, seen = unique(), []
        channel.queue_declare(queue, exclusive=True)
        for number in range(5):
            channel.basic_publish("", queue, b"%d" % number)
        channel.basic_qos(prefetch_count=2)
        channel.basic_consume(queue, lambda _, method, __, ___: seen.append(method.delivery_tag))
        while len(seen) < 2:
            connection.process_data_events(time_limit=WAIT_S)
        equal((ready_messages(channel, queue), seen), (3, [1, 2]), "held back")
        channel.basic_ack(1)
        while len(seen) < 3:
            connection.process_data_events(time_limit=WAIT_S)
        equal((ready_messages(channel, queue), seen), (2, [1, 2, 3]), "one more")


@cases.case("mandatory-return")
def mandatory_return(broker):
    with connect(broker) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        nowhere = unique()
        sent = pika.BasicProperties(message_id="m", headers={"h": 1})
        try:
            channel.basic_publish("", nowhere, b"back", sent, mandatory=True)
            raise AssertionError("not returned")
        except UnroutableError as error:
            [returned] = error.messages
        method = returned.method
        equal((method.reply_code, method.reply_text), (312, "NO_ROUTE"), "basic.return")
        equal((method.exchange, method.routing_key), ("", nowhere), "origin")
        equal((returned.body, vars(returned.properties)), (b"back", vars(sent)), "content")


@cases.case("headers-round-trip")
def headers_round_trip(broker):
    headers = {
        "boolean": True,
        "other boolean": False,
        "integer": -2147483648,
        "long integer": 2**62,
        "negative long": -(2**62),
        "decimal": decimal.Decimal("3.14"),
        "text": "Grüße",
        "octets": bytes(range(256)),
        "timestamp": datetime.datetime(2024, 2, 29, 12, 30, 1, tzinfo=datetime.timezone.utc),
        "nothing": None,
        "array": [1, "two", None, [True, [False]], {"deep": b"x"}],
        "table": {"nested": {"deeper": {"deepest": -1}}, "empty": {}, "none": []},
        "": "an empty key",
        "k" * 255: "the longest key",
    }
    with connect(broker) as connection:
        channel = connection.channel()
        queue = unique()
        channel.queue_declare(queue, exclusive=True)
        channel.basic_publish("", queue, b"", pika.BasicProperties(headers=headers))
        _, properties, _ = next_delivery(channel, queue)
        equal(properties.headers, headers, "headers")


@cases.case("empty-body")
def empty_body(broker):
    body_round_trip(broker, b"")


@cases.case("large-body")
def large_body(broker):
    body_round_trip(broker, os.urandom(8 * 1024 * 1024))


def body_round_trip(broker, body):
    with connect(broker) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = unique()
        channel.queue_declare(queue, exclusive=True)
        channel.basic_publish("", queue, body)
        _, _, received = next_delivery(channel, queue)
        if received != body:
            raise AssertionError(f"{len(body)} octets went out, others came back")


@cases.case("error-404")
def error_404(broker):
    missing = unique()
    with connect(broker) as connection:
        refused(connection, 404, texts.no_queue(missing),
                lambda channel: channel.basic_consume(missing, print))
        refused(connection, 404, texts.no_queue(missing),
                lambda channel: channel.queue_declare(missing, passive=True))
        refused(connection, 404, texts.no_exchange(missing), publish_to_missing(missing))


def publish_to_missing(exchange):
    def request(channel):
        channel.confirm_delivery()
        channel.basic_publish(exchange, "key", b"lost")

    return request


@cases.case("error-405")
def error_405(broker):
    queue = unique()
    with connect(broker) as owner, connect(broker) as other:
        owner.channel().queue_declare(queue, exclusive=True)
        refused(other, 405, texts.locked(queue),
                lambda channel: channel.queue_declare(queue, exclusive=True))
        refused(other, 405, texts.locked(queue),
                lambda channel: channel.basic_consume(queue, print))


@cases.case("error-406")
def error_406(broker):
    queue = unique()
    with connect(broker) as connection:
        connection.channel().queue_declare(queue, durable=True)
        refused(connection, 406, texts.other_durability(queue),
                lambda channel: channel.queue_declare(queue, durable=False))
        refused(connection, 406, texts.unknown_delivery_tag(42), acknowledge_unknown)
        connection.channel().queue_delete(queue)


def acknowledge_unknown(channel):
    channel.basic_ack(42)
    channel.queue_declare("", exclusive=True)


@cases.case("error-403")
def error_403(broker):
    queue, reserved = unique(), f"amq.{unique()}"
    with connect(broker) as connection:
        refused(connection, 403, texts.reserved_name(reserved),
                lambda channel: channel.queue_declare(reserved))
        channel = connection.channel()
        channel.queue_declare(queue, exclusive=True)
        channel.basic_consume(queue, print, exclusive=True)
        refused(connection, 403, texts.exclusive_use(queue),
                lambda channel: channel.basic_consume(queue, print))


@cases.case("login-refused")
def login_refused(broker):
    try:
        connect(broker, password="not the password")
        raise AssertionError("logged in with a wrong password")
    except ProbableAuthenticationError as error:
        if texts.LOGIN_REFUSED not in str(error):
            raise


@cases.case("consumer-cancel-notification")
def consumer_cancel_notification(broker):
    with connect(broker) as connection, connect(broker) as other:
        channel = connection.channel()
        queue, cancelled = unique(), []
        channel.queue_declare(queue)
        channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
        tag = channel.basic_consume(queue, print)
        other.channel().queue_delete(queue)
        while not cancelled:
            connection.process_data_events(time_limit=WAIT_S)
        equal(cancelled, [tag], "cancelled consumer")
        channel.queue_declare("", exclusive=True)


@cases.case("reconnect")
def reconnect(broker):
    queue = unique()
    with connect(broker) as observer, Relay(broker.host, broker.port) as relay:
        observer.channel().queue_declare(queue)
        connection = connect(broker, relay.port)
        channel = connection.channel()
        channel.basic_consume(queue, print)
        relay.cut()
        try:
            connection.process_data_events(time_limit=WAIT_S)
            raise AssertionError("the loss was not noticed")
        except AMQPConnectionError:
            pass
        with connect(broker, relay.port) as again:
            channel = again.channel()
            channel.basic_publish("", queue, b"after")
            equal(next_delivery(channel, queue)[2], b"after", "body")
        observer.channel().queue_delete(queue)


cases.run(broker_from_environment())
