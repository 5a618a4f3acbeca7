"""Python's aio-pika, on asyncio: the cases of the interoperability suite."""

import asyncio
import contextlib
import datetime
import decimal
import logging
import os

import aio_pika
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.exceptions import (
    ChannelClosed,
    DeliveryError,
    ProbableAuthenticationError,
    PublishError,
    QueueEmpty,
)

import texts
from cases import WAIT_S, Cases, broker_from_environment, equal, unique
from relay import Relay

cases = Cases()
# A lost connection is what some cases are about: its traces would only bury a real failure.
logging.disable(logging.CRITICAL)


@contextlib.asynccontextmanager
async def connected(broker, port=None):
    connection = await aio_pika.connect(broker.url(port), timeout=WAIT_S)
    try:
        yield connection
    finally:
        await connection.close()


async def next_message(messages):
    return await asyncio.wait_for(messages.get(), WAIT_S)


async def consume(queue, **options):
    """Starts a consumer and gives the place where its messages arrive."""
    messages = asyncio.Queue()
    await queue.consume(messages.put, **options)
    return messages


async def ready_messages(channel, name):
    return (await channel.declare_queue(name, passive=True)).declaration_result.message_count


async def refused(connection, code, text, request):
    """The channel is closed with exactly this, and the connection goes on."""
    channel = await connection.channel()
    try:
        await request(channel)
    except ChannelClosed as closed:
        found = str(closed.args[-1] if closed.args else closed)
        equal((code_of(closed), found), (code, text), "channel.close")
    else:
        raise AssertionError(f"not refused with {code}")
    await (await connection.channel()).close()


def code_of(closed):
    codes = {
        "ChannelAccessRefused": 403,
        "ChannelNotFoundEntity": 404,
        "ChannelLockedResource": 405,
        "ChannelPreconditionFailed": 406,
    }
    return codes[type(closed).__name__]


@cases.case("publish-consume")
async def publish_consume(broker):
    async with connected(broker) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(unique(), ExchangeType.TOPIC, auto_delete=True)
        queue = await channel.declare_queue(unique(), auto_delete=True)
        await queue.bind(exchange, "a.*.c")
        properties = {
            "content_type": "text/plain", "content_encoding": "utf-8",
            "delivery_mode": DeliveryMode.PERSISTENT, "priority": 3, "correlation_id": "c",
            "reply_to": "r", "expiration": 60, "message_id": "m", "type": "t", "app_id": "a",
            "timestamp": datetime.datetime.fromtimestamp(1700000000, datetime.timezone.utc),
            "user_id": broker.user,
        }
        for number in range(100):
            await exchange.publish(Message(b"%d" % number, **properties), "a.b.c")
            await exchange.publish(Message(b"elsewhere"), "a.b", mandatory=False)
        messages = await consume(queue)
        for number in range(100):
            message = await next_message(messages)
            equal(message.body, b"%d" % number, "body")
            equal((message.exchange, message.routing_key), (exchange.name, "a.b.c"), "origin")
            equal((message.redelivered, message.delivery_tag), (False, number + 1), "delivery")
            equal({key: getattr(message, key) for key in properties}, properties, "properties")
            await message.ack()


@cases.case("publisher-confirms")
async def publisher_confirms(broker):
    async with connected(broker) as connection:
        channel = await connection.channel(publisher_confirms=True)
        name = unique()
        limits = {"x-max-length": 50, "x-overflow": "reject-publish"}
        await channel.declare_queue(name, exclusive=True, arguments=limits)
        publish = channel.default_exchange.publish
        await asyncio.gather(*(publish(Message(b"confirmed"), name) for _ in range(50)))
        equal(await ready_messages(channel, name), 50, "messages")
        try:
            await publish(Message(b"one too many"), name)
            raise AssertionError("a full queue confirmed a message")
        except DeliveryError as error:
            equal(error.frame.name, "Basic.Nack", "the answer")


@cases.case("manual-ack")
async def manual_ack(broker):
    async with connected(broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(unique(), exclusive=True)
        for _ in range(3):
            await channel.default_exchange.publish(Message(b"work"), queue.name)
        messages = await consume(queue)
        received = [await next_message(messages) for _ in range(3)]
        equal([message.delivery_tag for message in received], [1, 2, 3], "delivery tags")
        await received[1].ack(multiple=True)
        await channel.close()
        left = await get(connection, queue.name)
        equal((left.redelivered, left.message_count), (True, 0), "what was not acknowledged")
        await left.ack()
        await left.channel.close()
        equal(await get(connection, queue.name), None, "after the last acknowledgement")


async def get(connection, name):
    channel = await connection.channel()
    queue = await channel.get_queue(name, ensure=False)
    try:
        return await queue.get(timeout=WAIT_S)
    except QueueEmpty:
        return None


@cases.case("redelivery-after-nack")
async def redelivery_after_nack(broker):
    async with connected(broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(unique(), exclusive=True)
        await channel.default_exchange.publish(Message(b"again"), queue.name)
        messages = await consume(queue)
        message = await next_message(messages)
        equal(message.redelivered, False, "first delivery")
        await message.nack(requeue=True)
        message = await next_message(messages)
        equal((message.redelivered, message.body), (True, b"again"), "second delivery")
        await message.reject(requeue=True)
        message = await next_message(messages)
        equal((message.redelivered, message.body), (True, b"again"), "third delivery")
        await message.nack(requeue=False)
        await channel.close()
        equal(await get(connection, queue.name), None, "after nack without requeue")


@cases.case("redelivery-after-connection-loss")
async def redelivery_after_connection_loss(broker):
    with Relay(broker.host, broker.port) as relay:
        async with connected(broker) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(unique())
            await channel.default_exchange.publish(Message(b"survives"), queue.name)
            lost = await aio_pika.connect(broker.url(relay.port))
            lost_channel = await lost.channel()
            held = await consume(await lost_channel.get_queue(queue.name))
            equal((await next_message(held)).redelivered, False, "first delivery")
            relay.cut()
            message = await next_message(await consume(queue))
            equal((message.redelivered, message.body), (True, b"survives"), "after the loss")
            await message.ack()
            await queue.delete(if_unused=False, if_empty=False)


@cases.case("prefetch")
async def prefetch(broker):
    async with connected(broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(unique(), exclusive=True)
        for number in range(5):
            await channel.default_exchange.publish(Message(b"%d" % number), queue.name)
        await channel.set_qos(prefetch_count=2)
        messages = await consume(queue)
        first, _ = await next_message(messages), await next_message(messages)
        equal(await ready_messages(channel, queue.name), 3, "held back")
        equal(messages.qsize(), 0, "messages beyond the limit")
        await first.ack()
        equal((await next_message(messages)).body, b"2", "one more")
        equal(await ready_messages(channel, queue.name), 2, "held back")
        equal(messages.qsize(), 0, "messages beyond the limit")


@cases.case("mandatory-return")
async def mandatory_return(broker):
    async with connected(broker) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        nowhere = unique()
        message = Message(b"back", headers={"h": 1}, message_id="m")
        try:
            await channel.default_exchange.publish(message, nowhere, mandatory=True)
            raise AssertionError("not returned")
        except PublishError as error:
            returned, method = error.message, error.frame
        equal((method.reply_code, method.reply_text), (312, "NO_ROUTE"), "basic.return")
        equal((method.exchange, method.routing_key), ("", nowhere), "origin")
        properties = returned.header.properties
        equal((returned.body, properties.headers, properties.message_id),
              (b"back", {"h": 1}, "m"), "content")


@cases.case("headers-round-trip")
async def headers_round_trip(broker):
    headers = {
        "boolean": True,
        "other boolean": False,
        "int8": -128,
        "int16": -32768,
        "uint16": 65535,
        "int32": -2147483648,
        "uint32": 4294967295,
        "int64": -(2**62),
        "float": 2.5,
        "decimal": decimal.Decimal("3.14"),
        "text": "Grüße",
        "octets": bytearray(range(256)),
        "timestamp": datetime.datetime(2024, 2, 29, 12, 30, 1, tzinfo=datetime.timezone.utc),
        "nothing": None,
        "array": [1, "two", None, [3.5, True], {"deep": 100000}],
        "table": {"nested": {"deeper": {"deepest": -1}}, "empty": {}, "none": []},
        "": "an empty key",
        "k" * 128: "the longest key this client writes",
    }
    async with connected(broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(unique(), exclusive=True)
        await channel.default_exchange.publish(Message(b"", headers=headers), queue.name)
        message = await next_message(await consume(queue))
        equal(message.headers, headers, "headers")


@cases.case("empty-body")
async def empty_body(broker):
    await body_round_trip(broker, b"")


@cases.case("large-body")
async def large_body(broker):
    await body_round_trip(broker, os.urandom(8 * 1024 * 1024))


async def body_round_trip(broker, body):
    async with connected(broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(unique(), exclusive=True)
        await channel.default_exchange.publish(Message(body), queue.name)
        message = await next_message(await consume(queue))
        if message.body != body:
            raise AssertionError(f"{len(body)} octets went out, others came back")


@cases.case("error-404")
async def error_404(broker):
    missing = unique()
    async with connected(broker) as connection:
        await refused(connection, 404, texts.no_queue(missing),
                      lambda channel: channel.declare_queue(missing, passive=True))
        await refused(connection, 404, texts.no_queue(missing),
                      lambda channel: consume_by_name(channel, missing))
        await refused(connection, 404, texts.no_exchange(missing),
                      lambda channel: publish_to_missing(channel, missing))


async def publish_to_missing(channel, name):
    exchange = await channel.get_exchange(name, ensure=False)
    await exchange.publish(Message(b"lost"), "key")


async def consume_by_name(channel, name, **options):
    await (await channel.get_queue(name, ensure=False)).consume(print, **options)


@cases.case("error-405")
async def error_405(broker):
    name = unique()
    async with connected(broker) as owner, connected(broker) as other:
        await (await owner.channel()).declare_queue(name, exclusive=True)
        await refused(other, 405, texts.locked(name),
                      lambda channel: channel.declare_queue(name, exclusive=True))
        await refused(other, 405, texts.locked(name),
                      lambda channel: consume_by_name(channel, name))


@cases.case("error-406")
async def error_406(broker):
    async with connected(broker) as connection:
        queue = await (await connection.channel()).declare_queue(unique(), durable=True)
        await refused(connection, 406, texts.other_durability(queue.name),
                      lambda channel: channel.declare_queue(queue.name, durable=False))
        await refused(connection, 406, texts.unknown_delivery_tag(42), acknowledge_unknown)
        await queue.delete()


async def acknowledge_unknown(channel):
    await (await channel.get_underlay_channel()).basic_ack(42)
    await channel.declare_queue(exclusive=True)


@cases.case("error-403")
async def error_403(broker):
    reserved = f"amq.{unique()}"
    async with connected(broker) as connection:
        await refused(connection, 403, texts.reserved_name(reserved),
                      lambda channel: channel.declare_queue(reserved))
        queue = await (await connection.channel()).declare_queue(unique(), exclusive=True)
        await queue.consume(print, exclusive=True)
        await refused(connection, 403, texts.exclusive_use(queue.name),
                      lambda channel: consume_by_name(channel, queue.name))


@cases.case("login-refused")
async def login_refused(broker):
    try:
        await aio_pika.connect(broker.url(password="wrong"), timeout=WAIT_S)
        raise AssertionError("logged in with a wrong password")
    except ProbableAuthenticationError as error:
        if texts.LOGIN_REFUSED not in str(error):
            raise


@cases.case("consumer-cancel-notification")
async def consumer_cancel_notification(broker):
    async with connected(broker) as connection, connected(broker) as other:
        channel = await connection.channel()
        queue = await channel.declare_queue(unique())
        cancelled = asyncio.Queue()
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(cancelled.put_nowait)
        tag = await queue.consume(print)
        await (await other.channel()).queue_delete(queue.name)
        frame = await next_message(cancelled)
        equal(frame.consumer_tag, tag, "cancelled consumer")
        await channel.declare_queue(exclusive=True)


@cases.case("reconnect")
async def reconnect(broker):
    """The robust connection restores its channel, queue and consumer by itself."""
    with Relay(broker.host, broker.port) as relay:
        robust = await aio_pika.connect_robust(broker.url(relay.port), reconnect_interval=0.1)
        async with connected(broker) as publisher, robust:
            queue = await (await robust.channel()).declare_queue(unique(), exclusive=True)
            messages, reconnected = await consume(queue), asyncio.Queue()
            robust.reconnect_callbacks.add(lambda *_: reconnected.put_nowait(True))
            relay.cut()
            await next_message(reconnected)
            exchange = (await publisher.channel()).default_exchange
            await exchange.publish(Message(b"after"), queue.name)
            message = await next_message(messages)
            equal((message.body, message.redelivered), (b"after", False), "after the loss")
            await message.ack()


cases.run(broker_from_environment())
