"""Nodes of one product that form a cluster: started, killed, paused, cut off, wiped, and asked about queues."""

import base64
import collections
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

from surroundings import await_that

# How long a node may take from its start to its first client.
START_S = 120

# Where a queue is: names of nodes. `online` are those replicas that can take over without a loss.
Replicas = collections.namedtuple("Replicas", "leader members online")


class Node:
    """One process (with its children) and its directory. What happens to it is said to the cluster."""

    def __init__(self, index, address, directory, inside):
        self.index, self.address, self.directory = index, address, directory
        # What goes before a command that is to run in the node's network namespace.
        self.inside = inside
        self.data = directory / "data"
        self.process = None
        self.port = self.management_port = None
        self.is_paused = False

    @property
    def name(self):
        """What the cluster calls it."""
        return f"rabbit{self.index + 1}@{self.address}"

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def spawn(self, command, environment):
        with open(self.directory / "output", "ab") as output:
            self.process = subprocess.Popen(
                [*self.inside, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self.directory,
                # A group of its own, so that a wrapper and the machine in it are hit together.
                start_new_session=True,
            )

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.is_paused = False

    def stop(self, seconds=60):
        if not self.is_running:
            return
        if self.is_paused:
            self.resume()
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self):
        self.signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self):
        self.signal(signal.SIGCONT)
        self.is_paused = False

    def accepts(self):
        """Whether it speaks AMQP: a connection alone tells only that something listens."""
        with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 2) as stream:
            stream.settimeout(2)
            stream.sendall(b"AMQP\x00\x00\x09\x01")
            return stream.recv(1) == b"\x01"
        return False

    def processes(self):
        """The process identifiers of the node."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    # After the name in brackets: state, parent, group.
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[2]) == self.process.pid:
                        found.append(int(entry.name))
        return found

    def processor_seconds(self):
        ticks = os.sysconf("SC_CLK_TCK")
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / ticks

    def memory_octets(self):
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                total += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        return total * os.sysconf("SC_PAGE_SIZE")


class Cluster:
    """The nodes, by the driver of a product (`products.py`), in a network (`networks.py`)."""

    def __init__(self, product, network, directory):
        self.product, self.network, self.directory = product, network, directory
        self.nodes = []
        self.mounted = []
        for index, address in enumerate(network.addresses):
            place = directory / f"node{index}"
            place.mkdir(parents=True)
            self.nodes.append(Node(index, address, place, network.inside(index)))
        product.prepare(self)

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def begin(self):
        self.product.begin(self)

    def close(self):
        for node in self.nodes:
            if node.is_running:
                node.kill()
        self.product.close(self)
        for place in self.mounted:
            subprocess.run(["umount", "-l", place], check=False)
        self.network.close()

    def start(self, *nodes, seconds=START_S):
        """Starts nodes together, and waits until each takes clients."""
        for node in nodes:
            self.product.spawn(self, node)
        for node in nodes:
            self.await_ready(node, seconds)

    def await_ready(self, node, seconds=START_S):
        def is_ready():
            if not node.is_running:
                raise RuntimeError(f"{node.name} ended with {node.process.returncode}:\n{last_words(node)}")
            return node.accepts()

        await_that(is_ready, seconds, f"{node.name} takes clients")

    def by_name(self, name):
        return next((node for node in self.nodes if node.name == name), None)

    def living(self):
        return [node for node in self.nodes if node.is_running and not node.is_paused]

    def put_on_small_disk(self, node, megabytes):
        """Gives a node that has not been started a file system of its own, which can be filled."""
        node.data.mkdir(exist_ok=True)
        options = f"size={megabytes}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", node.data], check=True)
        self.mounted.append(node.data)

    def wipe(self, node):
        """Removes what a node that is not running has stored."""
        for entry in node.data.iterdir() if node.data.exists() else []:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def ask(self, path, method="GET", body=None, node=None, seconds=10):
        """What the HTTP API of a node (or of the first that answers) says; None where there is no such thing."""
        error = RuntimeError("no node runs")
        for candidate in [node] if node else self.living():
            try:
                return self.ask_node(candidate, path, method, body, seconds)
            except (OSError, http.client.HTTPException) as fault:
                error = fault
        raise error

    def ask_node(self, node, path, method, body, seconds):
        connection = http.client.HTTPConnection(node.address, node.management_port, timeout=seconds)
        with contextlib.closing(connection):
            account = base64.b64encode(b"guest:guest").decode()
            headers = {"Authorization": f"Basic {account}", "Content-Type": "application/json"}
            connection.request(method, path, body and json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
        if answer.status == 404:
            return None
        if answer.status >= 400:
            raise http.client.HTTPException(f"{method} {path}: {answer.status} {content[:200]}")
        return json.loads(content) if content else {}

    def replicas(self, queue):
        """Where a queue is, or None while nobody can tell."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self.ask(f"/api/queues/%2F/{urllib.parse.quote(queue, safe='')}")
            if answer:
                return self.product.replicas(answer)
        return None

    def leader(self, queue):
        """The node that leads a queue."""

        def found():
            replicas = self.replicas(queue)
            return replicas and self.by_name(replicas.leader)

        return await_that(found, 60, f"{queue} has a leader")

    def set_policy(self, name, pattern, definition, apply_to="queues"):
        body = {"pattern": pattern, "definition": definition, "apply-to": apply_to, "priority": 0}
        self.ask(f"/api/policies/%2F/{name}", "PUT", body)

    def clear_policy(self, name):
        self.ask(f"/api/policies/%2F/{name}", "DELETE")

    def await_in_sync(self, queues, copies, seconds=120):
        """Waits until each queue has so many replicas that could take over; gives those that have not."""
        deadline = time.monotonic() + seconds
        missing = list(queues)
        while missing:
            missing = [queue for queue in missing if not self.is_in_sync(queue, copies)]
            if time.monotonic() > deadline:
                break
            if missing:
                time.sleep(0.3)
        return missing

    def is_in_sync(self, queue, copies):
        replicas = self.replicas(queue)
        return replicas is not None and replicas.leader in replicas.online and len(replicas.online) >= copies


def last_words(node):
    output = node.directory / "output"
    return "\n".join(output.read_text(errors="replace").splitlines()[-15:]) if output.exists() else ""
