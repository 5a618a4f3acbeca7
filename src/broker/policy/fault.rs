//! What can be wrong with a policy, in RabbitMQ's words.

use std::fmt;

use thiserror::Error;

use super::term::{Term, Terms};
use crate::{
    broker::BadPattern,
    model::{FieldValue, ShortString},
};

/// All that is wrong with a policy: one at least.
#[derive(Clone, Debug, PartialEq, Error)]
pub struct PolicyFaults(pub Vec<PolicyFault>);

/// One thing that is wrong with a policy.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyFault {
    /// The definition has no key.
    Empty,
    /// No such keys, or an operator may not use them.
    Unknown(Vec<(ShortString, FieldValue)>),
    /// A key's value; `what` says what it is not.
    Invalid {
        value: FieldValue,
        what: &'static str,
    },
    InvalidMasterLocator(FieldValue),
    InvalidBatchSize(FieldValue),
    /// The value of a key that has two words.
    NotOneOf {
        key: &'static str,
        words: [&'static str; 2],
        value: FieldValue,
    },
    /// `ha-*` without `ha-mode`.
    NoMirroringMode,
    /// `ha-mode` is `all`, and there are `ha-params`.
    SuperfluousParameters,
    /// `ha-mode` is `exactly`; its `ha-params`.
    NotACount(Option<FieldValue>),
    /// `ha-mode` is `nodes`; its `ha-params`.
    NotAList(Option<FieldValue>),
    NoNodes,
    /// Those that are no names of nodes.
    NotStrings(Vec<FieldValue>),
    SeveralUpstreams,
    UpstreamPattern(BadPattern),
    ApplyTo(String),
    Pattern(BadPattern),
    Priority(FieldValue),
}

impl fmt::Display for PolicyFaults {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Validation failed\n\n")?;
        self.0.iter().try_for_each(|fault| writeln!(to, "{fault}"))
    }
}

/// The words of RabbitMQ 3.10; but `apply-to` has more words since 3.12, which are named, too.
impl fmt::Display for PolicyFault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(to, "no policy provided"),
            Self::Unknown(pairs) => {
                write!(to, "{} are not recognised policy settings", Terms(pairs))
            }
            Self::Invalid { value, what } => write!(to, "{} is not a valid {what}", Term(value)),
            Self::InvalidMasterLocator(value) => {
                write!(to, "{} invalid queue-master-locator value", Term(value))
            }
            Self::InvalidBatchSize(value) => {
                let value = Term(value);
                write!(to, "ha-sync-batch-size takes an integer greater than 0, {value} given")
            }
            Self::NotOneOf { key, words: [one, other], value } => {
                write!(to, "{key} must be \"{one}\" or \"{other}\", got {}", Term(value))
            }
            Self::NoMirroringMode => {
                let others = "ha-params, ha-sync-mode or ha-promote-on-shutdown";
                write!(to, "ha-mode must be specified to specify {others}")
            }
            Self::SuperfluousParameters => write!(to, "ha-mode=\"all\" does not take parameters"),
            Self::NotACount(given) => {
                write!(to, "ha-mode=\"exactly\" takes an integer, {} given", or_none(given))
            }
            Self::NotAList(given) => {
                write!(to, "ha-mode=\"nodes\" takes a list, {} given", or_none(given))
            }
            Self::NoNodes => write!(to, "ha-mode=\"nodes\" list must be non-empty"),
            Self::NotStrings(values) => {
                let values = FieldValue::Array(values.clone());
                let values = Term(&values);
                write!(to, "ha-mode=\"nodes\" takes a list of strings, {values} was not a string")
            }
            Self::SeveralUpstreams => {
                write!(to, "cannot specify federation-upstream, federation-upstream-set or ")?;
                write!(to, "federation-upstream-pattern together")
            }
            Self::UpstreamPattern(bad) => {
                let (text, fault) = (&bad.text, Pcre(bad));
                write!(to, "could not compile pattern {text} to a regular expression. ")?;
                write!(to, "Error: {fault}")
            }
            Self::ApplyTo(word) => {
                write!(to, "apply-to '{word}' unrecognised; should be one of: 'queues', ")?;
                write!(to, "'classic_queues', 'quorum_queues', 'streams', 'exchanges', or 'all'")
            }
            Self::Pattern(bad) => {
                let fault = Pcre(bad);
                write!(to, "pattern should be regular expression but is invalid: {fault}")
            }
            Self::Priority(value) => {
                write!(to, "priority should be a number, actually was {}", Term(value))
            }
        }
    }
}

fn or_none(given: &Option<FieldValue>) -> String {
    given.as_ref().map_or_else(|| "none".to_owned(), |value| Term(value).to_string())
}

/// What is wrong with a pattern and where, in the words of PCRE where it has some for that.
struct Pcre<'a>(&'a BadPattern);

/// What our own engine says, what PCRE says, and whether PCRE means the pattern's end.
const PCRE: &[(&str, &str, bool)] = &[
    ("Opening parenthesis without closing parenthesis", "missing )", true),
    ("Invalid character class", "missing terminating ] for character class", true),
    ("Target of repeat operator is invalid", "nothing to repeat", false),
    ("end of string not reached", "unmatched parentheses", false),
    ("Could not parse group name", "syntax error in subpattern name (missing terminator)", true),
    ("Backslash without following character", "\\ at end of pattern", true),
];

impl fmt::Display for Pcre<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BadPattern { text, fault } = self.0;
        let place = fault.strip_prefix("Parsing error at position ");
        let place = place.and_then(|rest| rest.split(':').next()?.parse().ok()).unwrap_or(0);
        let known = PCRE.iter().find(|(own, ..)| fault.contains(own));
        let (words, place) = match known {
            Some((_, words, true)) => (*words, text.len()),
            Some((_, words, false)) => (*words, place),
            None => (&**fault, place),
        };
        let words = words.replace('\\', "\\\\").replace('"', "\\\"");
        write!(to, "{{\"{words}\",{place}}}")
    }
}
