//! Values as a scenario writes them: what to send, and the patterns that match what comes back.

use std::{collections::BTreeMap, fmt};

/// A value, or a pattern for one. Decoded frames hold only values.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A number and its type tag in a table, `n` where the method decides the type.
    Number(char, i128),
    Float(char, f64),
    Decimal(u8, u32),
    Bool(bool),
    Void,
    /// Octets tagged `S` (text) or `x` (byte array).
    Text(char, Vec<u8>),
    Array(Vec<Self>, Rest),
    Table(Vec<(Vec<u8>, Self)>, Rest),
    /// `_`: any value.
    Anything,
    /// `~"a*b"`: text in which each `*` stands for any octets.
    Like(Vec<u8>),
    /// `$name`: binds the name at first, is that value later.
    Capture(String),
}

/// Whether a pattern allows what it does not mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    None,
    Any,
}

/// What the captures of one scenario stand for.
pub type Captures = BTreeMap<String, Term>;

/// `length` octets that show a body put together in the wrong order: `size:length` in a scenario.
pub fn pattern_octets(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

impl Term {
    pub fn text(text: &str) -> Self {
        Self::Text('S', text.as_bytes().to_vec())
    }

    /// Whether an argument that was not written has this value.
    pub fn is_default(&self) -> bool {
        match self {
            Self::Number(_, number) => *number == 0,
            Self::Bool(bit) => !bit,
            Self::Text(_, octets) => octets.is_empty(),
            Self::Table(entries, _) => entries.is_empty(),
            Self::Float(..) | Self::Decimal(..) | Self::Void | Self::Array(..) => false,
            Self::Anything | Self::Like(_) | Self::Capture(_) => false,
        }
    }

    /// The value to send: captures replaced by what they stand for.
    pub fn resolved(&self, captures: &Captures) -> Result<Self, String> {
        Ok(match self {
            Self::Capture(name) => {
                captures.get(name).cloned().ok_or_else(|| format!("${name} is not bound yet"))?
            }
            Self::Anything | Self::Like(_) => return Err(format!("{self} can only be expected")),
            Self::Array(items, _) => {
                let items = items.iter().map(|item| item.resolved(captures));
                Self::Array(items.collect::<Result<_, _>>()?, Rest::None)
            }
            Self::Table(entries, _) => {
                let entries =
                    entries.iter().map(|(key, value)| Ok((key.clone(), value.resolved(captures)?)));
                Self::Table(entries.collect::<Result<_, String>>()?, Rest::None)
            }
            value => value.clone(),
        })
    }

    /// Whether `value` is what this pattern describes; binds captures on the way.
    pub fn matches(&self, value: &Self, captures: &mut Captures) -> bool {
        match (self, value) {
            (Self::Anything, _) => true,
            (Self::Capture(name), _) => match captures.get(name) {
                Some(bound) => bound == value,
                None => {
                    captures.insert(name.clone(), value.clone());
                    true
                }
            },
            (Self::Like(glob), Self::Text(_, octets)) => is_like(glob, octets),
            (Self::Array(expected, rest), Self::Array(items, _)) => {
                let long_enough = match rest {
                    Rest::None => expected.len() == items.len(),
                    Rest::Any => expected.len() <= items.len(),
                };
                long_enough && expected.iter().zip(items).all(|(e, i)| e.matches(i, captures))
            }
            (Self::Table(expected, rest), Self::Table(entries, _)) => {
                table_matches(expected, *rest, entries, captures)
            }
            _ => self == value,
        }
    }
}

/// Entries match in any order, each expected one another entry.
fn table_matches(
    expected: &[(Vec<u8>, Term)],
    rest: Rest,
    entries: &[(Vec<u8>, Term)],
    captures: &mut Captures,
) -> bool {
    let mut left: Vec<_> = entries.iter().collect();
    for (key, pattern) in expected {
        let found = left.iter().position(|(name, value)| {
            let mut attempt = captures.clone();
            let matched = name == key && pattern.matches(value, &mut attempt);
            if matched {
                *captures = attempt;
            }
            matched
        });
        match found {
            Some(index) => left.remove(index),
            None => return false,
        };
    }
    rest == Rest::Any || left.is_empty()
}

fn is_like(glob: &[u8], octets: &[u8]) -> bool {
    match glob.split_first() {
        None => octets.is_empty(),
        Some((b'*', rest)) => (0..=octets.len()).any(|skipped| is_like(rest, &octets[skipped..])),
        Some((first, rest)) => octets.first() == Some(first) && is_like(rest, &octets[1..]),
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number('n' | 'I', number) => write!(f, "{number}"),
            Self::Number(tag, number) => write!(f, "{tag}:{number}"),
            Self::Float(tag, number) => write!(f, "{tag}:{number}"),
            Self::Decimal(scale, digits) => write!(f, "D:{scale}/{digits}"),
            Self::Bool(bit) => write!(f, "{bit}"),
            Self::Void => write!(f, "void"),
            Self::Text(tag, octets) => {
                if *tag != 'S' {
                    write!(f, "{tag}:")?;
                }
                write_text(f, octets)
            }
            Self::Array(items, rest) => {
                let items = items.iter().map(ToString::to_string);
                write!(f, "[{}]", listed(items, *rest))
            }
            Self::Table(entries, rest) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| format!("{}: {value}", String::from_utf8_lossy(key)));
                write!(f, "{{{}}}", listed(entries, *rest))
            }
            Self::Anything => write!(f, "_"),
            Self::Like(glob) => {
                write!(f, "~")?;
                write_text(f, glob)
            }
            Self::Capture(name) => write!(f, "${name}"),
        }
    }
}

fn listed(items: impl Iterator<Item = String>, rest: Rest) -> String {
    let dots = (rest == Rest::Any).then(|| "...".to_owned());
    items.chain(dots).collect::<Vec<_>>().join(", ")
}

fn write_text(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    const SHOWN: usize = 300;
    if octets.len() > SHOWN && octets == pattern_octets(octets.len()) {
        return write!(f, "size:{}", octets.len());
    }
    let shown = &octets[..octets.len().min(SHOWN)];
    match std::str::from_utf8(shown) {
        Ok(text) => write!(f, "{text:?}")?,
        Err(_) => write!(f, "\"{}\"", shown.escape_ascii())?,
    }
    if octets.len() > SHOWN {
        write!(f, "… ({} octets)", octets.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Captures, Term};
    use crate::player::reading::Reading;

    fn term(text: &str) -> Term {
        Reading::new(text).nested_term().unwrap()
    }

    fn matches(pattern: &str, value: &str) -> bool {
        term(pattern).matches(&term(value), &mut Captures::new())
    }

    #[test]
    fn a_table_matches_in_any_order_and_only_whole() {
        assert!(matches("{a: 1, b: t:true}", "{b: true, a: 1}"));
        assert!(!matches("{a: 1}", "{b: true, a: 1}"));
        assert!(matches("{a: 1, ...}", "{b: true, a: 1}"));
    }

    #[test]
    fn types_are_part_of_a_value() {
        assert!(!matches("l:1", "1"));
        assert!(!matches("x:\"a\"", "\"a\""));
        assert!(matches("[1, _, ...]", "[1, \"b\", void]"));
    }

    #[test]
    fn stars_stand_for_any_octets() {
        assert!(matches("~\"amq.gen-*\"", "\"amq.gen-abc\""));
        assert!(matches("~\"*b*\"", "\"abc\""));
        assert!(!matches("~\"*b\"", "\"abc\""));
    }

    #[test]
    fn a_capture_binds_once() {
        assert!(matches("[$a, $a]", "[1, 1]"));
        assert!(!matches("[$a, $a]", "[1, 2]"));
    }

    #[test]
    fn a_value_is_shown_as_it_is_written() {
        for text in ["{a: 1, b: [l:2, \"c\"], d: void}", "x:\"a\"", "d:1.5", "D:2/314", "T:7"] {
            assert_eq!(term(text).to_string(), text);
        }
    }
}
