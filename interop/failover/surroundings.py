"""What the scripts here stand on: pika's environment, the repository's places, waiting with a limit."""

import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def with_pika():
    """Starts the running script again in pika's environment, unless it is in one already."""
    if importlib.util.find_spec("pika"):
        return
    prepared = subprocess.run(
        [ROOT / "interop/run", "--prepare", "pika"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.split()
    python = f"{prepared[-1]}/venv/bin/python"
    os.execv(python, [python, *sys.argv])


def await_that(condition, seconds, what, pause=0.1):
    """Waits until `condition()` is true and gives what it returned; raises when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(pause)


def percentile(values, share):
    """The value that `share` of the values do not exceed; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def end_in_order():
    """Whoever terminates the script leaves no nodes behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
