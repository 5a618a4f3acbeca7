"""A client of the crash loop, with pika: `client.py FILE publish NUMBER QUEUE...` or `client.py FILE consume QUEUE PREFETCH`.

FILE holds the number of the broker's life and its address in it, and in the end `stop`. Every message is
published once, and every step is a line on standard output; what the lines mean stands in README.md.
"""

import itertools
import pathlib
import sys
import time

import pika
from pika.exceptions import AMQPError, NackError

PAUSE_S = 0.01
# So often it is looked whether to stop.
GLANCE_S = 0.05

address = pathlib.Path(sys.argv[1])


def say(*words):
    print(*words, flush=True)


def is_over():
    return address.read_text() == "stop"


def lives():
    """A connection in each of the broker's lives, as soon as it can be had."""
    used = ""
    while not is_over():
        life = address.read_text()
        if "amqp:" not in life or life == used:
            time.sleep(PAUSE_S)
            continue
        used = life
        try:
            connection = pika.BlockingConnection(pika.URLParameters(life.split()[1]))
            yield connection
            if connection.is_open:
                connection.close()
        except (AMQPError, OSError) as error:
            say("lost", type(error).__name__, error)


def publish(publisher, queues):
    sequences = itertools.count()
    persistent = pika.BasicProperties(delivery_mode=2)
    for connection in lives():
        # What the broker's death raises in here is raised in `lives` as well, and the next life begins.
        with losses():
            channel = connection.channel()
            channel.confirm_delivery()
            while not is_over():
                sequence = next(sequences)
                length = 100_000 if sequence % 50 == 0 else sequence % 300
                body = b"%d %d %d|" % (publisher, sequence, length) + bytes([sequence % 251]) * length
                say("published", sequence)
                try:
                    channel.basic_publish("", queues[sequence % len(queues)], body, persistent)
                    say("confirmed", sequence)
                except NackError:
                    say("refused", sequence)


def consume(queue, prefetch):
    for connection in lives():
        with losses():
            channel = connection.channel()
            channel.basic_qos(prefetch_count=prefetch)
            for method, _, body in channel.consume(queue, inactivity_timeout=GLANCE_S):
                if method is not None:
                    receive(channel, method, body)
                elif is_over():
                    break


def receive(channel, method, body):
    head, filling = body.split(b"|", 1)
    publisher, sequence, length = (int(word) for word in head.split())
    if filling != bytes([sequence % 251]) * length:
        say("corrupt")
    say("received", publisher, sequence, method.redelivered)
    channel.basic_ack(method.delivery_tag)


class losses:
    """Ends a block when the broker has gone."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if kind is not None and issubclass(kind, (AMQPError, OSError)):
            say("lost", kind.__name__, error)
            return True
        return False


if sys.argv[2] == "publish":
    publish(int(sys.argv[3]), sys.argv[4:])
else:
    consume(sys.argv[3], int(sys.argv[4]))
