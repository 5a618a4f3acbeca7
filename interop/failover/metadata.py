"""A client of the load that declares, looks for, binds and deletes: `metadata.py NAME ROUND RECORDS HOME TYPE NODE...`.

Everything is asked of node HOME but the looks, which go to another node at once. Every few seconds all such
clients declare the same name with different arguments: one at most may have it. TYPE is that of the queues, which
have copies on all nodes: one that is wiped takes none with it.
"""

import contextlib
import itertools
import signal
import sys
import time

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, ChannelClosedByBroker

from events import Recorder

EXCHANGE = "failover.metadata"
PAUSE_S = 1
RACE_S = 3
# Nobody waits longer for an answer.
PATIENCE_S = 20


class Patience(Exception):
    """An answer did not come."""


def give_up(*_):
    raise Patience


class Metadata:
    def __init__(self, name, label, record, home, queue_type, nodes):
        self.name, self.label, self.record, self.home, self.nodes = name, label, record, home, nodes
        self.arguments = {"x-queue-type": "quorum"} if queue_type == "quorum" else {}
        self.connections = {}
        self.is_leaving = False

    def leave(self, *_):
        self.is_leaving = True

    def run(self):
        raced = int(time.monotonic() / RACE_S)
        for number in itertools.count():
            if self.is_leaving:
                break
            name = f"{self.label}meta.{self.name}.{number}"
            if self.declare(name, self.arguments):
                self.ask(name, "look", "-", self.other(number), lambda channel: look(channel, name))
                # Few stay: a node that starts takes longer with each.
                if number % 5:
                    self.ask(name, "delete", "-", self.home, lambda channel: channel.queue_delete(name))
                else:
                    self.bind(name)
            race = int(time.monotonic() / RACE_S)
            if race != raced:
                raced = race
                limit = 1000 + self.home
                self.declare(f"{self.label}race.{race}", self.arguments | {"x-max-length": limit})
            self.record.flush()
            time.sleep(PAUSE_S)

    def other(self, number):
        return (self.home + 1 + number % (len(self.nodes) - 1)) % len(self.nodes)

    def declare(self, name, arguments):
        def run(channel):
            channel.queue_declare(name, durable=True, arguments=arguments)

        return self.ask(name, "declare", str(arguments or "plain"), self.home, run)

    def bind(self, name):
        def run(channel):
            channel.queue_bind(name, EXCHANGE, name)

        self.ask(f"{name}.binding", "declare", "binding", self.home, run)

    def ask(self, name, what, arguments, node, method):
        """Asks, and writes down what was answered, if anything was."""
        self.record("asked", name, what, arguments.replace(" ", ""))
        code = None
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
        try:
            with self.channel(node) as channel:
                method(channel)
            code = 0
        except ChannelClosedByBroker as error:
            code = error.reply_code
        except (AMQPError, AMQPConnectorException, OSError, Patience):
            self.connections.pop(node, None)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if code is not None:
            self.record("answered", name, what, arguments.replace(" ", ""), code)
        return code == 0

    @contextlib.contextmanager
    def channel(self, node):
        connection = self.connections.get(node)
        if connection is None or not connection.is_open:
            host, port = self.nodes[node]
            parameters = pika.ConnectionParameters(host, port, heartbeat=4, socket_timeout=5, stack_timeout=5)
            connection = self.connections[node] = pika.BlockingConnection(parameters)
        channel = connection.channel()
        yield channel
        channel.close()


def look(channel, name):
    channel.queue_declare(name, passive=True)


def main():
    name, label, records, home, queue_type, *nodes = sys.argv[1:]
    places = [(each.rsplit(":", 1)[0], int(each.rsplit(":", 1)[1])) for each in nodes]
    client = Metadata(name, label, Recorder(records), int(home), queue_type, places)
    signal.signal(signal.SIGALRM, give_up)
    signal.signal(signal.SIGTERM, client.leave)
    client.run()
    client.record.flush()


if __name__ == "__main__":
    main()
