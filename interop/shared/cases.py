"""Runs cases one after another, each under a time limit, and prints one line for each."""

import asyncio
import inspect
import os
import sys
import threading
import traceback
import urllib.parse
import uuid

TIME_LIMIT_S = 60
WAIT_S = 20


class Broker:
    """Where the broker is and who asks, from the first argument or from LEVERET_URL."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 5672
        self.user = urllib.parse.unquote(parts.username or "guest")
        self.password = urllib.parse.unquote(parts.password or "guest")

    def url(self, port=None, password=None):
        return f"amqp://{self.user}:{password or self.password}@{self.host}:{port or self.port}"


def broker_from_environment():
    url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("LEVERET_URL")
    if not url:
        sys.exit("usage: program URL, or LEVERET_URL in the environment")
    return Broker(url)


def unique():
    """A name no other run uses, short enough for every reply text to stay under 252 octets."""
    return f"io-{uuid.uuid4().hex[:12]}"


def equal(actual, expected, what="value"):
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r:.300}, found {actual!r:.300}")


class Cases:
    """Collects cases by decoration and runs them in the order they were written."""

    def __init__(self):
        self.all = []

    def case(self, name):
        def remember(function):
            self.all.append((name, function))
            return function

        return remember

    def run(self, *arguments, then=None):
        """Ends the program, after `then` where every case held."""
        failures = 0
        for name, function in self.all:
            problem = outcome(function, arguments)
            failures += problem is not None
            print(f"ok {name}" if problem is None else f"FAILED {name}: {problem}", flush=True)
        if then and not failures:
            then()
        sys.stdout.flush()
        # A case that overran its limit left a thread behind: nothing may wait for it.
        os._exit(1 if failures else 0)


def outcome(function, arguments):
    """None when the case held, otherwise why not, in one line."""
    problems = ["no answer within %d s" % TIME_LIMIT_S]

    def body():
        try:
            if inspect.iscoroutinefunction(function):
                asyncio.run(asyncio.wait_for(function(*arguments), TIME_LIMIT_S))
            else:
                function(*arguments)
            problems.clear()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is this case's result
            traceback.print_exc(limit=-3)
            problems[0] = f"{type(error).__name__}: {error}".replace("\n", " ")

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(TIME_LIMIT_S + 1)
    return problems[0] if problems else None
