"""What clients and the harness write down: one event per line, and the history that the lines make.

A line is a kind, a time (seconds of the machine's monotonic clock, which all processes share), and the fields
below. A *stream* is what one publisher sends to one queue; a *life* is a channel, from its opening to its end.
"""

import collections
import hashlib
import time

FIELDS = {
    # A channel of a publisher's stream or of a consumer is open, has been lost, has been closed on purpose.
    "opened": "owner life node",
    "lost": "owner life why",
    "closed": "owner life",
    "publish": "stream life sequence queue",
    "confirm": "stream sequence",
    "nack": "stream sequence",
    "returned": "stream sequence",
    # `count` is the header `x-delivery-count`, -1 without it.
    "deliver": "consumer life queue stream sequence tag redelivered count",
    # What the consumer said of a delivery: ack, requeue or reject.
    "settle": "consumer life tag outcome",
    "corrupt": "consumer queue text",
    # The harness did something to the cluster; `healed` says that it has undone it, `recovered` that all clients work.
    "fault": "index name detail",
    "healed": "index",
    "recovered": "index",
    # What a node says of a queue's ready messages while nobody publishes or consumes; then it is drained.
    "counted": "node queue ready",
    "drained": "queue",
    # Metadata: what was asked for, what was answered, what is found in the end. `object` is a queue or a binding.
    "asked": "object what arguments",
    "answered": "object what arguments code",
    "found": "object is_there",
    # A message of a queue that was deleted came out of its successor.
    "stale": "queue text",
}
INTEGERS = {"life", "sequence", "tag", "redelivered", "count", "index", "ready", "code", "is_there"}

Event = {kind: collections.namedtuple(kind, "time " + fields) for kind, fields in FIELDS.items()}
READERS = {
    kind: tuple(int if field in INTEGERS else str for field in fields.split()) for kind, fields in FIELDS.items()
}


def event_of(line):
    """The event of a line; the last field may have spaces."""
    kind, moment, *rest = line.split(" ", 2)
    readers = READERS[kind]
    words = rest[0].split(" ", len(readers) - 1) if rest else []
    return Event[kind](float(moment), *(read(word) for read, word in zip(readers, words, strict=True)))


class Recorder:
    """Writes events to a file, which is flushed by who has time for it."""

    def __init__(self, path):
        self.file = open(path, "a", buffering=1 << 16)

    def __call__(self, kind, *fields, moment=None):
        moment = time.monotonic() if moment is None else moment
        words = " ".join(str(field).replace("\n", " ") for field in fields)
        self.file.write(f"{kind} {moment:.6f} {words}\n")

    def flush(self):
        self.file.flush()


class History:
    """The events of a round by kind, in the order of their times once it is `sort`ed."""

    def __init__(self, events=()):
        self.of = {kind: [] for kind in FIELDS}
        for event in events:
            self.add(event)

    def add(self, event):
        self.of[type(event).__name__].append(event)

    def sort(self):
        for events in self.of.values():
            events.sort(key=lambda event: event.time)
        return self


class Tail:
    """Follows files of events while they grow."""

    def __init__(self):
        self.files = {}

    def follow(self, path):
        path.touch()
        self.files[path] = (open(path), "")

    def news(self):
        """The events that have come since the last call."""
        found = []
        for path, (file, rest) in self.files.items():
            text = rest + file.read()
            lines = text.split("\n")
            self.files[path] = (file, lines.pop())
            found += [event_of(line) for line in lines if line]
        return found

    def close(self):
        for file, _ in self.files.values():
            file.close()


def body_of(stream, sequence, size):
    """A body that is like no other: who sent it, as the how many-th, a digest of both, and filling."""
    head = f"{stream} {sequence}"
    digest = hashlib.blake2b(head.encode(), digest_size=8).hexdigest()
    octets = f"{head} {digest}|".encode()
    return octets + digest.encode() * ((size - len(octets)) // 16) if size > len(octets) else octets


def read_body(body):
    """The stream and sequence of a body; None of one that nobody can have published."""
    head, bar, _ = body.partition(b"|")
    try:
        stream, sequence, _ = head.decode().split(" ")
        known = body_of(stream, int(sequence), len(body))
    except ValueError:
        return None
    # The filling comes in pieces of 16 octets: only a body of a whole number of them is like itself.
    return (stream, int(sequence)) if bar and known == body else None
