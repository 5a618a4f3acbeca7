"""What survives the end of the broker, with pika: `durability.py leave|find|find-after-kill URL`.

`leave` fills a fresh broker, prints `left everything`, and stays connected until the broker ends, with
messages in its hands. Started again, the broker is shown to `find`, or to `find-after-kill` when it had no
time to say goodbye.
"""

import sys

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

import texts
from cases import WAIT_S, Broker, Cases, equal

PERSISTENT = pika.BasicProperties(delivery_mode=2)
TRANSIENT = pika.BasicProperties(delivery_mode=1)
TIME_TO_LIVE_MS = 2000

leave, find = Cases(), Cases()
was_killed = sys.argv[1] == "find-after-kill"
broker = Broker(sys.argv[2])
# Those of `leave` stay open to the end: what is held in them is lost with the broker.
connections = []


def open_channel(confirms=True):
    connection = pika.BlockingConnection(pika.URLParameters(broker.url()))
    connections.append(connection)
    channel = connection.channel()
    if confirms:
        channel.confirm_delivery()
    return channel


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def take(channel, queue, auto_ack=False):
    """The next message: whether it was redelivered, its properties, its body, its tag."""
    method, properties, body = channel.basic_get(queue, auto_ack=auto_ack)
    return (method.redelivered, properties, body, method.delivery_tag) if method else None


def bodies(channel, queue):
    found = []
    while (message := take(channel, queue, auto_ack=True)):
        found.append(message[2])
    return found


def next_delivery(channel, queue):
    for method, properties, body in channel.consume(queue, inactivity_timeout=WAIT_S):
        if method is None:
            raise AssertionError(f"nothing arrived within {WAIT_S} s")
        return method, properties, body


def refused(code, text, request):
    channel = open_channel()
    try:
        request(channel)
    except ChannelClosedByBroker as closed:
        equal((closed.reply_code, closed.reply_text), (code, text), "channel.close")
    else:
        raise AssertionError(f"not refused with {code}")


def settle(channel):
    """A confirmed message behind what was settled: it is as safe as that."""
    channel.queue_declare("sync", durable=True)
    open_channel().basic_publish("", "sync", b"sync", PERSISTENT)


@leave.case("topology")
def leave_topology():
    channel = open_channel()
    for kind in ("direct", "fanout", "topic", "headers"):
        channel.exchange_declare(kind, kind, durable=True)
        channel.queue_declare(f"of {kind}", durable=True)
    channel.queue_bind("of direct", "direct", "key")
    channel.queue_bind("of fanout", "fanout")
    channel.queue_bind("of topic", "topic", "*.b.#")
    channel.queue_bind("of headers", "headers", arguments={"x-match": "any", "a": 1, "b": True})
    channel.exchange_bind("fanout", "direct", "onward")
    channel.exchange_declare("transient", "fanout")
    channel.queue_bind("of direct", "transient")
    channel.queue_declare("transient")
    channel.queue_bind("transient", "direct", "key")
    channel.queue_declare("exclusive", exclusive=True)
    channel.basic_publish("", "transient", b"gone", PERSISTENT)


@find.case("topology")
def find_topology():
    channel = open_channel()
    headers = pika.BasicProperties(delivery_mode=2, headers={"b": True})
    other = pika.BasicProperties(delivery_mode=2, headers={"b": False})
    for exchange, key, properties in (
        ("direct", "key", PERSISTENT), ("direct", "onward", PERSISTENT), ("topic", "a.b.c", PERSISTENT),
        ("topic", "b.a", PERSISTENT), ("headers", "", headers), ("headers", "", other),
    ):
        channel.basic_publish(exchange, key, b"routed", properties)
    for kind in ("direct", "fanout", "topic", "headers"):
        channel.exchange_declare(kind, kind, durable=True)
        equal(bodies(channel, f"of {kind}"), [b"routed"], f"through {kind}")
    for queue in ("transient", "exclusive"):
        refused(404, texts.no_queue(queue), lambda channel: ready(channel, queue))
    refused(404, texts.no_exchange("transient"),
            lambda channel: channel.exchange_declare("transient", passive=True))
    channel.exchange_declare("transient", "fanout")
    channel.basic_publish("transient", "", b"no binding", PERSISTENT)
    equal(ready(channel, "of direct"), 0, "messages through a binding of a transient exchange")


@leave.case("order")
def leave_order():
    channel = open_channel()
    channel.queue_declare("order", durable=True)
    for number in range(100):
        channel.basic_publish("", "order", b"%d" % number, PERSISTENT if number % 2 else TRANSIENT)


@find.case("order")
def find_order():
    channel = open_channel()
    equal(ready(channel, "order"), 50, "messages")
    for number in range(1, 100, 2):
        method, properties, body = next_delivery(channel, "order")
        equal((body, properties.delivery_mode), (b"%d" % number, 2), "message")
        if method.redelivered and not was_killed:
            raise AssertionError(f"message {number} was never handed out, yet is redelivered")


@leave.case("unacknowledged")
def leave_unacknowledged():
    channel = open_channel()
    channel.queue_declare("work", durable=True)
    for body in (b"acknowledged", b"held", b"requeued", b"got", b"rejected", b"left"):
        channel.basic_publish("", "work", body, PERSISTENT)
    channel.basic_qos(prefetch_count=3)
    tags = []
    for method, _, _ in channel.consume("work"):
        tags.append(method.delivery_tag)
        if len(tags) == 3:
            break
    # The window is full: nothing more is handed out to the consumer, and these are got.
    getting = open_channel()
    take(getting, "work")
    getting.basic_reject(take(getting, "work")[3], requeue=False)
    channel.cancel()
    channel.basic_ack(tags[0])
    settle(getting)
    settle(channel)


@find.case("unacknowledged")
def find_unacknowledged():
    channel = open_channel()
    for expected in (b"held", b"requeued", b"got"):
        redelivered, _, body, _ = take(channel, "work")
        equal((body, redelivered), (expected, True), "what was handed out")
    redelivered, _, body, _ = take(channel, "work")
    equal((body, redelivered and not was_killed), (b"left", False), "what was never handed out")
    equal(take(channel, "work"), None, "the end")


@leave.case("dead letters")
def leave_dead_letters():
    channel = open_channel()
    channel.queue_declare("dead", durable=True)
    dying = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.queue_declare("dying", durable=True, arguments=dying)
    for body in (b"rejected", b"kept"):
        channel.basic_publish("", "dying", body, PERSISTENT)
    channel.basic_reject(take(channel, "dying")[3], requeue=False)
    while ready(channel, "dead") == 0:
        pass
    settle(channel)


@find.case("dead letters")
def find_dead_letters():
    channel = open_channel()
    equal(bodies(channel, "dying"), [b"kept"], "what did not die")
    _, properties, body, _ = take(channel, "dead")
    death = properties.headers["x-death"][0]
    equal((body, death["count"], death["reason"], death["queue"]),
          (b"rejected", 1, "rejected", "dying"), "the dead letter and its history")
    equal(take(channel, "dead"), None, "a second copy")


@leave.case("transactions")
def leave_transactions():
    channel = open_channel(confirms=False)
    channel.queue_declare("tx", durable=True)
    channel.tx_select()
    channel.basic_publish("", "tx", b"committed", PERSISTENT)
    channel.tx_commit()
    channel.basic_publish("", "tx", b"rolled back", PERSISTENT)
    channel.tx_rollback()
    channel.basic_publish("", "tx", b"neither", PERSISTENT)


@find.case("transactions")
def find_transactions():
    equal(bodies(open_channel(), "tx"), [b"committed"], "what was committed")


@leave.case("priorities and arguments")
def leave_priorities():
    channel = open_channel()
    channel.queue_declare("ranked", durable=True, arguments={"x-max-priority": 3})
    for priority in (1, 3, 0, 2):
        properties = pika.BasicProperties(delivery_mode=2, priority=priority)
        channel.basic_publish("", "ranked", b"%d" % priority, properties)


@find.case("priorities and arguments")
def find_priorities():
    refused(406, texts.other_durability("ranked"),
            lambda channel: channel.queue_declare("ranked", arguments={"x-max-priority": 3}))
    channel = open_channel()
    channel.queue_declare("ranked", durable=True, arguments={"x-max-priority": 3})
    equal(bodies(channel, "ranked"), [b"3", b"2", b"1", b"0"], "by priority")


@leave.case("large body")
def leave_large_body():
    channel = open_channel()
    channel.queue_declare("large", durable=True)
    channel.basic_publish("", "large", bytes(range(251)) * 33_421, PERSISTENT)


@find.case("large body")
def find_large_body():
    _, _, body, _ = take(open_channel(), "large")
    if body != bytes(range(251)) * 33_421:
        raise AssertionError("other octets came back")


@leave.case("headers of every kind")
def leave_headers():
    channel = open_channel()
    channel.queue_declare("headers", durable=True)
    channel.basic_publish("", "headers", b"", headers_of_every_kind())


@find.case("headers of every kind")
def find_headers():
    _, properties, body, _ = take(open_channel(), "headers")
    equal((vars(properties), body), (vars(headers_of_every_kind()), b""), "properties and body")


def headers_of_every_kind():
    headers = {"text": "Grüße", "number": -(2 ** 40), "flag": True, "nothing": None, "list": [1, {"a": b"\0"}]}
    return pika.BasicProperties(
        content_type="text/plain", content_encoding="utf-8", delivery_mode=2, priority=3, headers=headers,
        correlation_id="c", reply_to="r", expiration="600000", message_id="m", timestamp=1700000000,
        type="t", user_id=broker.user, app_id="a", cluster_id="k",
    )


@leave.case("delivery count")
def leave_delivery_count():
    channel = open_channel()
    limit = {"x-queue-type": "quorum", "x-delivery-limit": 5}
    channel.queue_declare("counted", durable=True, arguments=limit)
    channel.basic_publish("", "counted", b"poison", PERSISTENT)
    for _ in range(2):
        method, _, _ = next_delivery(channel, "counted")
        channel.basic_reject(method.delivery_tag, requeue=True)
    channel.cancel()
    settle(channel)


@find.case("delivery count")
def find_delivery_count():
    method, properties, _ = next_delivery(open_channel(), "counted")
    count = properties.headers["x-delivery-count"]
    if not (method.redelivered and count >= 2):
        raise AssertionError(f"it starts afresh: {method.redelivered}, {count}")


# The last of all: its time begins to run.
@leave.case("time to live")
def leave_time_to_live():
    channel = open_channel()
    channel.queue_declare("short", durable=True, arguments={"x-message-ttl": TIME_TO_LIVE_MS})
    channel.basic_publish("", "short", b"expired", PERSISTENT)
    channel.queue_declare("mixed", durable=True)
    short = pika.BasicProperties(delivery_mode=2, expiration=str(TIME_TO_LIVE_MS))
    channel.basic_publish("", "mixed", b"expired", short)
    channel.basic_publish("", "mixed", b"long", PERSISTENT)


# The first of all: a time that began afresh would still run.
@find.case("time to live")
def find_time_to_live():
    channel = open_channel()
    equal(bodies(channel, "short"), [], "what the queue's limit leaves")
    equal(bodies(channel, "mixed"), [b"long"], "what the messages' limits leave")


def stay():
    """Until the broker ends, with the messages in hand."""
    print("left everything", flush=True)
    try:
        while True:
            for connection in connections:
                connection.process_data_events(time_limit=0.05)
    except (AMQPError, OSError):
        pass


if sys.argv[1] == "leave":
    leave.run(then=stay)
find.all.insert(0, find.all.pop())
find.run()
