"""A broker that is ended and begun again on its data, and what it has and takes each time."""

import pathlib
import socket
import subprocess
import time

import brokers

# An open connection and nothing more: the broker answers the protocol header when it serves.
HEADER = b"AMQP\x00\x00\x09\x01"


class Restarting:
    """Leveret on one data directory."""

    name = "Leveret"

    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.data = directory / "data"
        self.port, self.process = brokers.free_port(), None

    def begin(self):
        """The seconds until it answers a client."""
        began = time.monotonic()
        command = brokers.leveret_command(self.options, self.port, self.data)
        self.process = brokers.start(command, self.directory)
        brokers.await_port(self.port, self.process, 600, 0.005)
        await_answer(self.port)
        return time.monotonic() - began

    def stop(self):
        brokers.stop(self.process)

    def kill(self):
        brokers.kill(self.process)

    @property
    def pid(self):
        return self.process.pid


class RestartingRabbit:
    """RabbitMQ in the same way; its node is what has the memory and the files."""

    name = "RabbitMQ"
    script = brokers.HERE.parent / "oracle" / "serve"

    def __init__(self, options, directory):
        self.directory, self.data = directory, directory / "data"
        self.port, self.process = brokers.free_port(), None

    def begin(self):
        began = time.monotonic()
        command = [self.script, "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.data]
        self.process = brokers.start(command, self.directory)
        brokers.await_port(self.port, self.process, 600, 0.005)
        await_answer(self.port)
        return time.monotonic() - began

    def stop(self):
        brokers.stop(self.process)

    def kill(self):
        node = pathlib.Path(f"/proc/{self.pid}")
        brokers.kill(self.process)
        deadline = time.monotonic() + 60
        while node.exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    @property
    def pid(self):
        group = (self.data / "pid").read_text().strip()
        found = subprocess.run(["pgrep", "-g", group, "-x", "beam.smp"], capture_output=True, text=True)
        return int(found.stdout.split()[0])


KINDS = {"leveret": Restarting, "rabbitmq": RestartingRabbit}


def await_answer(port):
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(HEADER)
        if not connection.recv(1):
            raise RuntimeError("the broker hangs up on a client")


class Findings:
    """Lines of a table, and whether what was found is within what was promised."""

    def __init__(self, title):
        self.is_held = True
        print(f"{brokers.machine()}\n\n| {title} | found | promised |  |\n| --- | --- | --- | --- |")

    def add(self, what, found, unit, promised=None, at_least=False):
        verdict = ""
        if promised is not None:
            holds = found >= promised if at_least else found <= promised
            self.is_held &= holds
            verdict = "holds" if holds else "**does not hold**"
            promised = f"{'≥' if at_least else '≤'} {promised:g} {unit}"
        number = f"{found:,.0f}" if found >= 1000 else f"{found:.4g}"
        print(f"| {what} | {number} {unit} | {promised or ''} | {verdict} |", flush=True)

    def fail(self, why):
        self.is_held = False
        print(f"| **{why}** |  |  |  |", flush=True)


def must(report):
    """A report that shows no fault."""
    if "fault" in report:
        raise RuntimeError(report["fault"])
    return report
