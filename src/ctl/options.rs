//! Reads options and arguments as RabbitMQ's tools do: anywhere, in any order.

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing: `--quiet`, or `--no-quiet` for the opposite.
    Nothing,
    /// The rest after `=`, or the next word if it does not begin with `-`.
    Text,
    /// The same, and it must be a whole number.
    Number,
}

/// An option: its long name without dashes, its letter, and what it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch {
    pub(super) name: &'static str,
    pub(super) letter: Option<char>,
    pub(super) takes: Takes,
}

impl Switch {
    pub(super) const fn new(name: &'static str, takes: Takes) -> Self {
        Self { name, letter: None, takes }
    }

    pub(super) const fn with_letter(name: &'static str, letter: char, takes: Takes) -> Self {
        Self { name, letter: Some(letter), takes }
    }
}

/// The options of every command. Those about Erlang's files and nodes are accepted, and change
/// nothing; `data-dir` and `uri` are Leveret's own.
pub(super) const GENERAL: &[Switch] = &[
    Switch::with_letter("node", 'n', Takes::Text),
    Switch::with_letter("quiet", 'q', Takes::Nothing),
    Switch::with_letter("silent", 's', Takes::Nothing),
    Switch::new("dry-run", Takes::Nothing),
    Switch::with_letter("vhost", 'p', Takes::Text),
    Switch::with_letter("timeout", 't', Takes::Number),
    Switch::with_letter("longnames", 'l', Takes::Nothing),
    Switch::new("formatter", Takes::Text),
    Switch::new("printer", Takes::Text),
    Switch::new("file", Takes::Text),
    Switch::new("script-name", Takes::Text),
    Switch::new("rabbitmq-home", Takes::Text),
    Switch::new("mnesia-dir", Takes::Text),
    Switch::new("plugins-dir", Takes::Text),
    Switch::new("enabled-plugins-file", Takes::Text),
    Switch::new("aliases-file", Takes::Text),
    Switch::new("erlang-cookie", Takes::Text),
    Switch::with_letter("help", '?', Takes::Nothing),
    Switch::new("print-stacktrace", Takes::Nothing),
    Switch::new("data-dir", Takes::Text),
    Switch::new("uri", Takes::Text),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    Flag(bool),
    Text(String),
    Number(i64),
}

/// A command line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The words that are no options, in order.
    pub(super) words: Vec<String>,
    /// Options that are unknown or have no proper value: as written, and the value if there is one.
    pub(super) invalid: Vec<(String, Option<String>)>,
    given: Vec<(&'static str, Given)>,
}

impl Line {
    pub(super) fn parse(arguments: &[String], switches: &[Switch]) -> Self {
        let mut line = Self::default();
        let mut rest = arguments;
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            if word == "--" {
                line.words.extend_from_slice(after);
                break;
            } else if let Some(option) = word.strip_prefix("--") {
                rest = line.read_long(option, after, switches);
            } else if is_option(word) {
                rest = line.read_letters(&word[1..], after, switches);
            } else {
                line.words.push(word.clone());
            }
        }
        line
    }

    /// Whether the flag is given; the last one counts.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.find(name), Some(Given::Flag(true)))
    }

    /// The opposite of the flag is given: `--no-…`.
    pub(super) fn denies(&self, name: &str) -> bool {
        matches!(self.find(name), Some(Given::Flag(false)))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.find(name) {
            Some(Given::Text(text)) => Some(text),
            Some(Given::Flag(_) | Given::Number(_)) | None => None,
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        match self.find(name) {
            Some(Given::Number(number)) => Some(*number),
            Some(Given::Flag(_) | Given::Text(_)) | None => None,
        }
    }

    fn find(&self, name: &str) -> Option<&Given> {
        self.given.iter().rev().find(|(known, _)| *known == name).map(|(_, given)| given)
    }

    fn read_long<'a>(
        &mut self,
        option: &str,
        after: &'a [String],
        switches: &[Switch],
    ) -> &'a [String] {
        let (name, value) = split_value(option);
        let written = format!("--{name}");
        if let Some(switch) = switches.iter().find(|switch| switch.name == name) {
            return self.take(*switch, &written, value, after);
        }
        let denied = name.strip_prefix("no-").and_then(|name| {
            switches.iter().find(|switch| switch.name == name && switch.takes == Takes::Nothing)
        });
        match denied {
            Some(switch) if value.is_none() => self.given.push((switch.name, Given::Flag(false))),
            _ => self.invalid.push((written, value.map(str::to_owned))),
        }
        after
    }

    /// Letters in a row are as many options; digits behind them are the last one's value.
    fn read_letters<'a>(
        &mut self,
        option: &str,
        after: &'a [String],
        switches: &[Switch],
    ) -> &'a [String] {
        let (letters, mut value) = split_value(option);
        let mut letters = letters;
        if let Some(digits) = letters.find(|c: char| c.is_ascii_digit())
            && value.is_none()
            && letters[digits..].bytes().all(|octet| octet.is_ascii_digit())
        {
            value = Some(&letters[digits..]);
            letters = &letters[..digits];
        }
        let count = letters.chars().count();
        let mut rest = after;
        for (position, letter) in letters.chars().enumerate() {
            let last = position + 1 == count;
            let value = value.filter(|_| last);
            let written = format!("-{letter}");
            match switches.iter().find(|switch| switch.letter == Some(letter)) {
                // Letters in the middle have the next letter behind them, which is no value.
                Some(switch) if last => rest = self.take(*switch, &written, value, after),
                Some(switch) => {
                    let _nothing_follows = self.take(*switch, &written, value, &[]);
                }
                None => self.invalid.push((written, value.map(str::to_owned))),
            }
        }
        rest
    }

    fn take<'a>(
        &mut self,
        switch: Switch,
        written: &str,
        value: Option<&str>,
        after: &'a [String],
    ) -> &'a [String] {
        if switch.takes == Takes::Nothing {
            match value {
                None | Some("true") => self.given.push((switch.name, Given::Flag(true))),
                Some("false") => self.given.push((switch.name, Given::Flag(false))),
                Some(other) => self.invalid.push((written.to_owned(), Some(other.to_owned()))),
            }
            return after;
        }
        let (value, rest) = match (value, after.split_first()) {
            (Some(value), _) => (Some(value), after),
            (None, Some((next, rest))) if !is_option(next) && next != "--" => {
                (Some(next.as_str()), rest)
            }
            (None, _) => (None, after),
        };
        let given = value.and_then(|value| match switch.takes {
            Takes::Text => Some(Given::Text(value.to_owned())),
            Takes::Number => value.parse().ok().map(Given::Number),
            Takes::Nothing => None,
        });
        match given {
            Some(given) => self.given.push((switch.name, given)),
            None => self.invalid.push((written.to_owned(), value.map(str::to_owned))),
        }
        rest
    }
}

/// `-` alone is a word, and so is a negative number.
fn is_option(word: &str) -> bool {
    let mut characters = word.chars();
    characters.next() == Some('-')
        && characters.next().is_some_and(|second| !second.is_ascii_digit())
}

fn split_value(option: &str) -> (&str, Option<&str>) {
    match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Line {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Line::parse(&words, GENERAL)
    }

    fn invalid(line: &str) -> Vec<(String, Option<String>)> {
        parse(line).invalid
    }

    #[test]
    fn options_stand_before_and_after_the_words() {
        let line = parse("-q list_users --vhost v -t 5 more");
        assert_eq!(line.words, ["list_users", "more"]);
        assert!(line.flag("quiet"));
        assert_eq!((line.text("vhost"), line.number("timeout")), (Some("v"), Some(5)));
    }

    #[test]
    fn values_stand_behind_an_equals_sign_too() {
        let line = parse("--vhost=a=b -n=x --quiet=false");
        assert_eq!((line.text("vhost"), line.text("node")), (Some("a=b"), Some("x")));
        assert!(!line.flag("quiet") && line.denies("quiet"));
    }

    #[test]
    fn letters_are_options_in_a_row() {
        let line = parse("-qs -t5");
        assert!(line.flag("quiet") && line.flag("silent"));
        assert_eq!(line.number("timeout"), Some(5));
        assert_eq!(invalid("-pw"), [("-p".to_owned(), None), ("-w".to_owned(), None)]);
    }

    #[test]
    fn negative_numbers_and_a_dash_alone_are_words() {
        assert_eq!(parse("-0.1 - x").words, ["-0.1", "-", "x"]);
        assert_eq!(parse("-p -1").text("vhost"), Some("-1"));
    }

    #[test]
    fn what_is_not_understood_is_told_as_it_was_written() {
        assert_eq!(invalid("--bogus v"), [("--bogus".to_owned(), None)]);
        assert_eq!(invalid("--bogus=v"), [("--bogus".to_owned(), Some("v".to_owned()))]);
        assert_eq!(invalid("-t x"), [("-t".to_owned(), Some("x".to_owned()))]);
        assert_eq!(invalid("-p"), [("-p".to_owned(), None)]);
        assert_eq!(invalid("-p -q"), [("-p".to_owned(), None)]);
        assert_eq!(invalid("--dry_run"), [("--dry_run".to_owned(), None)]);
    }

    #[test]
    fn two_dashes_end_the_options() {
        assert_eq!(parse("a -- --quiet -p").words, ["a", "--quiet", "-p"]);
    }

    #[test]
    fn a_flag_can_be_denied_and_the_last_word_counts() {
        assert!(parse("--quiet --no-quiet").denies("quiet"));
        assert!(parse("--no-quiet --quiet").flag("quiet"));
        assert_eq!(invalid("--no-vhost"), [("--no-vhost".to_owned(), None)]);
    }
}
