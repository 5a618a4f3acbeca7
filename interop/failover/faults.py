"""What can happen to nodes: each fault strikes, holds for a while, and is healed.

`struck` are the nodes whose queues must find a new leader; the clock of recovery starts when `strike` returns (from
then on nothing that was struck can confirm), or at `since` where a strike does something else afterwards.
"""

import contextlib
import os
import time

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from events import body_of, read_body

# How long a node stays down, in seconds: from one that its supervisor restarts at once to one that is noticed.
DOWN_S = (0.5, 6)


class Fault:
    """`leader` leads the queue that the fault is about; `others` are the rest, in an order by chance."""

    name = None
    needs_network = False
    needs_root = False
    kinds = ("quorum", "mirrored")
    # Whether publishers on the other nodes are to work while the fault lasts.
    waits_for_survivors = True
    # Whether the fault ends after its time, also when they do not: a product may take longer to notice.
    ends_by_itself = False

    def __init__(self, scene, queue, leader, others, random):
        self.scene, self.cluster, self.queue = scene, scene.cluster, queue
        self.leader, self.others, self.random = leader, others, random
        self.struck = []
        self.since = None

    def strike(self):
        raise NotImplementedError

    def heal(self):
        raise NotImplementedError

    def hold_s(self):
        return self.random.uniform(*DOWN_S)

    def detail(self):
        return ",".join(node.name for node in self.struck) or "-"


class Kill(Fault):
    def strike(self):
        self.struck = self.victims()
        for node in self.struck:
            node.kill()

    def victims(self):
        return [self.leader]

    def heal(self):
        self.cluster.start(*self.struck)


class KillLeader(Kill):
    name = "kill -9 leader"


class KillFollower(Kill):
    name = "kill -9 follower"

    def victims(self):
        return self.others[:1]


class KillTwo(Kill):
    name = "kill -9 two of three"
    # Without a majority nothing is confirmed.
    waits_for_survivors = False

    def victims(self):
        return [self.leader, self.others[0]]


class KillAll(Kill):
    name = "kill -9 all"
    waits_for_survivors = False

    def victims(self):
        return [self.leader, *self.others]


class Pause(Fault):
    seconds = None
    ends_by_itself = True

    def strike(self):
        self.leader.pause()
        self.struck = [self.leader]
        self.began = time.monotonic()

    def hold_s(self):
        return max(0, self.seconds - (time.monotonic() - self.began))

    def heal(self):
        self.leader.resume()
        # A product may end a node that finds itself left behind.
        time.sleep(1)
        self.scene.start_what_ended()


class PauseOne(Pause):
    name = "SIGSTOP 1 s"
    seconds = 1
    waits_for_survivors = False


class PauseFive(Pause):
    name = "SIGSTOP 5 s"
    seconds = 5


class PauseThirty(Pause):
    name = "SIGSTOP 30 s"
    seconds = 30


class Partition(Fault):
    needs_network = True
    ends_by_itself = True
    # The leader's side keeps its clients: they are what the fault is about.
    seconds = (5, 15)

    def hold_s(self):
        return self.random.uniform(*self.seconds)

    def strike(self):
        self.struck = [self.leader]
        for sender, receiver in self.cuts():
            self.cluster.network.block(sender.index, receiver.index)

    def heal(self):
        self.cluster.network.mend()
        self.scene.start_what_ended()

    def both(self, one, other):
        return [(one, other), (other, one)]


class LeaderApart(Partition):
    name = "partition leader / rest"

    def cuts(self):
        return [cut for other in self.others for cut in self.both(self.leader, other)]


class LeaderMute(Partition):
    name = "partition one-way: leader unheard"

    def cuts(self):
        return [(self.leader, other) for other in self.others]


class LeaderDeaf(Partition):
    name = "partition one-way: leader hears nothing"

    def cuts(self):
        return [(other, self.leader) for other in self.others]


class Bridge(Partition):
    name = "partition bridge"
    # Both sides see a majority: whether the leader moves is up to the product.
    waits_for_survivors = False

    def cuts(self):
        return self.both(self.leader, self.others[0])


class Plug(Fault):
    name = "power cut of leader"
    needs_network = True

    def strike(self):
        """Nobody gets as much as a reset from it."""
        self.cluster.network.unplug(self.leader.index)
        self.leader.kill()
        self.struck = [self.leader]

    def heal(self):
        self.cluster.network.mend()
        self.cluster.start(self.leader)


class RollingRestart(Fault):
    name = "rolling restart"
    waits_for_survivors = False

    def strike(self):
        self.struck = []

    def hold_s(self):
        return 0

    def heal(self):
        for node in self.cluster.nodes:
            node.stop()
            self.cluster.start(node)
            self.scene.await_in_sync()


class WipedNode(Fault):
    name = "wiped node"

    def strike(self):
        victim = self.random.choice([self.leader, *self.others])
        victim.kill()
        self.cluster.wipe(victim)
        self.struck = [victim]

    def heal(self):
        self.cluster.product.start_wiped(self.cluster, self.struck[0])


class DiskFull(Fault):
    name = "disk full"
    needs_root = True
    waits_for_survivors = False

    def strike(self):
        node = self.scene.node_on_small_disk
        self.ballast = node.data / "ballast"
        with contextlib.suppress(OSError), open(self.ballast, "wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass
        self.struck = [node]

    def hold_s(self):
        return self.random.uniform(3, 8)

    def heal(self):
        self.ballast.unlink()
        self.scene.start_what_ended()


class PolicyFlips(Fault):
    name = "policy flips"
    kinds = ("mirrored",)
    waits_for_survivors = False

    def strike(self):
        names = [node.name for node in self.cluster.nodes]
        self.random.shuffle(names)
        for definition in (
            {"ha-mode": "exactly", "ha-params": 2},
            {"ha-mode": "nodes", "ha-params": names[:2]},
            {"ha-mode": "all"},
            {"max-length": 100_000_000},
            {"ha-mode": "exactly", "ha-params": 2},
        ):
            if "ha-mode" in definition:
                definition["ha-sync-mode"] = "automatic"
            self.scene.set_policy(definition)
            time.sleep(self.random.uniform(0.5, 3))

    def hold_s(self):
        return 0

    def heal(self):
        self.scene.set_policy()


class DeleteAndRedeclare(Fault):
    name = "delete + redeclare, a node down"
    queue_name = "failover.again"
    messages = 50

    def strike(self):
        """A queue that has three copies is deleted and made again while one of its nodes is down."""
        self.fill("old")
        self.others[0].kill()
        self.since = time.monotonic()
        self.struck = self.others[:1]
        self.with_channel(lambda channel: channel.queue_delete(self.queue_name))
        self.fill("new")

    def heal(self):
        self.cluster.start(*self.struck)
        self.scene.await_in_sync()
        self.with_channel(self.empty)

    def fill(self, age):
        def publish(channel):
            channel.queue_declare(self.queue_name, durable=True, arguments=self.scene.queue_arguments())
            channel.confirm_delivery()
            for number in range(self.messages):
                body = body_of(age, number, 64)
                channel.basic_publish("", self.queue_name, body, pika.BasicProperties(delivery_mode=2))

        self.with_channel(publish)

    def empty(self, channel):
        fresh = set()
        while True:
            method, _, body = channel.basic_get(self.queue_name, auto_ack=True)
            if method is None:
                break
            age, number = read_body(body) or ("corrupt", 0)
            fresh.add(number)
            if age != "new":
                self.scene.record("stale", self.queue_name, f"{age} {number}")
        if len(fresh) < self.messages:
            self.scene.record("stale", self.queue_name, f"only {len(fresh)} of {self.messages} confirmed messages")
        channel.queue_delete(self.queue_name)

    def with_channel(self, act):
        """On the leader's node, which stays up; once more where the cluster needs a moment."""
        for attempt in range(20):
            try:
                with contextlib.closing(self.scene.connection(self.leader)) as connection:
                    return act(connection.channel())
            except (AMQPError, AMQPConnectorException, OSError):
                if attempt == 19:
                    raise
                time.sleep(1)


ALL = [
    KillLeader,
    KillFollower,
    KillTwo,
    KillAll,
    PauseOne,
    PauseFive,
    PauseThirty,
    LeaderApart,
    LeaderMute,
    LeaderDeaf,
    Bridge,
    Plug,
    RollingRestart,
    WipedNode,
    DiskFull,
    PolicyFlips,
    DeleteAndRedeclare,
]


def available(queue_type, network):
    """The faults that can be had here for such queues."""
    return [
        fault
        for fault in ALL
        if queue_type in fault.kinds
        and (network.can_cut or not fault.needs_network)
        and (os.geteuid() == 0 or not fault.needs_root)
    ]
