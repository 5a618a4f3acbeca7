//! Every key, every kind of value: what a RabbitMQ 3.10.8 said of it.

use super::*;
use FieldValue::{Array, Boolean, Float64, Int64, Table, Void};

fn text(text: &str) -> FieldValue {
    FieldValue::LongString(text.into())
}

/// A value of each kind, and how it is shown.
fn values() -> Vec<(FieldValue, &'static str)> {
    vec![
        (Int64(-1), "-1"),
        (Int64(0), "0"),
        (Int64(1), "1"),
        (Int64(3), "3"),
        (Int64(315_360_000_001), "315360000001"),
        (Float64(1.5), "1.5"),
        (text("x"), "<<\"x\">>"),
        (text(""), "<<>>"),
        (Boolean(true), "true"),
        (Void, "null"),
        (Array(vec![Int64(1), text("a")]), "[1,<<\"a\">>]"),
        (Array(Vec::new()), "[]"),
        (Table(table([("a", Int64(1))])), "#{<<\"a\">> => 1}"),
        (Table(FieldTable::new()), "#{}"),
    ]
}

fn complaint(kind: PolicyKind, definition: FieldTable) -> Option<String> {
    Policy::parse(kind, draft(definition)).err().map(|faults| {
        let text = faults.to_string();
        let text = text.strip_prefix("Validation failed\n\n").expect("the title");
        text.strip_suffix('\n').expect("the end of the line").to_owned()
    })
}

/// All but these of [`values`] and `words` are refused, by `what` they are not.
fn check(key: &'static str, what: &str, good: &[&str], words: &[&str]) {
    for (value, shown) in values() {
        let said = complaint(PolicyKind::User, table([(key, value)]));
        let expected = (!good.contains(&shown)).then(|| format!("{shown} {what}"));
        assert_eq!(said, expected, "{key}: {shown}");
    }
    for word in words {
        assert_eq!(complaint(PolicyKind::User, table([(key, text(word))])), None, "{key}: {word}");
    }
}

const ANY_TEXT: &[&str] = &["<<\"x\">>", "<<>>"];
const FROM_0: &[&str] = &["0", "1", "3", "315360000001"];
const FROM_1: &[&str] = &["1", "3", "315360000001"];

#[test]
fn every_key_takes_what_rabbitmq_takes_and_refuses_the_rest_in_its_words() {
    let names = [
        ("alternate-exchange", "alternate exchange name"),
        ("dead-letter-exchange", "dead letter exchange name"),
        ("dead-letter-routing-key", "dead letter routing key"),
        ("federation-upstream", "federation upstream name"),
        ("federation-upstream-set", "federation upstream set name"),
        ("federation-upstream-pattern", "federation upstream pattern name"),
    ];
    for (key, what) in names {
        check(key, &format!("is not a valid {what}"), ANY_TEXT, &["a b"]);
    }
    let counts = [
        ("consumer-timeout", "consumer timeout"),
        ("initial-cluster-size", "cluster size"),
        ("max-in-memory-bytes", "maximum memory in bytes"),
        ("max-in-memory-length", "maximum memory in bytes"),
        ("max-length", "maximum length"),
        ("max-length-bytes", "maximum length in bytes"),
        ("message-ttl", "message TTL"),
        ("target-group-size", "target count"),
    ];
    for (key, what) in counts {
        check(key, &format!("is not a valid {what}"), FROM_0, &[]);
    }
    check("expires", "is not a valid queue expiry", FROM_1, &[]);
    let limits = &[FROM_0, &["-1"]].concat()[..];
    check("delivery-limit", "is not a valid delivery limit", limits, &[]);
    let small = &["0", "1", "3"];
    check("stream-max-segment-size-bytes", "is not a valid segment size", small, &[]);
    let range = "is not a valid filter size. Valid range is 16-255";
    check("stream-filter-size-bytes", range, &[], &[]);
    check("queue-version", "is not a valid queue-version value", &["1"], &[]);
    check("max-age", "is not a valid max age", &[], &["1Y", "10h", "7D", "5M", "30m", "1s"]);
    let strategies = &["at-most-once", "at-least-once"];
    check("dead-letter-strategy", "is not a valid dead letter strategy", &[], strategies);
    let overflows = &["drop-head", "reject-publish", "reject-publish-dlx"];
    check("overflow", "is not a valid overflow value", &[], overflows);
    let locators = &["client-local", "balanced", "random", "least-leaders"];
    check("queue-leader-locator", "is not a valid queue leader locator value", &[], locators);
    let masters = &["min-masters", "client-local", "random"];
    check("queue-master-locator", "invalid queue-master-locator value", &[], masters);
    check("queue-mode", "is not a valid queue-mode value", &[], &["default", "lazy"]);
    check("ha-mode", "is not a valid ha-mode value", &[], &["all"]);
    for age in ["1x", "0s", "-1h", "h", ""] {
        assert!(complaint(PolicyKind::User, table([("max-age", text(age))])).is_some(), "{age}");
    }
}

#[test]
fn the_mirroring_keys_are_checked_together() {
    let said = |pairs: Vec<(&'static str, FieldValue)>| {
        let pairs = pairs.into_iter().map(|(key, value)| (ShortString::from_static(key), value));
        complaint(PolicyKind::User, pairs.collect())
    };
    let with_mode = |mode: &str, key, value| said(vec![("ha-mode", text(mode)), (key, value)]);
    let parameters = |mode: &str, value| with_mode(mode, "ha-params", value);
    let missing = "ha-mode must be specified to specify ha-params, ha-sync-mode or \
                   ha-promote-on-shutdown";
    for key in [
        "ha-params",
        "ha-sync-mode",
        "ha-sync-batch-size",
        "ha-promote-on-shutdown",
        "ha-promote-on-failure",
    ] {
        assert_eq!(said(vec![(key, Int64(1))]).as_deref(), Some(missing), "{key}");
    }
    let cases = [
        (parameters("all", Void), "ha-mode=\"all\" does not take parameters"),
        (
            said(vec![("ha-mode", text("exactly"))]),
            "ha-mode=\"exactly\" takes an integer, none given",
        ),
        (parameters("exactly", Int64(0)), "ha-mode=\"exactly\" takes an integer, 0 given"),
        (parameters("exactly", text("x")), "ha-mode=\"exactly\" takes an integer, <<\"x\">> given"),
        (said(vec![("ha-mode", text("nodes"))]), "ha-mode=\"nodes\" takes a list, none given"),
        (parameters("nodes", text("x")), "ha-mode=\"nodes\" takes a list, <<\"x\">> given"),
        (parameters("nodes", Array(Vec::new())), "ha-mode=\"nodes\" list must be non-empty"),
        (
            parameters("nodes", Array(vec![text("a@b"), Int64(1)])),
            "ha-mode=\"nodes\" takes a list of strings, [1] was not a string",
        ),
        (
            with_mode("all", "ha-sync-mode", Void),
            "ha-sync-mode must be \"manual\" or \"automatic\", got null",
        ),
        (
            with_mode("all", "ha-sync-batch-size", Int64(0)),
            "ha-sync-batch-size takes an integer greater than 0, 0 given",
        ),
        (
            with_mode("all", "ha-promote-on-shutdown", text("bad")),
            "ha-promote-on-shutdown must be \"always\" or \"when-synced\", got <<\"bad\">>",
        ),
        (
            with_mode("all", "ha-promote-on-failure", text("bad")),
            "ha-promote-on-failure must be \"always\" or \"when-synced\", got <<\"bad\">>",
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(said.as_deref(), Some(expected));
    }
    assert_eq!(parameters("exactly", Int64(2)), None);
    assert_eq!(parameters("nodes", Array(vec![text("a@b")])), None);
    let whole = vec![
        ("ha-mode", text("all")),
        ("ha-sync-mode", text("automatic")),
        ("ha-sync-batch-size", Int64(5)),
        ("ha-promote-on-shutdown", text("always")),
        ("ha-promote-on-failure", text("when-synced")),
    ];
    assert_eq!(said(whole), None);
}

#[test]
fn faults_come_in_rabbitmq_s_order() {
    let said = |definition| complaint(PolicyKind::User, definition).unwrap();
    assert_eq!(said(FieldTable::new()), "no policy provided");
    let unknown = table([("foo", Int64(1)), ("bar", text("x")), ("max-length", Int64(5))]);
    assert_eq!(
        said(unknown),
        "[{<<\"bar\">>,<<\"x\">>},{<<\"foo\">>,1}] are not recognised policy settings"
    );
    let wrong = table([("foo", Int64(1)), ("max-length", Int64(-5))]);
    assert_eq!(said(wrong), "-5 is not a valid maximum length");
    let first = table([("max-length", Int64(-5)), ("expires", Int64(-1))]);
    assert_eq!(said(first), "-1 is not a valid queue expiry");
    let mirrored = table([("ha-mode", text("bad")), ("alternate-exchange", Int64(1))]);
    assert_eq!(said(mirrored), "<<\"bad\">> is not a valid ha-mode value");
    let master = table([("queue-master-locator", text("x")), ("ha-mode", text("bad"))]);
    assert_eq!(said(master), "<<\"x\">> invalid queue-master-locator value");
    let upstreams =
        table([("federation-upstream", text("a")), ("federation-upstream-set", text("b"))]);
    assert_eq!(
        said(upstreams),
        "cannot specify federation-upstream, federation-upstream-set or \
         federation-upstream-pattern together"
    );
    let all = PolicyDraft {
        pattern: "(".into(),
        apply_to: "foo".into(),
        priority: text("x"),
        ..draft(table([("max-length", Int64(-1))]))
    };
    let text = Policy::parse(PolicyKind::User, all).unwrap_err().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..3], ["Validation failed", "", "-1 is not a valid maximum length"]);
    assert!(lines[3].starts_with("apply-to 'foo' unrecognised; should be "), "{text}");
    let pattern = "pattern should be regular expression but is invalid: {\"";
    assert!(lines[4].starts_with(pattern), "{text}");
    assert_eq!(lines[5..], ["priority should be a number, actually was <<\"x\">>"]);
}

#[test]
fn an_operator_has_fewer_keys() {
    let said = |definition| complaint(PolicyKind::Operator, definition);
    assert_eq!(said(table([("max-length", Int64(5))])), None);
    assert_eq!(said(table([("overflow", text("drop-head"))])), None);
    assert_eq!(said(table([("delivery-limit", Int64(5))])), None);
    let unknown = table([("dead-letter-exchange", text("x")), ("max-length", Int64(1))]);
    assert_eq!(
        said(unknown).unwrap(),
        "[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings"
    );
    let wrong = table([("dead-letter-exchange", text("x")), ("max-length", Int64(-1))]);
    assert_eq!(said(wrong).unwrap(), "-1 is not a valid maximum length");
}

#[test]
fn values_are_shown_as_erlang_shows_them() {
    let shown = |value: FieldValue| term::Term(&value).to_string();
    assert_eq!(shown(text("héllo")), "<<\"hÃ©llo\">>");
    assert_eq!(shown(text("\u{20ac}\u{1}")), "<<226,130,172,1>>");
    assert_eq!(shown(text("a\"b\\c\n")), "<<\"a\\\"b\\\\c\\n\">>");
    assert_eq!(shown(Array(vec![Int64(97), Int64(98)])), "\"ab\"");
    assert_eq!(shown(Float64(1.0e25)), "1.0e25");
    assert_eq!(shown(Float64(0.1)), "0.1");
    let inner = Table(table([("b", Int64(1)), ("a", Array(vec![Int64(2)]))]));
    assert_eq!(shown(Array(vec![inner])), "[#{<<\"a\">> => [2],<<\"b\">> => 1}]");
    let long = table([
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaa", Int64(1)),
        ("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", Int64(2)),
        ("dddddddddddddddddddddd", text("eeeeeeeeeeeeeee")),
    ]);
    assert_eq!(
        complaint(PolicyKind::User, long).unwrap(),
        "[{<<\"aaaaaaaaaaaaaaaaaaaaaaaaaaa\">>,1},\n \
         {<<\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\">>,2},\n \
         {<<\"dddddddddddddddddddddd\">>,<<\"eeeeeeeeeeeeeee\">>}] are not recognised policy \
         settings"
    );
}

#[test]
fn the_words_for_what_a_policy_is_for_are_known() {
    for (word, meant) in APPLY_TO {
        assert_eq!(ApplyTo::parse(word), Ok(meant));
        assert_eq!(meant.as_str(), word);
    }
    assert_eq!(ApplyTo::parse(""), Ok(ApplyTo::All));
}

#[test]
fn what_is_wrong_with_a_pattern_is_said_as_pcre_says_it() {
    let cases = [
        ("(", r#"{"missing )",1}"#),
        ("(abc", r#"{"missing )",4}"#),
        ("[", r#"{"missing terminating ] for character class",1}"#),
        ("a**", r#"{"nothing to repeat",2}"#),
        ("*", r#"{"nothing to repeat",0}"#),
        (")", r#"{"unmatched parentheses",0}"#),
        ("(?<n", r#"{"syntax error in subpattern name (missing terminator)",4}"#),
        ("\\", r#"{"\\ at end of pattern",1}"#),
    ];
    for (pattern, expected) in cases {
        let draft = draft(table([("max-length", Int64(1))]));
        let draft = PolicyDraft { pattern: pattern.into(), ..draft };
        let said = Policy::parse(PolicyKind::User, draft).unwrap_err().0[0].to_string();
        let title = "pattern should be regular expression but is invalid: ";
        assert_eq!(said.strip_prefix(title), Some(expected), "{pattern}");
    }
    let upstream = table([("federation-upstream-pattern", text("("))]);
    assert_eq!(
        complaint(PolicyKind::User, upstream).unwrap(),
        "could not compile pattern ( to a regular expression. Error: {\"missing )\",1}"
    );
}
