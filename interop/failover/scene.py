"""One round: clients begin, faults strike one after another, everything is drained, and the checker has its say."""

import collections
import contextlib
import http.client
import json
import signal
import subprocess
import sys
import time

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

import metadata
from checker import DRAIN, Promises, check
from events import History, Recorder, Tail, read_body
from surroundings import HERE

PLAIN = ["failover.0", "failover.1", "failover.2"]
WORK, DEAD = "failover.work", "failover.dead"
QUEUES = [*PLAIN, WORK, DEAD]
POLICY = "failover"
# Those of the load, of faults, and of the clients that declare.
PATTERN = r"^(failover|r[0-9]+)\."
DELIVERY_LIMIT = 4
# How long clients may take to work again after everything has been healed.
STUCK_S = 60
# How often a node may end by itself after a fault.
MOST_STARTS = 5

# Per fault: `failover` are seconds from the strike to the first confirm, one per queue that lost its leader and
# publisher on a node that lived; `back` is from the end of the fault until every client works.
Outcome = collections.namedtuple("Outcome", "index name time failover back is_stuck")


class Scene:
    def __init__(self, cluster, options, directory, random, small_disk=None):
        self.cluster, self.options, self.random = cluster, options, random
        self.directory = directory
        self.node_on_small_disk = small_disk
        self.round = 0
        self.faults = 0
        self.clients = []

    # What the queues are.

    def queue_arguments(self, queue=None):
        arguments = {}
        if self.options.queue_type == "quorum":
            arguments["x-queue-type"] = "quorum"
        if queue == WORK:
            arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD}
            if self.options.queue_type == "quorum":
                arguments["x-delivery-limit"] = DELIVERY_LIMIT
                arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
        return arguments

    def set_policy(self, definition=None):
        """The policy of all queues of the run; without one, the usual one."""
        if self.options.queue_type == "mirrored":
            usual = {"ha-mode": "all", "ha-sync-mode": "automatic"}
            self.cluster.set_policy(POLICY, PATTERN, definition or usual)

    def declare(self):
        """Each queue through another node, which becomes its leader where the client's node does."""
        self.set_policy()
        for number, queue in enumerate(QUEUES):
            node = self.cluster.nodes[number % len(self.cluster.nodes)]
            with contextlib.closing(self.connection(node)) as connection:
                channel = connection.channel()
                channel.queue_declare(queue, durable=True, arguments=self.queue_arguments(queue))
                channel.exchange_declare(metadata.EXCHANGE, "direct", durable=True)
        self.await_in_sync()

    def promises(self):
        is_quorum = self.options.queue_type == "quorum"
        return Promises(
            dead_letters={WORK: DEAD},
            # A classic queue of RabbitMQ sends dead letters once, and a failure loses them.
            dead_letters_are_safe=is_quorum or self.options.broker == "leveret",
            delivery_limits={WORK: DELIVERY_LIMIT} if is_quorum else {},
            round=self.label,
            heal_s=self.options.heal_limit,
        )

    def await_in_sync(self, seconds=120):
        missing = self.cluster.await_in_sync(QUEUES, len(self.cluster.nodes), seconds)
        if missing:
            self.say(f"not in sync after {seconds} s: {', '.join(missing)}")

    def connection(self, node):
        parameters = pika.ConnectionParameters(
            node.address, node.port, heartbeat=30, socket_timeout=10, stack_timeout=15, blocked_connection_timeout=60
        )
        return pika.BlockingConnection(parameters)

    # The clients.

    @property
    def label(self):
        return f"r{self.round}."

    def begin_round(self):
        self.round += 1
        self.place = self.directory / f"round{self.round}"
        self.place.mkdir()
        self.tail, self.history = Tail(), History()
        self.record = Recorder(self.place / "harness")
        self.tail.follow(self.place / "harness")
        self.published, self.confirmed_after = {}, {}
        self.homes = {}
        count = len(self.cluster.nodes)
        publications = [{"queue": queue, "rate": self.options.rate, "window": 100} for queue in [*PLAIN, WORK]]
        consumptions = [
            {"queue": PLAIN[0], "prefetch": 1},
            {"queue": PLAIN[1], "prefetch": 10},
            {"queue": PLAIN[2], "prefetch": 1000, "acknowledge": 20},
            {"queue": WORK, "prefetch": 20, "requeue": 7, "reject": 13},
            {"queue": DEAD, "prefetch": 100},
        ]
        if self.options.queue_type == "quorum":
            consumptions[3]["poison"] = 25
        # One on each node, which comes back to it, and one that goes on to the next node.
        for number in range(count + 1):
            roams = number == count
            home = self.random.randrange(count) if roams else number
            self.client("consume", f"c{number}", home, roams, consumptions)
            self.client("publish", f"p{number}", home, roams, publications)
        for number, node in enumerate(self.cluster.nodes):
            path = self.place / f"m{number}"
            self.tail.follow(path)
            places = [f"{each.address}:{each.port}" for each in self.cluster.nodes]
            self.spawn("metadata.py", f"m{number}", self.label, path, str(number), self.options.queue_type, *places)
        self.await_all_confirm(time.monotonic(), STUCK_S)

    def client(self, kind, name, home, roams, plan):
        path = self.place / name
        self.tail.follow(path)
        if kind == "publish" and not roams:
            for number, each in enumerate(plan):
                self.homes[f"{self.label}{name}.{number}"] = (self.cluster.nodes[home], each["queue"])
        nodes = [f"{node.name}={node.address}:{node.port}" for node in self.cluster.nodes]
        words = kind, self.label + name, path, str(home), str(int(roams)), json.dumps(plan)
        self.spawn("client.py", *words, *nodes)

    def spawn(self, program, *words):
        with open(self.place / "errors", "ab") as errors:
            command = [sys.executable, HERE / program, *words]
            # A group of its own: who interrupts the run does not interrupt them.
            options = {"stdin": subprocess.DEVNULL, "stderr": errors, "start_new_session": True}
            self.clients.append(subprocess.Popen(command, **options))

    def follow(self):
        """Reads what the clients have written, and notes which stream has last confirmed what was published when."""
        self.record.flush()
        for event in self.tail.news():
            self.history.add(event)
            kind = type(event).__name__
            if kind == "publish":
                self.published[event.stream, event.sequence] = event.time
            elif kind == "confirm":
                published = self.published.pop((event.stream, event.sequence), None)
                if published is not None:
                    self.confirmed_after.setdefault(event.stream, []).append((published, event.time))

    def first_confirms(self, since, streams):
        """By stream, when the first message was confirmed that was published after a moment."""
        self.follow()
        found = {}
        for stream in streams:
            times = [time for published, time in self.confirmed_after.get(stream, ()) if published >= since]
            if times:
                found[stream] = min(times)
        return found

    def await_all_confirm(self, since, seconds):
        """Waits until every pinned publisher has had a confirm of each queue; gives the last of those moments."""
        return self.await_confirms(since, list(self.homes), seconds)

    def await_confirms(self, since, streams, seconds):
        deadline = time.monotonic() + seconds
        while True:
            found = self.first_confirms(since, streams)
            if len(found) == len(streams):
                return found
            if time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    # The faults.

    def strike(self, kind):
        """One fault from its begin to the last client that works again."""
        self.await_in_sync()
        self.faults += 1
        index = self.faults
        queue = self.random.choice([*PLAIN, WORK])
        leaders = {each: self.cluster.leader(each) for each in [*PLAIN, WORK]}
        others = [node for node in self.cluster.nodes if node is not leaders[queue]]
        self.random.shuffle(others)
        fault = kind(self, queue, leaders[queue], others, self.random)
        self.forget_confirms()
        begun = time.monotonic()
        self.record("fault", index, kind.name.replace(" ", "-"), queue, moment=begun)
        fault.strike()
        fault.since = fault.since or time.monotonic()
        streams = [
            stream
            for stream, (home, target) in self.homes.items()
            if leaders[target] in fault.struck and home not in fault.struck
        ]
        hold_until = time.monotonic() + fault.hold_s()
        failover = {}
        if fault.waits_for_survivors:
            patience = hold_until - time.monotonic() if fault.ends_by_itself else STUCK_S
            failover = self.await_confirms(fault.since, streams, patience)
        is_stuck = not fault.ends_by_itself and len(failover) < len(streams) and fault.waits_for_survivors
        time.sleep(max(0, hold_until - time.monotonic()))
        fault.heal()
        healed = time.monotonic()
        self.record("healed", index, moment=healed)
        if fault.waits_for_survivors:
            failover = self.await_confirms(fault.since, streams, STUCK_S)
        back = self.await_all_confirm(healed, STUCK_S)
        is_stuck = is_stuck or len(back) < len(self.homes)
        self.record("recovered", index)
        outcome = Outcome(
            index,
            kind.name,
            begun,
            [moment - fault.since for moment in failover.values()],
            max(back.values(), default=healed + STUCK_S) - healed,
            is_stuck,
        )
        self.tell(outcome, fault)
        time.sleep(self.random.uniform(0, self.options.calm))
        return outcome

    def forget_confirms(self):
        self.follow()
        self.confirmed_after = {}

    def tell(self, outcome, fault):
        times = f"failover {max(outcome.failover):.2f} s, " if outcome.failover else ""
        stuck = " STUCK" if outcome.is_stuck else ""
        self.say(f"{outcome.index}: {outcome.name} ({fault.detail()}): {times}back {outcome.back:.2f} s{stuck}")

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def start_what_ended(self):
        """Some products end a node by themselves when it was cut off, or when its disk is full, if not at once."""
        starts = collections.Counter()
        deadline = time.monotonic() + STUCK_S
        while not all(node.accepts() for node in self.cluster.nodes):
            for node in self.cluster.nodes:
                if not node.is_running and starts[node.name] < MOST_STARTS:
                    starts[node.name] += 1
                    self.cluster.product.spawn(self.cluster, node)
            if time.monotonic() > deadline:
                missing = [node.name for node in self.cluster.nodes if not node.accepts()]
                raise RuntimeError(f"after the fault do not come back: {', '.join(missing)}")
            time.sleep(0.5)

    # The end.

    def end_round(self):
        """Stops the clients, counts and drains the queues, and gives the history."""
        for client in self.clients:
            client.send_signal(signal.SIGTERM)
        for client in self.clients:
            try:
                client.wait(90)
            except subprocess.TimeoutExpired:
                client.kill()
                client.wait()
                self.say("a client did not end")
        self.clients = []
        self.await_in_sync()
        self.count()
        for queue in QUEUES:
            self.drain(queue, f"{DRAIN}.{queue}")
        self.await_dead_letters()
        self.look_for_metadata()
        self.follow()
        self.tail.close()
        errors = (self.place / "errors").read_text()
        if errors:
            self.say(f"clients said: {errors[-1500:]}")
        return self.history

    def ready(self, node, queue):
        with contextlib.closing(self.connection(node)) as connection:
            return connection.channel().queue_declare(queue, passive=True).method.message_count

    def count(self):
        """What every node says of every queue, as soon as it says the same twice."""
        for queue in QUEUES:
            before = None
            for _ in range(20):
                counts = {node.name: self.ready(node, queue) for node in self.cluster.nodes}
                if counts == before:
                    break
                before = counts
                time.sleep(0.5)
            for name, ready in counts.items():
                self.record("counted", name, queue, ready)

    def await_dead_letters(self):
        """A dead letter may be under way for as long as a product waits before it sends it again."""
        deadline = time.monotonic() + self.options.dead_letters
        while time.monotonic() < deadline:
            self.follow()
            offences = check(self.history, self.promises())
            if not any(offence.rule in ("Q1", "Q9") for offence in offences):
                break
            self.drain(DEAD, "late")

    def drain(self, queue, name):
        """What a queue holds, until nothing has come for a while."""
        node = self.random.choice(self.cluster.nodes)
        with contextlib.closing(self.connection(node)) as connection:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=200)
            self.record("opened", name, self.round, node.name)
            for method, properties, body in channel.consume(queue, inactivity_timeout=1.5):
                if method is None:
                    break
                count = (properties.headers or {}).get("x-delivery-count", -1)
                stream, sequence = read_body(body) or ("corrupt", 0)
                tag = method.delivery_tag
                place = name, self.round, queue, stream, sequence, tag
                self.record("deliver", *place, int(method.redelivered), count)
                self.record("settle", name, self.round, tag, "ack")
                channel.basic_ack(tag)
            channel.cancel()
        self.record("drained", queue)

    def look_for_metadata(self):
        """Whether everything is there that was ever declared, and then away with it."""
        self.follow()
        names = {event.object for event in self.history.of["asked"]}
        queues = sorted(name for name in names if not name.endswith(".binding"))
        node = self.random.choice(self.cluster.nodes)
        connection = self.connection(node)
        channel = connection.channel()
        for queue in queues:
            is_there, channel = passive(channel, queue)
            self.record("found", queue, int(is_there))
            binding = f"{queue}.binding"
            if is_there and binding in names:
                self.record("found", binding, int(self.is_bound(queue)))
            if is_there:
                with contextlib.suppress(AMQPError):
                    channel.queue_delete(queue)
                if not channel.is_open:
                    channel = connection.channel()
        connection.close()

    def is_bound(self, queue):
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self.cluster.ask(f"/api/bindings/%2F/e/{metadata.EXCHANGE}/q/{queue}")
            return any(binding["routing_key"] == queue for binding in answer or [])
        return False

    def close(self):
        for client in self.clients:
            client.kill()
            client.wait()


def passive(channel, queue):
    """Whether a queue is there, and a channel that is still open."""
    try:
        channel.queue_declare(queue, passive=True)
        return True, channel
    except ChannelClosedByBroker:
        return False, channel.connection.channel()
