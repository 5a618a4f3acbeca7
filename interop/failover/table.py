"""The run's outcome as a table in Markdown: per kind of fault, times to recover and what the checker found."""

import bisect
import collections

from surroundings import percentile

HEAD = (
    "| fault | times | failover p50 / p99 / max, s | all back p50 / max, s | lost | duplicates flagged / unflagged "
    "| stuck | other offences |"
)


class Table:
    """Collects rounds: the outcomes of their faults, their offences, their duplicates."""

    def __init__(self):
        self.outcomes = []
        self.by_name = collections.defaultdict(collections.Counter)
        self.offences = []
        # What ended the run before its time.
        self.end = None

    def add(self, outcomes, offences, flagged, unflagged):
        self.outcomes += outcomes
        self.offences += offences
        begins = [outcome.time for outcome in outcomes]

        def blame(time, what):
            place = bisect.bisect_right(begins, time) - 1
            name = outcomes[max(place, 0)].name if outcomes else "-"
            self.by_name[name][what] += 1

        for offence in offences:
            blame(offence.time, offence.rule)
        for time in flagged:
            blame(time, "flagged")
        for time in unflagged:
            blame(time, "unflagged")

    @property
    def is_clean(self):
        return not self.end and not self.offences and not any(outcome.is_stuck for outcome in self.outcomes)

    def lines(self):
        names = list(dict.fromkeys(outcome.name for outcome in self.outcomes))
        lines = [HEAD, "|" + " --- |" * HEAD.count(" | ") + " --- |"]
        lines += [self.row(name, [each for each in self.outcomes if each.name == name]) for name in names]
        if len(names) > 1:
            lines.append(self.row("all", self.outcomes))
        return lines

    def row(self, name, outcomes):
        counts = sum(self.by_name.values(), collections.Counter()) if name == "all" else self.by_name[name]
        failover = [time for outcome in outcomes for time in outcome.failover]
        back = [outcome.back for outcome in outcomes]
        stuck = sum(outcome.is_stuck for outcome in outcomes)
        other = {rule: counts[rule] for rule in sorted(counts) if rule.startswith("Q") and rule != "Q1"}
        cells = [
            name,
            str(len(outcomes)),
            " / ".join(seconds(percentile(failover, share)) for share in (0.5, 0.99, 1)) if failover else "–",
            " / ".join(seconds(percentile(back, share)) for share in (0.5, 1)),
            str(counts["Q1"]),
            f"{counts['flagged']} / {counts['unflagged']}",
            str(stuck),
            ", ".join(f"{rule}: {count}" for rule, count in other.items()) or "none",
        ]
        return "| " + " | ".join(cells) + " |"


def seconds(value):
    return f"{value:.2f}"
