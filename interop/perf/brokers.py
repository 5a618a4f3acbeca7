"""The brokers that are compared: private nodes on free ports, with their data on a real disk."""

import contextlib
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Broker:
    """A node that was started here: its name, its port, and the processes that it is."""

    def __init__(self, name, port, pid, without_disk=None):
        self.name, self.port, self.pid = name, port, pid
        # The same broker without a data directory, for what is not persistent.
        self.without_disk = without_disk or self


def free_port():
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def await_port(port, process, seconds=60, pause=0.05):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended at once with {process.returncode}")
        if accepts(port):
            return
        time.sleep(pause)
    raise RuntimeError(f"nothing listens on port {port} after {seconds} s")


@contextlib.contextmanager
def data_directory(options, name):
    """A directory that is not on a `tmpfs`, where a sync costs nothing; it is removed in the end."""
    options.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=options.directory) as directory:
        yield pathlib.Path(directory)


def start(command, directory):
    with open(directory / "output", "ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, cwd=directory)


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        kill(process)


def kill(process):
    process.kill()
    process.wait()


@contextlib.contextmanager
def child(command, directory):
    """A broker that is a child of this script and stops when told to terminate."""
    process = start(command, directory)
    try:
        yield process
    finally:
        stop(process)


@contextlib.contextmanager
def rabbitmq(directory, _options):
    script = HERE.parent / "oracle" / "rabbitmq"
    started = subprocess.run([script, "start", directory], check=True, stdout=subprocess.PIPE, text=True)
    try:
        yield Broker("RabbitMQ", int(started.stdout), int((directory / "pid").read_text()))
    finally:
        subprocess.run([script, "stop", directory], check=False)


@contextlib.contextmanager
def lavinmq(directory, _options):
    program = shutil.which("lavinmq")
    if not program:
        yield None
        return
    port = free_port()
    command = [program, "-D", directory, "-b", "127.0.0.1", "-p", str(port), "--http-port", str(free_port())]
    with child(command, directory) as process:
        await_port(port, process)
        yield Broker("LavinMQ", port, process.pid)


@contextlib.contextmanager
def leveret(directory, options):
    """Two processes: one with a data directory, and one without for what is not persistent."""
    ports = free_port(), free_port()
    with (
        child(leveret_command(options, ports[0], directory / "data"), directory) as process,
        child(leveret_command(options, ports[1], None), directory) as without_disk,
    ):
        await_port(ports[0], process)
        await_port(ports[1], without_disk)
        yield Broker("Leveret", ports[0], process.pid, Broker("Leveret", ports[1], without_disk.pid))


def leveret_command(options, port, data):
    disk = ["--ephemeral"] if data is None else ["--data-dir", data]
    return [options.server, "serve", "--listen", f"127.0.0.1:{port}", *disk]


BROKERS = {"rabbitmq": rabbitmq, "lavinmq": lavinmq, "leveret": leveret}


def perf(options, arguments, broker=None):
    """What `leveret perf` reports, or what went wrong."""
    command = [options.client, "perf", *arguments, "--json"]
    if broker:
        uri = f"amqp://guest:guest@127.0.0.1:{broker.port}/"
        command += ["--quiet", "--uri", uri, "--pid", str(broker.pid)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.timeout)
    except subprocess.TimeoutExpired:
        return {"fault": f"not done after {options.timeout} s"}
    if done.returncode != 0:
        return {"fault": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no word of why"}
    return json.loads(done.stdout)


def memory_megabytes(pid, what="VmRSS"):
    """What the process has in memory, or with `VmHWM` the most that it ever had."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{what}:\s*(\d+) kB", status, re.MULTILINE).group(1)) * 1024 / 1e6


def open_files(pid):
    return sum(1 for _ in pathlib.Path(f"/proc/{pid}/fd").iterdir())


def disk_octets(directory):
    """What the files below take on the disk, which for a sparse file is less than its size."""
    return sum(512 * path.stat().st_blocks for path in directory.rglob("*") if path.is_file())


def add_options(parser):
    parser.add_argument("--server", type=pathlib.Path, default=ROOT / "target/release/leveret", help="the broker under test")
    parser.add_argument("--client", help="the program whose `perf` is used, if another")
    parser.add_argument("--directory", type=pathlib.Path, default=ROOT / "target/perf", help="on the disk that is measured")
    parser.add_argument("--timeout", type=float, default=600, help="seconds that one run may take in all")


def complete(options):
    options.server = options.server.resolve()
    options.client = options.client or options.server
    return options


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    cores = len(re.findall(r"^processor", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    return f"{cores} × {model.group(1) if model else 'unknown processor'}"
