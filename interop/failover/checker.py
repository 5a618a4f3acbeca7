"""The rules Q1 to Q10: what a history of clients may hold, whatever happened to the nodes meanwhile."""

import bisect
import collections
import dataclasses

Offence = collections.namedtuple("Offence", "rule time text")

DRAIN = "drain"


@dataclasses.dataclass
class Promises:
    """What the queues of a run promise, and how long things may take."""

    # Where rejected messages of a queue go.
    dead_letters: dict = dataclasses.field(default_factory=dict)
    # Whether every rejected message gets there, or only those that no failure meets.
    dead_letters_are_safe: bool = True
    # How often a queue delivers a message again before it is discarded.
    delivery_limits: dict = dataclasses.field(default_factory=dict)
    # Which streams are of this round; what earlier rounds published was drained and acknowledged.
    round: str = ""
    # An acknowledgement so long before the next fault has been taken.
    settle_s: float = 2
    # Within so many seconds of the end of a fault everything is answered.
    heal_s: float = 5
    stuck_s: float = 30


class Book:
    """The events of a history, where the rules look for them."""

    def __init__(self, history, promises):
        self.of, self.promises = history.of, promises
        self.publishes = {(each.stream, each.sequence): each for each in self.of["publish"]}
        self.answers = collections.defaultdict(dict)
        for kind in ("confirm", "nack", "returned"):
            for each in self.of[kind]:
                self.answers[each.stream, each.sequence].setdefault(kind, each.time)
        self.settles = {(each.consumer, each.life, each.tag): each for each in self.of["settle"]}
        self.losses = {(each.owner, each.life): each.time for each in self.of["lost"]}
        self.deliveries = collections.defaultdict(list)
        for each in self.of["deliver"]:
            self.deliveries[each.queue, each.stream, each.sequence].append(each)
        self.dead_queues = set(promises.dead_letters.values())
        self.read_faults()

    def read_faults(self):
        """Every fault's begin, end, and when the clients worked again."""
        healed = {each.index: each.time for each in self.of["healed"]}
        recovered = {each.index: each.time for each in self.of["recovered"]}
        endless = float("inf")
        self.faults = []
        for each in sorted(self.of["fault"], key=lambda fault: fault.time):
            end = healed.get(each.index, endless)
            self.faults.append((each.time, end, max(end, recovered.get(each.index, endless)), each))
        self.fault_times = [fault[0] for fault in self.faults]

    def had_fault(self, begin, end):
        """Whether the clients were not all at work at some moment between the two."""
        last = bisect.bisect_right(self.fault_times, end)
        return any(fault[2] >= begin for fault in self.faults[:last])

    def settle_of(self, delivery):
        return self.settles.get((delivery.consumer, delivery.life, delivery.tag))

    def outcomes(self, queue, key):
        """What consumers said of a message of a queue, in their order."""
        settled = map(self.settle_of, self.deliveries.get((queue, *key), ()))
        return sorted((each for each in settled if each), key=lambda each: each.time)

    def is_confirmed(self, key):
        answers = self.answers.get(key, {})
        return "confirm" in answers and "returned" not in answers

    def is_discarded(self, queue, key):
        """Whether the last word about a message was that the queue should get rid of it."""
        outcomes = self.outcomes(queue, key)
        if not outcomes:
            return False
        if outcomes[-1].outcome == "reject":
            return True
        limit = self.promises.delivery_limits.get(queue)
        last = self.deliveries[queue, *key][-1]
        return limit is not None and outcomes[-1].outcome == "requeue" and last.count >= limit

    def reached_dead_letters(self, queue, key):
        target = self.promises.dead_letters.get(queue)
        return target is not None and (target, *key) in self.deliveries

    def main_deliveries(self):
        """Deliveries by queue and message, but of dead letters, of which each rejection makes a new one."""
        return ((key, each) for key, each in self.deliveries.items() if key[0] not in self.dead_queues)


def named(queue, key):
    return f"{key[0]} {key[1]} of {queue}"


def q1_nothing_confirmed_is_lost(book):
    for key, publish in book.publishes.items():
        if not book.is_confirmed(key) or book.reached_dead_letters(publish.queue, key):
            continue
        if book.is_discarded(publish.queue, key):
            continue
        outcomes = {each.outcome for each in book.outcomes(publish.queue, key)}
        if "ack" not in outcomes:
            delivered = (publish.queue, *key) in book.deliveries
            how = "delivered, not acknowledged, and not there in the end" if delivered else "never delivered"
            confirmed = book.answers[key]["confirm"]
            yield publish.time, f"{named(publish.queue, key)}, confirmed at {confirmed:.3f}: {how}"


def q2_only_what_was_published_is_delivered(book):
    for each in book.of["corrupt"]:
        yield each.time, f"unreadable in {each.queue}: {each.text}"
    for (queue, *key), deliveries in book.deliveries.items():
        publish = book.publishes.get(tuple(key))
        if publish is None:
            if key[0].startswith(book.promises.round):
                yield deliveries[0].time, f"{named(queue, key)} was never published"
        elif queue not in (publish.queue, book.promises.dead_letters.get(publish.queue)):
            yield deliveries[0].time, f"{named(publish.queue, key)} came out of {queue}"


def q3_a_second_delivery_is_flagged(book):
    for (queue, *key), deliveries in book.main_deliveries():
        unflagged = [each for each in deliveries if not each.redelivered]
        for each in unflagged[1:]:
            yield each.time, f"{named(queue, key)} as new to {unflagged[0].consumer} and to {each.consumer}"


def q4_what_was_acknowledged_does_not_come_back(book):
    settle_s = book.promises.settle_s
    for (queue, *key), deliveries in book.deliveries.items():
        if not key[0].startswith(book.promises.round):
            yield deliveries[0].time, f"{named(queue, key)} is of an earlier round"
            continue
        if len(deliveries) == 1 or queue in book.dead_queues:
            continue
        safe = [
            settle.time + settle_s
            for settle in book.outcomes(queue, key)
            if settle.outcome == "ack"
            and not book.had_fault(settle.time, settle.time + settle_s)
            and book.losses.get((settle.consumer, settle.life), float("inf")) > settle.time + settle_s
        ]
        for each in deliveries:
            if safe and each.time > min(safe):
                yield each.time, f"{named(queue, key)} came {each.time - min(safe) + settle_s:.1f} s after its ack"


def q5_a_channel_sees_a_publisher_in_order(book):
    latest = {}
    for each in book.of["deliver"]:
        publish = book.publishes.get((each.stream, each.sequence))
        if each.redelivered or publish is None or each.queue in book.dead_queues:
            continue
        line = (each.consumer, each.life, each.queue, each.stream, publish.life)
        before = latest.get(line, 0)
        if each.sequence < before:
            yield each.time, f"{named(each.queue, (each.stream, each.sequence))} after {before} at {each.consumer}"
        latest[line] = max(before, each.sequence)


def q6_a_publish_is_one_message(book):
    """Every further delivery has a reason: it was sent back, its holder was lost, or there was a fault."""
    for (queue, *key), deliveries in book.main_deliveries():
        for before, each in zip(deliveries, deliveries[1:]):
            settle = book.settle_of(before)
            was_returned = settle is not None and settle.outcome == "requeue"
            was_lost = book.losses.get((before.consumer, before.life)) is not None
            was_closed = settle is None and each.consumer != before.consumer and not was_lost
            if was_returned or was_lost or book.had_fault(before.time, each.time):
                continue
            if was_closed and ended_before(book, before, each):
                continue
            yield each.time, f"{named(queue, key)} twice without a reason: {before.consumer}, {each.consumer}"


def ended_before(book, before, each):
    return any(
        (closed.owner, closed.life) == (before.consumer, before.life) and closed.time <= each.time
        for closed in book.of["closed"]
    )


def q7_all_count_the_same(book):
    counts = collections.defaultdict(dict)
    moments = {}
    for each in book.of["counted"]:
        counts[each.queue][each.node] = each.ready
        moments[each.queue] = each.time
    drained = collections.Counter(each.queue for each in book.of["deliver"] if each.consumer.startswith(DRAIN))
    for queue, by_node in counts.items():
        if len(set(by_node.values())) > 1:
            yield moments[queue], f"{queue} has, by node, {by_node}"
        elif any(each.queue == queue for each in book.of["drained"]):
            ready = next(iter(by_node.values()))
            if ready != drained[queue]:
                yield moments[queue], f"{queue} was said to have {ready}, and gave {drained[queue]}"


def q8_every_publish_is_answered_in_time(book):
    for key, publish in book.publishes.items():
        answers = book.answers.get(key)
        if not answers:
            if (publish.stream, publish.life) not in book.losses:
                yield publish.time, f"{named(publish.queue, key)} never answered on a living channel"
            continue
        answered = min(answers.values())
        if answered - publish.time <= book.promises.heal_s:
            continue
        # While a fault lasts an answer may take its time.
        last = bisect.bisect_right(book.fault_times, answered)
        base = max([publish.time, *(min(end, answered) for _, end, *_ in book.faults[:last])])
        waited = answered - base
        if waited > book.promises.heal_s:
            word = "stuck" if waited > book.promises.stuck_s else "late"
            yield publish.time, f"{named(publish.queue, key)} {word}: answered after {waited:.1f} s"


def q9_limits_hold_and_dead_letters_arrive(book):
    for queue, limit in book.promises.delivery_limits.items():
        for (where, *key), deliveries in book.deliveries.items():
            if where != queue:
                continue
            worst = max(each.count for each in deliveries)
            faults = sum(1 for fault in book.faults if fault[2] >= deliveries[0].time)
            if worst > limit or len(deliveries) > limit + 1 + faults:
                yield deliveries[-1].time, f"{named(queue, key)} delivered {len(deliveries)} times, count {worst}"
    if not book.promises.dead_letters_are_safe:
        return
    for key, publish in book.publishes.items():
        if publish.queue not in book.promises.dead_letters or not book.is_discarded(publish.queue, key):
            continue
        if not book.reached_dead_letters(publish.queue, key):
            yield publish.time, f"{named(publish.queue, key)} discarded, and no dead letter"


def q10_metadata_holds(book):
    for each in book.of["stale"]:
        yield each.time, f"{each.queue} was deleted, and gave {each.text}"
    asked, answered = by_object(book.of["asked"]), by_object(book.of["answered"])
    found = {each.object: each for each in book.of["found"]}
    for name, answers in answered.items():
        made = [each for each in answers if each.what == "declare" and each.code == 0]
        deletions = [each for each in asked[name] if each.what == "delete"]
        is_deleted = any(each.what == "delete" and each.code == 0 for each in answers)
        if len({each.arguments for each in made}) > 1 and not deletions:
            yield made[-1].time, f"{name} declared with {' and with '.join(each.arguments for each in made)}"
        if name in found:
            if made and not deletions and not found[name].is_there:
                yield made[0].time, f"{name} was declared, and is not there"
            if is_deleted and found[name].is_there and last_is_deletion(asked[name]):
                yield deletions[0].time, f"{name} was deleted, and is there"
        for each in answers:
            unseen = each.what == "look" and each.code == 404 and not deletions
            begun = [made_at.time for made_at in made if made_at.time < each.time]
            if unseen and begun and not book.had_fault(min(begun), each.time):
                yield each.time, f"{name} was declared, and another node does not know it"


def last_is_deletion(asked):
    return max(asked, key=lambda each: each.time).what != "declare"


def by_object(events):
    found = collections.defaultdict(list)
    for each in events:
        found[each.object].append(each)
    return found


RULES = {
    "Q1": q1_nothing_confirmed_is_lost,
    "Q2": q2_only_what_was_published_is_delivered,
    "Q3": q3_a_second_delivery_is_flagged,
    "Q4": q4_what_was_acknowledged_does_not_come_back,
    "Q5": q5_a_channel_sees_a_publisher_in_order,
    "Q6": q6_a_publish_is_one_message,
    "Q7": q7_all_count_the_same,
    "Q8": q8_every_publish_is_answered_in_time,
    "Q9": q9_limits_hold_and_dead_letters_arrive,
    "Q10": q10_metadata_holds,
}


def check(history, promises):
    """The offences against all rules, rule by rule."""
    book = Book(history.sort(), promises)
    return [Offence(name, *found) for name, rule in RULES.items() for found in rule(book)]


def report(offences, first=5):
    """Lines that say how often a rule was broken and show the first cases."""
    lines = []
    for name, rule in RULES.items():
        broken = sorted((each for each in offences if each.rule == name), key=lambda each: each.time)
        if broken:
            title = rule.__name__.split("_", 1)[1].replace("_", " ")
            lines.append(f"{name} ({title}) broken {len(broken)} times")
            lines += [f"    at {each.time:.3f}: {each.text}" for each in broken[:first]]
    return lines


def duplicates(history, dead_queues=()):
    """Second and later deliveries: their times, flagged and unflagged."""
    seen, flagged, unflagged = set(), [], []
    for each in sorted(history.of["deliver"], key=lambda event: event.time):
        key = (each.queue, each.stream, each.sequence)
        if each.queue in dead_queues:
            continue
        if each.redelivered:
            if key in seen:
                flagged.append(each.time)
        elif key in seen:
            unflagged.append(each.time)
        seen.add(key)
    return flagged, unflagged
