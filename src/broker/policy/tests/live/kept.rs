//! The keys that are kept and shown, on queues of 100,000 messages; and that no key is left out.

use super::*;
use crate::broker::policy::keys::all as known_keys;

/// The keys that have an effect on a queue or an exchange, and a test of their own here.
const FELT: [&str; 11] = [
    "alternate-exchange",
    "consumer-timeout",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
    "delivery-limit",
    "expires",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "overflow",
];

/// The other keys, as definitions that are sound, and the queues that have them.
fn kept() -> Vec<(&'static [&'static str], FieldTable)> {
    let everywhere = &["classic", "quorum"];
    vec![
        (everywhere, table([("federation-upstream", "u".into())])),
        (everywhere, table([("federation-upstream-pattern", "^u".into())])),
        (everywhere, table([("federation-upstream-set", "all".into())])),
        (
            &["classic"],
            table([
                ("ha-mode", "exactly".into()),
                ("ha-params", Int64(2)),
                ("ha-promote-on-failure", "always".into()),
                ("ha-promote-on-shutdown", "when-synced".into()),
                ("ha-sync-batch-size", Int64(100)),
                ("ha-sync-mode", "automatic".into()),
                ("queue-master-locator", "min-masters".into()),
                ("queue-mode", "lazy".into()),
            ]),
        ),
        (
            everywhere,
            table([
                ("max-in-memory-bytes", Int64(1)),
                ("max-in-memory-length", Int64(1)),
                ("queue-leader-locator", "balanced".into()),
                ("queue-version", Int64(2)),
            ]),
        ),
        (&["quorum"], table([("target-group-size", Int64(3))])),
        (
            &[],
            table([
                ("initial-cluster-size", Int64(3)),
                ("max-age", "1s".into()),
                ("stream-filter-size-bytes", Int64(16)),
                ("stream-max-segment-size-bytes", Int64(1000)),
            ]),
        ),
    ]
}

#[test]
fn the_kept_keys_have_no_effect_and_are_shown() {
    for kind in ["classic", "quorum"] {
        let mut world = World::with([("x-queue-type", kind.into())], MANY);
        for (kinds, definition) in kept() {
            world.apply("^q$", definition.clone());
            let shown = if kinds.contains(&kind) { definition } else { FieldTable::new() };
            assert_eq!(world.shown("q"), shown, "{kind}");
            world.publish("q", 1);
            let taken = world.take("q").unwrap();
            world.settle(&taken, Outcome::Acknowledge);
            world.advance(5000);
            assert_eq!(world.count("q"), Some(MANY), "{kind}: {shown:?}");
        }
        assert_eq!(world.shown("dead"), FieldTable::new());
        let none = QueueName::from_static("none");
        assert_eq!(world.broker.queue_policy(&HOME, &none), None);
    }
}

#[test]
fn every_key_is_changed_on_a_long_queue_here() {
    let kept = kept();
    let kept = kept.iter().flat_map(|(_, definition)| definition.iter());
    let mut tested: Vec<_> = kept.map(|(key, _)| key.text().into_owned()).collect();
    tested.extend(FELT.map(str::to_owned));
    tested.sort();
    assert_eq!(tested, known_keys().collect::<Vec<_>>());
}
