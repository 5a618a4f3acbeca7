"""The checker on hand-made histories: every rule lets a good one pass and catches at least one bad one."""

import pathlib
import tempfile
import unittest

from checker import Promises, check, duplicates, report
from events import History, Recorder, Tail, body_of, event_of, read_body

PROMISES = Promises(dead_letters={"work": "dead"}, delivery_limits={"work": 2}, round="r1.")

# One message, published, confirmed, delivered and acknowledged, in a round without faults.
GOOD = """
opened 0 r1.p 1 a
opened 0 c 1 b
publish 1 r1.p 1 1 q
confirm 1.1 r1.p 1
deliver 1.2 c 1 q r1.p 1 1 0 -1
settle 1.3 c 1 1 ack
"""
FAULT = """
fault 2 1 kill-leader a
healed 4 1
recovered 5 1
"""


def broken(text, promises=PROMISES):
    """The rules that a history breaks."""
    history = History(event_of(line) for line in text.splitlines() if line)
    return sorted({offence.rule for offence in check(history, promises)})


class Rules(unittest.TestCase):
    def test_a_message_that_is_delivered_once_breaks_no_rule(self):
        self.assertEqual(broken(GOOD), [])
        self.assertEqual(broken(GOOD + FAULT), [])

    def test_q1_a_confirmed_message_that_never_comes_is_lost(self):
        self.assertEqual(broken(GOOD + "publish 1 r1.p 1 2 q\nconfirm 1.1 r1.p 2"), ["Q1"])

    def test_q1_a_delivery_without_ack_must_come_again(self):
        text = GOOD + "publish 1 r1.p 1 2 q\nconfirm 1.1 r1.p 2\ndeliver 1.2 c 1 q r1.p 2 2 0 -1"
        self.assertEqual(broken(text), ["Q1"])

    def test_q1_says_nothing_of_what_was_not_confirmed_or_was_returned(self):
        text = GOOD + "publish 1 r1.p 1 2 q\nnack 1.1 r1.p 2\npublish 1 r1.p 1 3 q\nreturned 1.1 r1.p 3"
        self.assertEqual(broken(text + "\nconfirm 1.1 r1.p 3"), [])
        self.assertEqual(broken(GOOD + "publish 1 r1.p 1 2 q\nlost 1.5 r1.p 1 killed"), [])

    def test_q2_what_nobody_published_is_an_invention(self):
        self.assertEqual(broken(GOOD + "deliver 1.4 c 1 q r1.p 9 2 0 -1"), ["Q2"])
        self.assertEqual(broken(GOOD + "corrupt 1.4 c q x y"), ["Q2"])

    def test_q2_a_message_stays_in_its_queue_or_its_dead_letters(self):
        text = "publish 1 r1.p 1 1 q\nconfirm 1 r1.p 1\ndeliver 1 c 1 q r1.p 1 1 0 -1\nsettle 1 c 1 1 ack\n"
        self.assertEqual(broken(text + "deliver 1.2 c 1 other r1.p 1 2 0 -1\nsettle 1.3 c 1 2 ack"), ["Q2"])

    def test_q3_a_second_delivery_after_a_fault_must_be_flagged(self):
        again = "deliver 3 d 1 q r1.p 1 1 {} -1\nsettle 3.1 d 1 1 ack"
        lately = GOOD.replace("settle 1.3", "settle 1.9")
        self.assertEqual(broken(lately + FAULT + again.format(0)), ["Q3"])
        self.assertEqual(broken(lately + FAULT + again.format(1)), [])

    def test_q4_an_old_ack_holds_through_a_fault(self):
        late_fault = FAULT.replace("fault 2", "fault 9").replace("healed 4", "healed 10").replace("ed 5", "ed 11")
        again = "deliver 10 d 1 q r1.p 1 1 1 -1\nsettle 10.1 d 1 1 ack"
        self.assertEqual(broken(GOOD + late_fault + again), ["Q4"])
        # An ack just before the fault may not have been taken.
        self.assertEqual(broken(GOOD + FAULT + again.replace("10", "3")), [])

    def test_q4_what_an_earlier_round_drained_stays_away(self):
        self.assertEqual(broken(GOOD + "deliver 2 c 1 q r0.p 1 2 1 -1"), ["Q4"])

    def test_q5_one_channel_sees_a_publisher_in_order(self):
        def deliveries(*sequences):
            lines = []
            for tag, sequence in enumerate(sequences, 1):
                lines += [f"publish 1.{sequence} r1.p 1 {sequence} q", f"confirm 2 r1.p {sequence}"]
                lines += [f"deliver 3.{tag} c 1 q r1.p {sequence} {tag} 0 -1", f"settle 3.{tag} c 1 {tag} ack"]
            return "\n".join(lines)

        self.assertEqual(broken(deliveries(1, 2, 3)), [])
        self.assertEqual(broken(deliveries(1, 3, 2)), ["Q5"])

    def test_q6_a_second_copy_has_no_reason(self):
        again = "deliver 1.25 d 1 q r1.p 1 1 1 -1\nsettle 1.3 d 1 1 ack"
        self.assertEqual(broken(GOOD + again), ["Q6"])
        self.assertEqual(broken(GOOD.replace(" ack", " requeue") + again.replace("1.25", "1.4")), [])
        self.assertEqual(broken(GOOD + "lost 1.24 c 1 reset\n" + again), [])

    def test_q7_nodes_agree_and_what_they_count_comes_out(self):
        drain = "publish 6 r1.p 1 2 q\nconfirm 6 r1.p 2\n"
        drain += "deliver 8 drain.1 1 q r1.p 2 1 0 -1\nsettle 8 drain.1 1 1 ack\n"
        self.assertEqual(broken(GOOD + drain + "counted 7 a q 1\ncounted 7 b q 1\ndrained 9 q"), [])
        self.assertEqual(broken(GOOD + drain + "counted 7 a q 1\ncounted 7 b q 2\ndrained 9 q"), ["Q7"])
        self.assertEqual(broken(GOOD + drain + "counted 7 a q 3\ncounted 7 b q 3\ndrained 9 q"), ["Q7"])

    def test_q8_silence_on_a_living_channel_is_an_offence(self):
        silent = GOOD + "publish 1.5 r1.p 1 2 q"
        self.assertEqual(broken(silent), ["Q8"])
        self.assertEqual(broken(silent + "\nlost 2 r1.p 1 reset"), [])

    def test_q8_an_answer_comes_soon_after_the_end_of_a_fault(self):
        late = GOOD.replace("confirm 1.1", "confirm {}")
        late = late.replace("deliver 1.2", "deliver 6").replace("settle 1.3", "settle 6.1")
        self.assertEqual(broken(late.format(8.9) + FAULT), [])
        self.assertEqual(broken(late.format(9.1) + FAULT), ["Q8"])
        self.assertEqual(broken(late.format(6.5)), ["Q8"])

    def test_q9_a_rejected_message_becomes_a_dead_letter(self):
        rejected = GOOD.replace(" ack", " reject").replace(" q", " work")
        dead = "deliver 1.5 c 1 dead r1.p 1 2 0 -1\nsettle 1.6 c 1 2 ack"
        self.assertEqual(broken(rejected), ["Q9"])
        self.assertEqual(broken(rejected + dead), [])
        at_most_once = Promises(dead_letters={"work": "dead"}, dead_letters_are_safe=False, round="r1.")
        self.assertEqual(broken(rejected, at_most_once), [])

    def test_q9_nobody_gets_a_message_more_often_than_the_limit_says(self):
        def poison(times):
            lines = ["publish 1 r1.p 1 1 work", "confirm 1 r1.p 1"]
            for tag in range(1, times + 1):
                count = tag - 1
                lines.append(f"deliver 2.{tag} c 1 work r1.p 1 {tag} {int(tag > 1)} {count}")
                lines.append(f"settle 2.{tag}5 c 1 {tag} requeue")
            return "\n".join([*lines, "deliver 3 c 1 dead r1.p 1 9 0 -1", "settle 3.1 c 1 9 ack"])

        self.assertEqual(broken(poison(3)), [])
        self.assertEqual(broken(poison(4)), ["Q9"])

    def test_q10_what_was_declared_stays_and_what_was_deleted_goes(self):
        declared = "asked 1 x declare one\nanswered 1.1 x declare one 0\n"
        deleted = "asked 2 x delete -\nanswered 2.1 x delete - 0\n"
        self.assertEqual(broken(declared + "found 9 x 1"), [])
        self.assertEqual(broken(declared + "found 9 x 0"), ["Q10"])
        self.assertEqual(broken(declared + deleted + "found 9 x 0"), [])
        self.assertEqual(broken(declared + deleted + "found 9 x 1"), ["Q10"])

    def test_q10_of_two_conflicting_declarations_one_fails(self):
        race = "asked 1 x declare one\nasked 1 x declare two\n"
        race += "answered 1.1 x declare one 0\nanswered 1.1 x declare two {}"
        self.assertEqual(broken(race.format(406)), [])
        self.assertEqual(broken(race.format(0)), ["Q10"])

    def test_q10_another_node_knows_a_queue_at_once(self):
        text = "asked 1 x declare one\nanswered 1.1 x declare one 0\nasked 1.2 x look -\nanswered 1.3 x look - {}"
        self.assertEqual(broken(text.format(0)), [])
        self.assertEqual(broken(text.format(404)), ["Q10"])
        self.assertEqual(broken(text.format(404) + FAULT.replace("fault 2", "fault 1")), [])

    def test_q10_a_deleted_queue_does_not_come_back_with_its_messages(self):
        self.assertEqual(broken(GOOD + "stale 4 q r1.f 1"), ["Q10"])

    def test_the_report_names_rule_count_and_first_cases(self):
        history = History(event_of(f"publish {n} r1.p 1 {n} q") for n in range(1, 9))
        lines = report(check(history, PROMISES), first=2)
        self.assertIn("Q8 (every publish is answered in time) broken 8 times", lines)
        self.assertEqual(len(lines), 3)


class Records(unittest.TestCase):
    def test_bodies_tell_who_sent_them_and_whether_they_are_whole(self):
        for size in (1, 64, 20_000):
            body = body_of("r1.p0.2", 17, size)
            self.assertEqual(read_body(body), ("r1.p0.2", 17))
            self.assertIsNone(read_body(body[:-1]))
            self.assertIsNone(read_body(body.replace(b"17", b"18", 1)))

    def test_events_are_read_as_they_were_written(self):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "events"
            tail = Tail()
            tail.follow(path)
            record = Recorder(path)
            record("lost", "c", 3, "why not\nso")
            record("deliver", "c", 1, "q", "p", 7, 9, 1, -1, moment=2.5)
            record.flush()
            lost, deliver = tail.news()
            self.assertEqual((lost.owner, lost.life, lost.why), ("c", 3, "why not so"))
            self.assertEqual((deliver.time, deliver.sequence, deliver.count), (2.5, 7, -1))
            self.assertEqual(tail.news(), [])
            tail.close()
            record.file.close()

    def test_duplicates_are_counted_by_their_flag(self):
        lines = [f"deliver {n} c 1 q p 1 {n} {flag} -1" for n, flag in ((1, 0), (2, 1), (3, 0))]
        flagged, unflagged = duplicates(History(map(event_of, lines)))
        self.assertEqual((flagged, unflagged), ([2.0], [3.0]))


if __name__ == "__main__":
    unittest.main()
