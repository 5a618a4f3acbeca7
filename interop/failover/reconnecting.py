#!/usr/bin/env python3
"""An ordinary application of a mirrored queue: it knows several hosts, and connects to the next when one is gone.

`reconnecting.py HOST:PORT... [--queue NAME] [--messages N]` publishes N messages with confirms and consumes them
with acknowledgements, each on a connection of its own. A message counts as sent when it was confirmed; what was
not confirmed when a connection ended is sent again. It knows nothing of the product behind the hosts, and ends
with 0 when every message has arrived.

`reconnecting.py --prove rabbitmq|leveret [--losses N]` starts three nodes, has their own tool set the policy
`ha-mode: all`, runs the application, and kills the node that it is connected to, again and again.
"""

import argparse
import itertools
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from surroundings import TARGET, await_that, end_in_order, with_pika

with_pika()

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

PERSISTENT = pika.BasicProperties(delivery_mode=2)
POLICY = '{"ha-mode":"all","ha-sync-mode":"automatic"}'


def say(*words):
    # One write, so that lines of two threads do not mix.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Hosts:
    """The hosts in turn; whoever lost one goes on to the next."""

    def __init__(self, addresses, who):
        self.who = who
        self.turn = itertools.cycle(addresses)

    def connect(self):
        """A connection to the first host that gives one."""
        while True:
            address = next(self.turn)
            host, port = address.rsplit(":", 1)
            parameters = pika.ConnectionParameters(
                host, int(port), heartbeat=5, socket_timeout=3, stack_timeout=5, blocked_connection_timeout=30
            )
            try:
                connection = pika.BlockingConnection(parameters)
            except (AMQPError, AMQPConnectorException, OSError):
                time.sleep(0.2)
                continue
            say("connected", self.who, address)
            return connection


class Producer(threading.Thread):
    """Sends numbers, each until it is confirmed."""

    def __init__(self, hosts, queue, messages):
        super().__init__()
        self.hosts, self.queue, self.messages = hosts, queue, messages
        self.confirmed = 0
        self.sent_again = 0

    def run(self):
        while self.confirmed < self.messages:
            try:
                self.publish(self.hosts.connect())
            except (AMQPError, AMQPConnectorException, OSError) as error:
                self.sent_again += 1
                say("lost", "producer", type(error).__name__)

    def publish(self, connection):
        channel = connection.channel()
        channel.queue_declare(self.queue, durable=True)
        channel.confirm_delivery()
        while self.confirmed < self.messages:
            # Returns when the message is confirmed, raises when it is not.
            channel.basic_publish("", self.queue, b"%d" % self.confirmed, PERSISTENT, mandatory=True)
            self.confirmed += 1
            # What a real producer does between two messages.
            connection.sleep(0.005)
        connection.close()


class Worker(threading.Thread):
    """Notes every number that arrives, and whether one came as new that had come before."""

    def __init__(self, hosts, queue, messages):
        super().__init__(daemon=True)
        self.hosts, self.queue, self.messages = hosts, queue, messages
        self.seen = {}
        self.repeats = 0

    @property
    def is_done(self):
        return len(self.seen) >= self.messages

    def run(self):
        while not self.is_done:
            try:
                self.consume(self.hosts.connect())
            except (AMQPError, AMQPConnectorException, OSError) as error:
                say("lost", "worker", type(error).__name__)

    def consume(self, connection):
        channel = connection.channel()
        channel.queue_declare(self.queue, durable=True)
        channel.basic_qos(prefetch_count=20)
        for method, _, body in channel.consume(self.queue, inactivity_timeout=1):
            if method is not None:
                number = int(body)
                self.repeats += number in self.seen
                self.seen[number] = self.seen.get(number, 0) + 1
                channel.basic_ack(method.delivery_tag)
            if self.is_done:
                break
        connection.close()


def application(options):
    producer = Producer(Hosts(options.hosts, "producer"), options.queue, options.messages)
    worker = Worker(Hosts(options.hosts, "worker"), options.queue, options.messages)
    producer.start()
    worker.start()
    producer.join()
    # Nothing more is sent: what has not arrived after this is lost.
    worker.join(60)
    lost = [number for number in range(options.messages) if number not in worker.seen]
    say(
        f"confirmed {producer.confirmed}, arrived {len(worker.seen)}, lost {len(lost)} {lost[:10]}, "
        f"repeated {worker.repeats}, producer's connections lost {producer.sent_again}"
    )
    return not lost


def prove(options):
    """Kills the node that the producer is connected to, as soon as all copies are there."""
    from cluster import Cluster
    from networks import best_network
    from products import PRODUCTS

    end_in_order()
    place = TARGET / "failover"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="reconnecting-", dir=place, ignore_cleanup_errors=True) as directory:
        with Cluster(PRODUCTS[options.prove](), best_network(3), pathlib.Path(directory)) as cluster:
            words = "set_policy", "ha-all", f"^{options.queue}$", POLICY, "--apply-to", "queues"
            say(cluster.product.control(cluster.nodes[0], *words).strip() or "policy set")
            hosts = [f"{node.address}:{node.port}" for node in cluster.nodes]
            command = [sys.executable, __file__, *hosts, "--queue", options.queue, "--messages", str(options.messages)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                return watch(process, cluster, options)


def watch(process, cluster, options):
    connected = {}
    lines = []

    def read():
        for line in process.stdout:
            say("  " + line.rstrip())
            lines.append(line)
            words = line.split()
            if words[0] == "connected":
                connected[words[1]] = (time.monotonic(), words[2])

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    for _ in range(options.losses):
        await_that(lambda: "producer" in connected, 60, "the producer is connected")
        cluster.await_in_sync([options.queue], len(cluster.nodes))
        if process.poll() is not None:
            break
        address = connected.pop("producer")[1]
        node = next(each for each in cluster.nodes if address == f"{each.address}:{each.port}")
        leads = (cluster.replicas(options.queue) or [None])[0] == node.name
        killed = time.monotonic()
        node.kill()
        say(f"killed {node.name}, which the producer is connected to" + (", the queue's leader" if leads else ""))
        moment, _ = await_that(lambda: connected.get("producer"), 60, "the producer has connected again", 0.02)
        say(f"the producer was connected again after {moment - killed:.2f} s")
        time.sleep(1)
        cluster.start(node)
    process.wait(600)
    reader.join()
    return process.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hosts", nargs="*", metavar="HOST:PORT")
    parser.add_argument("--queue", default="orders")
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--prove", choices=["rabbitmq", "leveret"])
    parser.add_argument("--losses", type=int, default=3, help="with --prove: how often its node is killed")
    options = parser.parse_args()
    if not options.prove and not options.hosts:
        parser.error("hosts, or --prove")
    sys.exit(not (prove(options) if options.prove else application(options)))


if __name__ == "__main__":
    main()
