"""Limits of users and virtual hosts, below, at and above their value, with pika: `limits.py AMQP MANAGEMENT`.

The same program holds on RabbitMQ (`interop/oracle/rights`).
"""

import sys
import time

from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker, ConnectionClosedByBroker

import managed

AMQP, MANAGEMENT = sys.argv[1:3]
HOST = "limits"
USER = "mallory"
LIMIT = 3
RATE = 20


def manage(method, path, body=None):
    managed.manage(MANAGEMENT, method, path, body)


def connect():
    return managed.connect(AMQP, USER, HOST)


def refused(request):
    """The code and the text of a refusal; None when it works."""
    try:
        request()
    except (ChannelClosedByBroker, ConnectionClosedByBroker) as closed:
        return closed.reply_code, closed.reply_text
    except AMQPConnectionError as closed:
        # What was refused while the connection was opened is told within the text of another exception.
        return 530, repr(closed).replace("\\'", "'")
    return None


def check(what, found, expected=None):
    """Nothing is refused, or with this code and these words."""
    if expected is None:
        holds = found is None
    else:
        code, words = expected
        holds = found is not None and found[0] == code and words in found[1]
    if not holds:
        FAULTS.append(f"{what}: expected {expected}, found {found}")


FAULTS = []


def connections(path, words):
    """Every limit is met exactly; one connection that ends makes room; without it there is room for more."""
    manage("PUT", f"{path}/max-connections", {"value": LIMIT})
    open_now = [connect() for _ in range(LIMIT)]
    check(f"{path} above", refused(connect), (530, words))
    open_now.pop().close()
    open_now.append(connect())
    manage("PUT", f"{path}/max-connections", {"value": -1})
    open_now.append(connect())
    manage("PUT", f"{path}/max-connections", {"value": 0})
    check(f"{path} of none", refused(connect), (530, words.replace(f"({LIMIT})", "(0)")))
    manage("DELETE", f"{path}/max-connections")
    open_now.append(connect())
    for connection in open_now:
        connection.close()


def channels(parentheses):
    manage("PUT", f"user-limits/{USER}/max-channels", {"value": LIMIT})
    first, second = connect(), connect()
    first.channel(1)
    first.channel(2)
    last = second.channel(1)
    limit = f"({LIMIT})" if parentheses else LIMIT
    words = f"number of channels opened for user '{USER}' has reached the maximum allowed user limit of {limit}"
    check("channels above", refused(lambda: first.channel(3)), (530, words))
    # The channels of a connection that has ended are nobody's.
    third = connect()
    third.channel(1)
    third.channel(2)
    last.close()
    third.channel(3)
    manage("DELETE", f"user-limits/{USER}/max-channels")
    third.channel(4)
    second.close()
    third.close()


def queues():
    manage("PUT", f"vhost-limits/{HOST}/max-queues", {"value": LIMIT})
    connection = connect()
    for number in range(LIMIT):
        connection.channel().queue_declare(f"q{number}", durable=True)
    words = f"cannot declare queue 'more': queue limit in vhost '{HOST}' ({LIMIT}) is reached"
    check("queues above", refused(lambda: connection.channel().queue_declare("more")), (406, words))
    check("a queue that is there", refused(lambda: connection.channel().queue_declare("q0", durable=True)))
    connection.channel().queue_delete("q0")
    check("a queue in its place", refused(lambda: connection.channel().queue_declare("more")))
    manage("DELETE", f"vhost-limits/{HOST}/max-queues")
    check("queues without a limit", refused(lambda: connection.channel().queue_declare("even more")))
    connection.close()


def rates(path):
    """A rate, which Leveret alone knows: a second's worth goes at once, and the rest as fast as it may."""
    manage("PUT", f"{path}/max-message-rate", {"value": RATE})
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    began = time.monotonic()
    for _ in range(2 * RATE):
        channel.basic_publish("amq.fanout", "", b"body")
    took = time.monotonic() - began
    manage("DELETE", f"{path}/max-message-rate")
    began = time.monotonic()
    for _ in range(10 * RATE):
        channel.basic_publish("amq.fanout", "", b"body")
    free = time.monotonic() - began
    if took < 0.9 or free > 9:
        FAULTS.append(f"{path}: {2 * RATE} messages at {RATE}/s took {took:.2f} s, ten times as many later {free:.2f} s")
    connection.close()


def main():
    manage("PUT", f"vhosts/{HOST}", {})
    manage("PUT", f"users/{USER}", {"password": USER, "tags": ""})
    manage("PUT", f"permissions/{HOST}/{USER}", {"configure": ".*", "write": ".*", "read": ".*"})
    with connect() as connection:
        parentheses = managed.version(connection) < (4, 0)
        knows_rates = "leveret" in connection._impl.server_properties
    connections(f"user-limits/{USER}",
                f"connection refused for user '{USER}': user connection limit ({LIMIT}) is reached")
    connections(f"vhost-limits/{HOST}",
                f"access to vhost '{HOST}' refused for user '{USER}': connection limit ({LIMIT}) is reached")
    channels(parentheses)
    queues()
    if knows_rates:
        rates(f"user-limits/{USER}")
        rates(f"vhost-limits/{HOST}")
    manage("DELETE", f"vhosts/{HOST}")
    manage("DELETE", f"users/{USER}")
    for fault in FAULTS:
        print(fault)
    print(f"limits of users and virtual hosts: {len(FAULTS)} faults")
    sys.exit(1 if FAULTS else 0)


main()
