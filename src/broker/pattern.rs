//! Regular expressions over names, as operators write them for RabbitMQ.

use std::fmt;

use fancy_regex::{Regex, RegexBuilder};
use thiserror::Error;

/// An expression that matches anywhere in a name unless it is anchored (RabbitMQ: PCRE).
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// The text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no regular expression: {fault}")]
pub struct BadPattern {
    pub text: String,
    pub fault: String,
}

/// Steps back that one match may take. An expression that needs more does not match: names are 255
/// octets at most, and no sensible expression over them comes near.
const BACKTRACKS: usize = 100_000;

/// The longest expression, in octets: whoever may write one must not fill the memory with it.
const LONGEST: usize = 16 * 1024;

impl Pattern {
    /// # Errors
    /// When the text is no expression, or a huge one.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        let bad = |fault: String| BadPattern { text: text.to_owned(), fault };
        if text.len() > LONGEST {
            return Err(bad(format!("{} octets are too many", text.len())));
        }
        let built = RegexBuilder::new(text).backtrack_limit(BACKTRACKS).build();
        let regex = built.map_err(|error| bad(error.to_string()))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches somewhere in the name; what is not UTF-8 in it is replaced.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.regex.is_match(&*String::from_utf8_lossy(name)).unwrap_or(false)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(name.as_bytes())
    }

    #[test]
    fn a_pattern_matches_anywhere_unless_anchored() {
        assert!(matches("b", "abc") && matches(".*", "") && matches("", "abc"));
        assert!(!matches("^b", "abc") && !matches("^$", "abc") && matches("^$", ""));
    }

    #[test]
    fn a_pattern_may_look_around() {
        assert!(matches(r"^(?!amq\.).*", "orders") && !matches(r"^(?!amq\.).*", "amq.gen-1"));
    }

    #[test]
    fn a_pattern_that_goes_astray_does_not_match() {
        assert!(!matches(r"^(?=(a+)+$)b", &"a".repeat(200)));
        assert!(!matches(r"(?:(a*)*)*\1c", &"a".repeat(250)));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_text() {
        let bad = Pattern::new("(").unwrap_err();
        assert_eq!(bad.text, "(");
        assert!(Pattern::new(&"a".repeat(LONGEST + 1)).is_err());
    }
}
