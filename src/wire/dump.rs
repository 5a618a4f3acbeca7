//! Octets as RabbitMQ shows them in the texts of its errors.

use std::fmt;

use bytes::Bytes;

/// Octets in Erlang's notation: `<<"text">>` where all are printable, else `<<0,1,2>>`.
#[derive(Clone, Copy, Debug)]
pub struct Dump<'a>(pub &'a [u8]);

impl fmt::Display for Dump<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("<<")?;
        if !self.0.is_empty() && self.0.iter().all(|octet| is_printable(*octet)) {
            self.write_text(to)?;
        } else {
            self.write_numbers(to)?;
        }
        to.write_str(">>")
    }
}

impl Dump<'_> {
    fn write_text(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("\"")?;
        for octet in self.0 {
            match escape(*octet) {
                Some(letter) => write!(to, "\\{letter}")?,
                None => write!(to, "{}", char::from(*octet))?,
            }
        }
        to.write_str("\"")
    }

    fn write_numbers(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for octet in self.0 {
            write!(to, "{comma}{octet}")?;
            comma = ",";
        }
        Ok(())
    }
}

/// The letter that stands behind a backslash for this octet.
fn escape(octet: u8) -> Option<char> {
    Some(match octet {
        8 => 'b',
        b'\t' => 't',
        b'\n' => 'n',
        11 => 'v',
        12 => 'f',
        b'\r' => 'r',
        27 => 'e',
        b'"' => '"',
        b'\\' => '\\',
        _ => return None,
    })
}

fn is_printable(octet: u8) -> bool {
    matches!(octet, b' '..=b'~' | 160..=255) || escape(octet).is_some()
}

/// The type of a frame and the beginning of its payload, kept for an error's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    kind: u8,
    start: Bytes,
    is_whole: bool,
}

impl Excerpt {
    const LONGEST: usize = 16;

    pub fn new(kind: impl Into<u8>, payload: &[u8]) -> Self {
        let start = payload.get(..Self::LONGEST).unwrap_or(payload);
        Self {
            kind: kind.into(),
            start: Bytes::copy_from_slice(start),
            is_whole: start.len() == payload.len(),
        }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = if self.is_whole { "all octets" } else { "first 16 octets" };
        write!(to, "type {}, {extent} = {}", self.kind, Dump(&self.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_octets_are_shown_as_text_and_others_as_numbers() {
        assert_eq!(Excerpt::new(5, b"abc").to_string(), "type 5, all octets = <<\"abc\">>");
        assert_eq!(Excerpt::new(3, b"").to_string(), "type 3, all octets = <<>>");
        assert_eq!(Excerpt::new(1, &[0, 97]).to_string(), "type 1, all octets = <<0,97>>");
        assert_eq!(Dump(b"a\"\n").to_string(), "<<\"a\\\"\\n\">>");
    }

    #[test]
    fn an_excerpt_ends_after_sixteen_octets() {
        let sixteen = Excerpt::new(3, b"0123456789abcdef");
        assert_eq!(sixteen.to_string(), "type 3, all octets = <<\"0123456789abcdef\">>");
        let more = Excerpt::new(3, b"0123456789abcdefg");
        assert_eq!(more.to_string(), "type 3, first 16 octets = <<\"0123456789abcdef\">>");
    }
}
