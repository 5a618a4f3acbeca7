//! Reads the pieces of a scenario's line: words, values, octets.

use super::term::{Rest, Term, pattern_octets};
use std::str::CharIndices;

/// What is left of a line.
pub struct Reading<'a> {
    rest: &'a str,
}

/// The named values of a line, and whether it ends in `...`.
pub type Named = (Vec<(String, Term)>, Rest);

impl<'a> Reading<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { rest: text.trim() }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    /// Reads `expected` if it comes next.
    pub fn skip(&mut self, expected: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(expected) else { return false };
        self.rest = rest.trim_start();
        true
    }

    /// Everything up to white space or one of the characters that end a word in `stops`.
    pub fn word(&mut self, stops: &str) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || stops.contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.trim_start();
        word
    }

    /// `name=value name=value ...` to the end of the line.
    pub fn named_terms(&mut self) -> Result<Named, String> {
        let mut named = Vec::new();
        while !self.is_empty() {
            if self.skip("...") {
                return self.ended().map(|()| (named, Rest::Any));
            }
            let name = self.word("=");
            if !self.skip("=") {
                return Err(format!("`{name}` has no value"));
            }
            named.push((name.to_owned(), self.term()?));
        }
        Ok((named, Rest::None))
    }

    fn ended(&self) -> Result<(), String> {
        if self.is_empty() { Ok(()) } else { Err(format!("this may not follow: {}", self.rest)) }
    }

    /// A value whose number type the method decides.
    pub fn term(&mut self) -> Result<Term, String> {
        Ok(match self.nested_term()? {
            Term::Number('I', number) => Term::Number('n', number),
            term => term,
        })
    }

    /// A value inside a table, where a plain number is a 32-bit one (`I`).
    pub fn nested_term(&mut self) -> Result<Term, String> {
        if self.skip("...") {
            return Err("`...` only ends a list".to_owned());
        }
        if self.skip("{") {
            return self.table();
        }
        if self.skip("[") {
            return self.array();
        }
        if self.skip("~") {
            return Ok(Term::Like(self.quoted()?));
        }
        if self.skip("$") {
            return Ok(Term::Capture(self.word(",]}").to_owned()));
        }
        if self.rest.starts_with('"') {
            return Ok(Term::Text('S', self.quoted()?));
        }
        let word = self.word(",]}:");
        if self.skip(":") { self.tagged(word) } else { bare(word) }
    }

    fn tagged(&mut self, tag: &str) -> Result<Term, String> {
        let first = tag.chars().next().ok_or("a value is missing before `:`")?;
        match tag {
            "S" | "x" => Ok(Term::Text(first, self.quoted()?)),
            "size" => Ok(Term::Text('S', pattern_octets(number(self.word(",]}"))?))),
            "t" => bare(self.word(",]}")),
            "f" | "d" => Ok(Term::Float(first, number(self.word(",]}"))?)),
            "D" => {
                let word = self.word(",]}");
                let (scale, digits) = word.split_once('/').ok_or("a decimal is scale/digits")?;
                Ok(Term::Decimal(number(scale)?, number(digits)?))
            }
            "b" | "B" | "s" | "u" | "I" | "i" | "l" | "L" | "T" => {
                Ok(Term::Number(first, number(self.word(",]}"))?))
            }
            _ => Err(format!("`{tag}:` is no type")),
        }
    }

    fn table(&mut self) -> Result<Term, String> {
        let mut entries = Vec::new();
        loop {
            if self.skip("}") {
                return Ok(Term::Table(entries, Rest::None));
            }
            if self.skip("...") {
                return self.closed("}").map(|()| Term::Table(entries, Rest::Any));
            }
            let key = if self.rest.starts_with('"') {
                self.quoted()?
            } else {
                self.word(":,}").as_bytes().to_vec()
            };
            self.closed(":")?;
            entries.push((key, self.nested_term()?));
            self.skip(",");
        }
    }

    fn array(&mut self) -> Result<Term, String> {
        let mut items = Vec::new();
        loop {
            if self.skip("]") {
                return Ok(Term::Array(items, Rest::None));
            }
            if self.skip("...") {
                return self.closed("]").map(|()| Term::Array(items, Rest::Any));
            }
            items.push(self.nested_term()?);
            self.skip(",");
        }
    }

    fn closed(&mut self, by: &str) -> Result<(), String> {
        if self.skip(by) { Ok(()) } else { Err(format!("`{by}` is missing at: {}", self.rest)) }
    }

    /// A text in quotes; `\n`, `\r`, `\0`, `\"`, `\\` and `\xhh` as in Rust, `"a"*3` repeats it.
    pub fn quoted(&mut self) -> Result<Vec<u8>, String> {
        let inside =
            self.rest.strip_prefix('"').ok_or_else(|| format!("no quote at: {}", self.rest))?;
        let mut octets = Vec::new();
        let mut characters = inside.char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = inside[index + 1..].trim_start();
                    return self.repeated(octets);
                }
                '\\' => octets.push(escaped(&mut characters)?),
                plain => octets.extend(plain.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Err("the text has no closing quote".to_owned())
    }

    fn repeated(&mut self, octets: Vec<u8>) -> Result<Vec<u8>, String> {
        if !self.rest.starts_with('*') {
            return Ok(octets);
        }
        self.skip("*");
        Ok(octets.repeat(number(self.word(",]}"))?))
    }

    /// Hexadecimal octets and texts in quotes, to the end of the line.
    pub fn octets(&mut self) -> Result<Vec<u8>, String> {
        let mut octets = Vec::new();
        while !self.is_empty() {
            if self.rest.starts_with('"') {
                octets.extend(self.quoted()?);
            } else {
                octets.push(octet(self.word("\""))?);
            }
        }
        Ok(octets)
    }
}

/// The octet that follows a backslash.
fn escaped(characters: &mut CharIndices<'_>) -> Result<u8, String> {
    let mut next = || characters.next().map(|(_, character)| character);
    match next().ok_or("the text ends in a backslash")? {
        'n' => Ok(b'\n'),
        'r' => Ok(b'\r'),
        '0' => Ok(0),
        same @ ('"' | '\\') => Ok(same as u8),
        'x' => octet(&[next(), next()].into_iter().flatten().collect::<String>()),
        other => Err(format!("`\\{other}` is no escape")),
    }
}

fn bare(word: &str) -> Result<Term, String> {
    Ok(match word {
        "" => return Err("a value is missing".to_owned()),
        "_" => Term::Anything,
        "true" => Term::Bool(true),
        "false" => Term::Bool(false),
        "void" => Term::Void,
        _ => match word.parse() {
            Ok(number) => Term::Number('I', number),
            Err(_) => Term::text(word),
        },
    })
}

fn octet(digits: &str) -> Result<u8, String> {
    if digits.len() != 2 {
        return Err(format!("`{digits}` is not one octet in hexadecimal"));
    }
    u8::from_str_radix(digits, 16).map_err(|_| format!("`{digits}` is not hexadecimal"))
}

/// Reads a number, or says that `word` is none.
pub fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("`{word}` is not such a number"))
}

#[cfg(test)]
mod tests {
    use super::{Reading, Rest, Term};

    #[test]
    fn arguments_are_words_numbers_and_texts() {
        let (named, rest) =
            Reading::new(r#"queue=dead durable=true count=7 text="a \"b\"\x00" ..."#)
                .named_terms()
                .unwrap();
        assert_eq!(rest, Rest::Any);
        assert_eq!(
            named,
            [
                ("queue".to_owned(), Term::text("dead")),
                ("durable".to_owned(), Term::Bool(true)),
                ("count".to_owned(), Term::Number('n', 7)),
                ("text".to_owned(), Term::text("a \"b\"\0")),
            ]
        );
    }

    #[test]
    fn tables_hold_typed_values() {
        let term = Reading::new("{a: l:1, \"b c\": [u:2, {}], d: D:2/314}").nested_term().unwrap();
        let expected = vec![
            (b"a".to_vec(), Term::Number('l', 1)),
            (
                b"b c".to_vec(),
                Term::Array(
                    vec![Term::Number('u', 2), Term::Table(vec![], Rest::None)],
                    Rest::None,
                ),
            ),
            (b"d".to_vec(), Term::Decimal(2, 314)),
        ];
        assert_eq!(term, Term::Table(expected, Rest::None));
    }

    #[test]
    fn octets_are_hexadecimal_or_quoted() {
        assert_eq!(Reading::new(r#""AMQP" 00 ff"#).octets().unwrap(), b"AMQP\x00\xff");
        assert_eq!(Reading::new(r#""ab"*3 "c""#).octets().unwrap(), b"abababc");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for wrong in ["queue", "queue=", "a={b}", "a=[1", "a=\"x", "a=q:1", "... a=1", "a=l:x"] {
            assert!(Reading::new(wrong).named_terms().is_err(), "{wrong}");
        }
    }
}
