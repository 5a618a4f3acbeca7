"""A client of the load: `client.py publish|consume NAME RECORDS HOME ROAMS PLAN NODE...`.

NODE is `name=address:port`; HOME is the index of the node to begin with; with ROAMS = 1 the client goes on to the
next node when its connection is lost, else it comes back to the same one. PLAN is JSON: what it does with which
queue. Terminated (SIGTERM), it waits until its publications are answered, and ends.
"""

import json
import signal
import sys
import time

import pika
from pika.exceptions import AMQPError

from events import Recorder, body_of, read_body

TICK_S = 0.02
RETRY_S = 0.2
# A client does not wait longer than this for a node to answer when it connects.
CONNECT_S = 5
HEARTBEAT_S = 4
# How long a terminated publisher waits for answers.
LEAVE_S = 40


class Client:
    """One connection at a time, and what hangs on it: `parts` open their channels whenever it is there."""

    def __init__(self, record, nodes, home, roams, parts):
        self.record, self.nodes, self.home, self.roams, self.parts = record, nodes, home, roams, parts
        self.connection = None
        self.is_leaving = False
        self.left_at = None
        for part in parts:
            part.client = self
        signal.signal(signal.SIGTERM, self.leave)

    def leave(self, *_):
        self.is_leaving = True
        self.left_at = time.monotonic()

    @property
    def node(self):
        return self.nodes[self.home % len(self.nodes)]

    def run(self):
        while not self.is_done():
            self.live()
            self.record.flush()
            if self.roams:
                self.home += 1
            if not self.is_leaving:
                time.sleep(RETRY_S)

    def is_done(self):
        return self.is_leaving and all(part.is_done() for part in self.parts)

    def live(self):
        """One connection from its beginning to its end."""
        _, host, port = self.node
        parameters = pika.ConnectionParameters(
            host,
            port,
            heartbeat=HEARTBEAT_S,
            socket_timeout=CONNECT_S,
            stack_timeout=CONNECT_S,
            blocked_connection_timeout=None,
        )
        loop = pika.adapters.select_connection.IOLoop()
        self.connection = pika.SelectConnection(
            parameters,
            on_open_callback=self.on_open,
            on_open_error_callback=lambda *_: loop.stop(),
            on_close_callback=lambda *_: loop.stop(),
            custom_ioloop=loop,
        )
        # pika bounds the time to a TCP connection, not that to `connection.open-ok`.
        loop.call_later(2 * CONNECT_S, lambda: None if self.connection.is_open else loop.stop())
        try:
            loop.start()
        finally:
            for part in self.parts:
                part.end("connection")
            loop.close()

    def on_open(self, _connection):
        for part in self.parts:
            part.open()
        self.tick()

    def tick(self):
        if not self.connection.is_open:
            return
        for part in self.parts:
            part.tick()
        self.record.flush()
        if self.is_done() or (self.is_leaving and time.monotonic() - self.left_at > LEAVE_S):
            self.end()
            return
        self.connection.ioloop.call_later(TICK_S, self.tick)

    def end(self):
        for part in self.parts:
            part.end(None)
        self.is_leaving = True
        self.parts = []
        self.connection.close()
        # A node that is paused says no `close-ok`.
        self.connection.ioloop.call_later(CONNECT_S, self.connection.ioloop.stop)


class Part:
    """What one client does with one queue, on a channel of its own."""

    def __init__(self, record, name, plan):
        self.record, self.name, self.plan = record, name, plan
        self.client = self.channel = None
        self.life = 0
        self.is_open = False

    def open(self):
        self.life += 1
        life = self.life
        self.client.connection.channel(on_open_callback=lambda channel: self.on_open(channel, life))

    def on_open(self, channel, life):
        self.channel = channel
        channel.add_on_close_callback(lambda _channel, why: self.on_close(life, why))
        self.is_open = True
        self.record("opened", self.name, self.life, self.client.node[0])
        self.begin(channel)

    def on_close(self, life, why):
        if life != self.life:
            return
        self.end(why)
        if self.client.connection.is_open and not self.client.is_leaving:
            self.client.connection.ioloop.call_later(RETRY_S, lambda: self.reopen(life))

    def reopen(self, life):
        if life == self.life and self.client.connection.is_open:
            self.open()

    def end(self, why):
        """The channel is no more: `why` not, or closed on purpose where there is no reason."""
        if self.is_open:
            self.is_open = False
            self.forget()
            if why is None:
                self.record("closed", self.name, self.life)
            else:
                self.record("lost", self.name, self.life, why)


class Publisher(Part):
    """Publishes at a rate, with at most a window unconfirmed."""

    def __init__(self, record, name, plan):
        super().__init__(record, name, plan)
        self.sequence = 0
        self.due = time.monotonic()
        self.waiting = {}
        self.tag = 0

    def begin(self, channel):
        self.waiting, self.tag, self.due = {}, 0, time.monotonic()
        channel.add_on_return_callback(self.on_return)
        channel.confirm_delivery(self.on_answer)

    def tick(self):
        if not self.is_open or self.client.is_leaving:
            return
        now = time.monotonic()
        # Who was held up does not catch up with a burst.
        self.due = max(self.due, now - 0.1)
        while self.due <= now and len(self.waiting) < self.plan["window"]:
            self.publish()
            self.due += 1 / self.plan["rate"]

    def publish(self):
        self.sequence += 1
        self.tag += 1
        self.waiting[self.tag] = self.sequence
        body = body_of(self.name, self.sequence, 64 if self.sequence % 50 else 20_000)
        # Written down before it is sent: what is not written was not published.
        self.record("publish", self.name, self.life, self.sequence, self.plan["queue"])
        properties = pika.BasicProperties(delivery_mode=2)
        try:
            self.channel.basic_publish("", self.plan["queue"], body, properties, mandatory=True)
        except AMQPError:
            self.end("while publishing")

    def on_return(self, _channel, _method, _properties, body):
        self.record("returned", *read_body(body))

    def on_answer(self, frame):
        method = frame.method
        kind = "confirm" if isinstance(method, pika.spec.Basic.Ack) else "nack"
        tags = [method.delivery_tag]
        if method.multiple:
            tags = [tag for tag in self.waiting if tag <= method.delivery_tag]
        for tag in tags:
            if tag in self.waiting:
                self.record(kind, self.name, self.waiting.pop(tag))

    def forget(self):
        self.waiting = {}

    def is_done(self):
        return not self.waiting


class Consumer(Part):
    """Consumes with manual acknowledgements, sends some messages back, rejects some."""

    def __init__(self, record, name, plan):
        super().__init__(record, name, plan)
        self.held = []

    def begin(self, channel):
        self.held = []
        channel.basic_qos(prefetch_count=self.plan["prefetch"])
        channel.add_on_cancel_callback(lambda _frame: channel.close())
        channel.basic_consume(self.plan["queue"], self.on_delivery)

    def on_delivery(self, channel, method, properties, body):
        read = read_body(body)
        if read is None:
            self.record("corrupt", self.name, self.plan["queue"], body[:80])
            channel.basic_ack(method.delivery_tag)
            return
        count = (properties.headers or {}).get("x-delivery-count", -1)
        place = self.name, self.life, self.plan["queue"]
        self.record("deliver", *place, *read, method.delivery_tag, int(method.redelivered), count)
        self.settle(method.delivery_tag, self.outcome(read[1], method.redelivered))

    def outcome(self, sequence, is_redelivered):
        if sequence % 50 == self.plan.get("poison", -1):
            return "requeue"
        if sequence % 20 == self.plan.get("requeue", -1) and not is_redelivered:
            return "requeue"
        return "reject" if sequence % 20 == self.plan.get("reject", -1) else "ack"

    def settle(self, tag, outcome):
        if outcome == "ack":
            self.held.append(tag)
            if len(self.held) >= self.plan.get("acknowledge", 1):
                self.acknowledge()
            return
        self.acknowledge()
        self.record("settle", self.name, self.life, tag, outcome)
        self.channel.basic_nack(tag, requeue=outcome == "requeue")

    def acknowledge(self):
        if not self.held:
            return
        for tag in self.held:
            self.record("settle", self.name, self.life, tag, "ack")
        # Nothing lower than the last is unsettled: the others were settled in their order.
        self.channel.basic_ack(self.held[-1], multiple=True)
        self.held = []

    def tick(self):
        if self.is_open:
            self.acknowledge()

    def forget(self):
        self.held = []

    def is_done(self):
        return True


def main():
    kind, name, records, home, roams, plan, *nodes = sys.argv[1:]
    record = Recorder(records)
    places = []
    for node in nodes:
        label, address = node.split("=")
        host, port = address.rsplit(":", 1)
        places.append((label, host, int(port)))
    part = Publisher if kind == "publish" else Consumer
    parts = [part(record, f"{name}.{number}", each) for number, each in enumerate(json.loads(plan))]
    Client(record, places, int(home), roams == "1", parts).run()
    record.flush()


if __name__ == "__main__":
    main()
