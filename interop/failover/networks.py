"""Where the nodes live: a network namespace each, whose links can be cut, or addresses of this machine."""

import contextlib
import os
import subprocess


class Loopback:
    """127.0.0.1, 127.0.0.2 and so on: needs no rights, has no links that could be cut."""

    can_cut = False

    def __init__(self, count):
        self.addresses = [f"127.0.0.{number}" for number in range(1, count + 1)]

    def inside(self, _index):
        """What goes before a command that is to run where the node lives."""
        return []

    def mend(self):
        pass

    def close(self):
        pass


class Namespaces:
    """A namespace per node, joined by a bridge; this machine has a leg in it, so clients need no namespace."""

    can_cut = True

    def __init__(self, count):
        # Runs beside each other must not meet: names and addresses come from the process's number.
        self.label = f"lvf{os.getpid() % 100000}"
        third = os.getpid() % 250 + 1
        self.addresses = [f"10.213.{third}.{number}" for number in range(11, 11 + count)]
        self.made = []
        try:
            self.build(f"10.213.{third}.1")
        except subprocess.CalledProcessError:
            self.close()
            raise

    def build(self, own_address):
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{own_address}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        for index, address in enumerate(self.addresses):
            space, outer, inner = self.space(index), self.link(index), f"{self.link(index)}p"
            ip("netns", "add", space)
            self.made.append(space)
            ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            ip("link", "set", inner, "netns", space)
            ip("link", "set", outer, "master", self.bridge, "up")
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "addr", "add", f"{address}/24", "dev", inner)
            ip("-n", space, "link", "set", inner, "up")

    @property
    def bridge(self):
        return f"{self.label}b"

    def space(self, index):
        return f"{self.label}n{index}"

    def link(self, index):
        return f"{self.label}v{index}"

    def inside(self, index):
        return ["ip", "netns", "exec", self.space(index)]

    def block(self, sender, receiver):
        """Nothing that one node sends reaches the other; clients and the way back are untouched."""
        ip("-n", self.space(sender), "route", "replace", "blackhole", self.addresses[receiver])

    def unplug(self, index):
        """Nobody reaches the node, clients neither."""
        ip("link", "set", self.link(index), "down")

    def mend(self):
        """All links work."""
        for index in range(len(self.addresses)):
            ip("link", "set", self.link(index), "up")
            for address in self.addresses:
                with contextlib.suppress(subprocess.CalledProcessError):
                    ip("-n", self.space(index), "route", "del", "blackhole", address)

    def close(self):
        for space in self.made:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", space)
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("link", "del", self.bridge)


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def may_make_namespaces():
    if os.geteuid() != 0:
        return False
    trial = f"lvf{os.getpid() % 100000}t"
    try:
        ip("netns", "add", trial)
        ip("-n", trial, "link", "add", "trial", "type", "veth", "peer", "name", "trial2")
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            ip("netns", "del", trial)
    return True


def best_network(count):
    return Namespaces(count) if may_make_namespaces() else Loopback(count)
