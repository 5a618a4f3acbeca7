"""The drivers: how a node of each product is configured, started, joined to the others, replaced, and asked."""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import socket
import subprocess

from cluster import Replicas
from surroundings import TARGET, await_that

AMQP_PORT = 5672
MANAGEMENT_PORT = 15672
CLUSTER_PORT = 25672


def free_port(address):
    with socket.socket() as listener:
        listener.bind((address, 0))
        return listener.getsockname()[1]


def choose_ports(cluster):
    """The usual ports in a namespace, where they are free; any free ones on this machine's own addresses."""
    for node in cluster.nodes:
        alone = bool(node.inside)
        node.port = AMQP_PORT if alone else free_port(node.address)
        node.management_port = MANAGEMENT_PORT if alone else free_port(node.address)
        node.cluster_port = CLUSTER_PORT if alone else free_port(node.address)


class RabbitMQ:
    """Debian's RabbitMQ 3.10, by its own scripts, with names by address and an epmd that only the run sees."""

    name = "RabbitMQ"
    scripts = pathlib.Path("/usr/lib/rabbitmq/bin")

    def __init__(self, management=True, detector_s=None):
        self.management = management
        # Seconds after which a silent node counts as gone (`net_ticktime`, 60 unless it is said).
        self.detector_s = detector_s
        self.epmd = []

    def prepare(self, cluster):
        if not (self.scripts / "rabbitmq-server").exists():
            raise RuntimeError("RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)")
        choose_ports(cluster)
        self.cookie = secrets.token_hex(10).upper()
        self.epmd_port = 4369 if cluster.nodes[0].inside else free_port("127.0.0.1")
        for node in cluster.nodes:
            self.write_configuration(cluster, node)

    def write_configuration(self, cluster, node):
        lines = [
            f"listeners.tcp.1 = {node.address}:{node.port}",
            "loopback_users = none",
            "disk_free_limit.absolute = 1MB",
            "vm_memory_high_watermark.relative = 0.3",
            "cluster_partition_handling = pause_minority",
            "cluster_formation.peer_discovery_backend = classic_config",
            "raft.wal_max_size_bytes = 67108864",
        ]
        for number, peer in enumerate(cluster.nodes, 1):
            lines.append(f"cluster_formation.classic_config.nodes.{number} = {peer.name}")
        if self.management:
            lines += [f"management.tcp.ip = {node.address}", f"management.tcp.port = {node.management_port}"]
        plugins = ["rabbitmq_management"] if self.management else []
        (node.directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (node.directory / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
        home = node.directory / ".erlang.cookie"
        home.write_text(self.cookie)
        home.chmod(0o400)

    def begin(self, cluster):
        """The first node alone, then the others, which find it in their list of peers and join."""
        addresses = ",".join(node.address for node in cluster.nodes)
        places = cluster.nodes if cluster.nodes[0].inside else cluster.nodes[:1]
        for node in places:
            environment = {"PATH": os.environ["PATH"], "HOME": str(node.directory)}
            if not node.inside:
                environment["ERL_EPMD_ADDRESS"] = addresses
            command = [*node.inside, "epmd", "-port", str(self.epmd_port)]
            silence = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self.epmd.append(subprocess.Popen(command, env=environment, **silence))
            # A node that finds none would start one that outlives it.
            await_that(lambda: self.has_epmd(node), 10, "epmd answers")
        cluster.start(cluster.nodes[0])
        for node in cluster.nodes[1:]:
            cluster.start(node)
        await_that(lambda: self.all_are_known(cluster), 60, "the nodes know each other")

    def has_epmd(self, node):
        with contextlib.suppress(OSError), socket.create_connection((node.address, self.epmd_port), 1):
            return True
        return False

    def all_are_known(self, cluster):
        status = json.loads(self.control(cluster.nodes[0], "cluster_status", "--formatter", "json"))
        return len(status["running_nodes"]) == len(cluster.nodes)

    def environment(self, node):
        own = str(node.directory)
        kernel = "-kernel inet_dist_use_interface {" + node.address.replace(".", ",") + "}"
        if self.detector_s:
            kernel += f" net_ticktime {int(self.detector_s)}"
        return {
            "PATH": os.environ["PATH"],
            "HOME": own,
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_NODENAME": node.name,
            "RABBITMQ_DIST_PORT": str(node.cluster_port),
            "RABBITMQ_CONFIG_FILE": f"{own}/rabbitmq.conf",
            "RABBITMQ_MNESIA_BASE": str(node.data),
            "RABBITMQ_LOG_BASE": f"{own}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{own}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{own}/server_pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": kernel,
        }

    def spawn(self, _cluster, node):
        node.spawn([self.scripts / "rabbitmq-server"], self.environment(node))

    def control(self, node, *words, tool="rabbitmqctl"):
        """What RabbitMQ's own tool says, run beside the node."""
        command = [*node.inside, self.scripts / tool, "--longnames", "-n", node.name, "-q", *words]
        done = subprocess.run(command, env=self.environment(node), capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"{tool} {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def start_wiped(self, cluster, node):
        """A node without its data is another node to RabbitMQ: the old one is forgotten, the new one joins."""
        survivor = next(other for other in cluster.living() if other is not node)
        # A survivor may take a while to be sure that the node is gone.
        await_that(lambda: self.forget(survivor, node), 60, f"{node.name} is forgotten", 1)
        cluster.start(node)
        self.control(survivor, "grow", node.name, "all", tool="rabbitmq-queues")

    def forget(self, survivor, node):
        try:
            self.control(survivor, "forget_cluster_node", node.name)
        except RuntimeError:
            return False
        return True

    def replicas(self, answer):
        if answer.get("type") == "quorum":
            # `leader` is some seconds old, `node` is not.
            return Replicas(answer.get("node"), answer.get("members", []), answer.get("online", []))
        leader = answer.get("node")
        synchronised = answer.get("synchronised_slave_nodes") or []
        if answer.get("state") not in ("running", None):
            return None
        return Replicas(leader, [leader, *(answer.get("slave_nodes") or [])], [leader, *synchronised])

    def close(self, _cluster):
        for process in self.epmd:
            process.terminate()
            process.wait()


class Leveret:
    """The product, one process per node; the keys below are the only place that knows how a cluster is configured."""

    name = "Leveret"

    def __init__(self, program=None, management=True, detector_s=None):
        self.program = program or TARGET / "release/leveret"
        self.management = management
        self.detector_s = detector_s

    def prepare(self, cluster):
        if not shutil.which(str(self.program)):
            raise RuntimeError(f"{self.program} is not there: cargo build --release")
        choose_ports(cluster)
        secret = secrets.token_hex(16)
        for node in cluster.nodes:
            (node.directory / "leveret.conf").write_text("\n".join(self.settings(cluster, node, secret)) + "\n")

    def settings(self, cluster, node, secret):
        lines = [
            f"nodename = {node.name}",
            f"listeners.tcp.1 = {node.address}:{node.port}",
            f"management.tcp.ip = {node.address}",
            f"management.tcp.port = {node.management_port}",
            "loopback_users = none",
            "disk_free_limit.absolute = 1MB",
            f"cluster.listener = {node.address}:{node.cluster_port}",
            f"cluster.secret = {secret}",
            "cluster_partition_handling = ignore",
            "cluster_formation.peer_discovery_backend = classic_config",
        ]
        for number, peer in enumerate(cluster.nodes, 1):
            lines.append(f"cluster_formation.classic_config.nodes.{number} = {peer.name}:{peer.cluster_port}")
        if self.detector_s:
            lines.append(f"cluster.detector.down_after = {int(self.detector_s * 1000)}")
        return lines

    def begin(self, cluster):
        cluster.start(*cluster.nodes)

    def spawn(self, _cluster, node):
        node.data.mkdir(exist_ok=True)
        command = [self.program, "--config", node.directory / "leveret.conf", "--data-dir", node.data]
        node.spawn(command, {"PATH": os.environ["PATH"], "HOME": str(node.directory)})

    def control(self, node, *words):
        """What `leveret ctl` says; it reaches the node by the socket in its data directory."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(node.directory)}
        command = [*node.inside, self.program, "ctl", "--data-dir", node.data, "-q", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"leveret ctl {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def start_wiped(self, cluster, node):
        """No operator: the node comes back by itself."""
        cluster.start(node)

    def replicas(self, answer):
        leader = answer.get("leader") or answer.get("node")
        if answer.get("type") == "quorum" or "online" in answer:
            return Replicas(leader, answer.get("members", []), answer.get("online", []))
        return Replicas(
            leader,
            [leader, *(answer.get("slave_nodes") or [])],
            [leader, *(answer.get("synchronised_slave_nodes") or [])],
        )

    def close(self, _cluster):
        pass


PRODUCTS = {"rabbitmq": RabbitMQ, "leveret": Leveret}
