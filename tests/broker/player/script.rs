//! Reads a scenario: its rule, its directives and its steps. `tests/scenarios/README.md` describes
//! the format.

use super::{
    protocol::{PROPERTIES, Shape},
    reading::{Named, Reading, number},
    term::{Rest, Term},
};
use std::time::Duration;

/// One file of `tests/scenarios`.
#[derive(Debug)]
pub struct Script {
    pub settings: Settings,
    pub lines: Vec<Line>,
}

/// What the directives say.
#[derive(Debug)]
pub struct Settings {
    /// Connections are bare sockets: the scenario sends the protocol header itself.
    pub is_raw: bool,
    /// Channels are opened by the scenario itself.
    pub opens_channels: bool,
    /// Arguments of `connection.tune-ok`.
    pub tune: Vec<(String, Term)>,
    /// What a client announces in `connection.start-ok`.
    pub capabilities: Term,
    /// Lines of the broker's configuration; only a broker of the scenario's own has them.
    pub configuration: String,
    /// Why the oracle is expected to behave differently.
    pub deviation: Option<String>,
}

/// Who a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Everyone,
    Leveret,
    Oracle,
}

/// A step with where it stands in the file.
#[derive(Debug)]
pub struct Line {
    pub number: usize,
    pub text: String,
    pub audience: Audience,
    pub step: Step,
}

/// A connection and a channel; the channel is absent where the line names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub connection: String,
    pub channel: Option<u16>,
}

#[derive(Debug)]
pub enum Step {
    Send(Place, Outgoing),
    Expect(Place, Expected),
    /// The lines up to the closing brace, in any order.
    AnyOrder(Vec<Line>),
    Wait(Duration),
    /// Everything sent so far has been handled when this step ends.
    Sync,
    Connect(Place),
    /// The socket is closed without a word.
    Disconnect(Place),
}

#[derive(Debug)]
pub enum Outgoing {
    /// A method with its content, if it carries one.
    Method(Shape, Vec<(String, Term)>),
    /// The method frame alone.
    MethodFrame(Shape, Vec<(String, Term)>),
    HeaderFrame(Vec<(String, Term)>),
    BodyFrame(Term),
    Frame(Frame),
    Raw(Vec<u8>),
}

/// A frame in which anything may be wrong.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub size: Option<u32>,
    pub payload: Vec<u8>,
    pub end: u8,
}

#[derive(Debug)]
pub enum Expected {
    Method(Shape, Named),
    Heartbeat,
    Raw(Vec<u8>),
    Closed,
    Nothing,
    /// Acknowledgements of all these publications, however they are put together.
    Confirmed(u64, u64),
}

impl Script {
    pub fn read(text: &str) -> Result<Self, String> {
        let mut script = Self { settings: Settings::default(), lines: Vec::new() };
        let mut group: Option<Line> = None;
        if !text.starts_with("# ") {
            return Err("1: the first line states the rule, after `# `".to_owned());
        }
        for (number, text) in logical_lines(text) {
            let located = |why: String| format!("{number}: {why}\n    {text}");
            if let Some(directive) = text.strip_prefix('@') {
                script.settings.read(directive.trim()).map_err(located)?;
                continue;
            }
            if text == "{" && group.is_none() {
                let step = Step::AnyOrder(Vec::new());
                group = Some(Line { number, text, audience: Audience::Everyone, step });
                continue;
            }
            if text == "}" && group.is_some() {
                script.lines.extend(group.take());
                continue;
            }
            let line = Line::read(number, &text).map_err(located)?;
            match group.as_mut().map(|group| &mut group.step) {
                Some(Step::AnyOrder(lines)) => lines.push(line),
                _ => script.lines.push(line),
            }
        }
        if group.is_some() {
            return Err("a group is not closed".to_owned());
        }
        script.check()?;
        Ok(script)
    }

    /// How long the scenario waits.
    pub fn waiting(&self) -> Duration {
        self.lines
            .iter()
            .map(|line| match line.step {
                Step::Wait(duration) => duration,
                _ => Duration::ZERO,
            })
            .sum()
    }

    /// Whether the scenario leaves nothing behind that another one could see.
    pub fn is_alone(&self) -> bool {
        self.settings.is_raw
    }

    fn check(&self) -> Result<(), String> {
        let all = self.lines.iter().flat_map(|line| match &line.step {
            Step::AnyOrder(lines) => lines.iter(),
            _ => std::slice::from_ref(line).iter(),
        });
        let deviates = all.clone().any(|line| line.audience != Audience::Everyone);
        match (deviates, &self.settings.deviation) {
            (true, None) => Err("`@ deviates from …: reason` is missing".to_owned()),
            (false, Some(_)) => Err("the scenario deviates in no line".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Lines without comments and blank lines; a line that ends in a backslash goes on in the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if !continues && (line.is_empty() || line.starts_with('#')) {
            continue;
        }
        let (part, more) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| continues) {
            Some((_, whole)) => whole.push_str(part),
            None => lines.push((index + 1, part.to_owned())),
        }
        continues = more;
    }
    lines
}

impl Default for Settings {
    fn default() -> Self {
        let announced = ["authentication_failure_close", "connection.blocked"];
        let announced = announced.into_iter().chain(["consumer_cancel_notify"]);
        Self {
            is_raw: false,
            opens_channels: true,
            tune: Vec::new(),
            capabilities: Term::Table(
                announced.map(|name| (name.as_bytes().to_vec(), Term::Bool(true))).collect(),
                Rest::None,
            ),
            configuration: String::new(),
            deviation: None,
        }
    }
}

impl Settings {
    fn read(&mut self, directive: &str) -> Result<(), String> {
        let mut reading = Reading::new(directive);
        match reading.word("") {
            "raw" => self.is_raw = true,
            "channels" if reading.skip("by hand") => self.opens_channels = false,
            "tune" => self.tune = reading.named_terms()?.0,
            "capabilities" => self.capabilities = reading.term()?,
            "config" => {
                self.configuration.push_str(reading.rest().trim());
                self.configuration.push('\n');
            }
            "deviates" if reading.skip("from") => {
                let (who, why) = reading.rest().split_once(": ").ok_or("say why, after `: `")?;
                if who != "3.10" && who != "every RabbitMQ" {
                    return Err("one deviates from `3.10` or from `every RabbitMQ`".to_owned());
                }
                self.deviation = Some(why.to_owned());
            }
            other => return Err(format!("`{other}` is no directive")),
        }
        Ok(())
    }
}

impl Line {
    fn read(number: usize, text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>', '!']).ok_or("a step begins with `>`, `<` or `!`")?;
        let place = Place::read(&text[..at])?;
        let (audience, rest) = audience(&text[at + 1..]);
        let mut reading = Reading::new(rest);
        let step = match &text[at..=at] {
            ">" => Step::Send(place, Outgoing::read(&mut reading)?),
            "<" => Step::Expect(place, Expected::read(&mut reading)?),
            _ => action(place, &mut reading)?,
        };
        if !reading.is_empty() {
            return Err(format!("left over: {}", reading.rest()));
        }
        Ok(Self { number, text: text.to_owned(), audience, step })
    }
}

fn audience(text: &str) -> (Audience, &str) {
    if let Some(rest) = text.strip_prefix("leveret ") {
        return (Audience::Leveret, rest);
    }
    match text.strip_prefix("3.10 ") {
        Some(rest) => (Audience::Oracle, rest),
        None => (Audience::Everyone, text),
    }
}

fn action(place: Place, reading: &mut Reading<'_>) -> Result<Step, String> {
    Ok(match reading.word("") {
        "wait" => Step::Wait(duration(reading.word(""))?),
        "sync" => Step::Sync,
        "connect" => Step::Connect(place),
        "disconnect" => Step::Disconnect(place),
        other => return Err(format!("`{other}` is no action")),
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    if let Some(milliseconds) = text.strip_suffix("ms") {
        return Ok(Duration::from_millis(number(milliseconds)?));
    }
    let seconds = text.strip_suffix('s').ok_or("a duration is in `ms` or `s`")?;
    Ok(Duration::from_secs(number(seconds)?))
}

impl Place {
    /// Nothing, `B`, `2` or `B.2`; the connection is A where none is named.
    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (connection, channel) = match text.split_once('.') {
            Some((connection, channel)) => (connection, Some(number(channel)?)),
            None if text.starts_with(|c: char| c.is_ascii_digit()) => ("A", Some(number(text)?)),
            None if text.is_empty() => ("A", None),
            None => (text, None),
        };
        if !connection.chars().all(|c| c.is_ascii_uppercase()) {
            return Err(format!("`{connection}` is no connection: they are A, B, C"));
        }
        Ok(Self { connection: connection.to_owned(), channel })
    }
}

impl Outgoing {
    fn read(reading: &mut Reading<'_>) -> Result<Self, String> {
        let name = reading.word("");
        Ok(match name {
            "method" => {
                let shape = shape(reading.word(""))?;
                let (named, _) = arguments(&shape, reading)?;
                Self::MethodFrame(shape, named)
            }
            "header" => Self::HeaderFrame(reading.named_terms()?.0),
            "body" => Self::BodyFrame(reading.term()?),
            "heartbeat" => {
                Self::Frame(Frame { kind: 8, size: None, payload: Vec::new(), end: 0xCE })
            }
            "frame" => Self::Frame(Frame::read(reading)?),
            "raw" => Self::Raw(reading.octets()?),
            _ => {
                let shape = shape(name)?;
                match arguments(&shape, reading)? {
                    (named, Rest::None) => Self::Method(shape, named),
                    (_, Rest::Any) => return Err("`...` is only for what is expected".to_owned()),
                }
            }
        })
    }
}

impl Frame {
    /// `type=5 size=3 end=00 payload "abc"`; only the type is due.
    fn read(reading: &mut Reading<'_>) -> Result<Self, String> {
        let mut frame = Self { kind: 0, size: None, payload: Vec::new(), end: 0xCE };
        while !reading.is_empty() {
            let name = reading.word("=");
            if name == "payload" {
                frame.payload = reading.octets()?;
                break;
            }
            if !reading.skip("=") {
                return Err(format!("`{name}` has no value"));
            }
            let value = reading.word("");
            match name {
                "type" => frame.kind = number(value)?,
                "size" => frame.size = Some(number(value)?),
                "end" => frame.end = Reading::new(value).octets()?[0],
                _ => return Err(format!("a frame has no `{name}`")),
            }
        }
        Ok(frame)
    }
}

impl Expected {
    fn read(reading: &mut Reading<'_>) -> Result<Self, String> {
        Ok(match reading.word("") {
            "closed" => Self::Closed,
            "nothing" => Self::Nothing,
            "heartbeat" => Self::Heartbeat,
            "raw" => Self::Raw(reading.octets()?),
            "confirmed" => {
                let numbers = reading.word("");
                let (first, last) = numbers.split_once("..").unwrap_or((numbers, numbers));
                Self::Confirmed(number(first)?, number(last)?)
            }
            name => {
                let shape = shape(name)?;
                let named = arguments(&shape, reading)?;
                Self::Method(shape, named)
            }
        })
    }
}

fn shape(name: &str) -> Result<Shape, String> {
    Shape::named(name).ok_or_else(|| format!("`{name}` is no method"))
}

/// The named values with the names of the protocol; `by=queue.declare` stands for the ids of a
/// method that failed.
fn arguments(shape: &Shape, reading: &mut Reading<'_>) -> Result<Named, String> {
    let (named, rest) = reading.named_terms()?;
    let mut arguments = Vec::new();
    for (name, term) in named {
        if name == "by" {
            let Term::Text(_, method) = &term else { return Err("`by` is a method".to_owned()) };
            let (class, method) = self::shape(&String::from_utf8_lossy(method))?.id;
            arguments.push(("class-id".to_owned(), Term::Number('n', class.into())));
            arguments.push(("method-id".to_owned(), Term::Number('n', method.into())));
            continue;
        }
        let of_content = shape.has_content
            && (PROPERTIES.iter().any(|(property, _)| *property == name)
                || name == "body"
                || name == "body-frames");
        match shape.argument(&name) {
            Some(argument) => arguments.push((argument.to_owned(), term)),
            None if of_content => arguments.push((name, term)),
            None => return Err(format!("{} has no `{name}`", shape.name)),
        }
    }
    Ok((arguments, rest))
}

#[cfg(test)]
mod tests {
    use super::{Audience, Expected, Outgoing, Script, Step};
    use std::time::Duration;

    #[test]
    fn a_line_says_who_does_what_where() {
        let script = Script::read("# A rule.\nB.2> queue.declare queue=q\n! wait 20ms\n").unwrap();
        let Step::Send(place, Outgoing::Method(shape, named)) = &script.lines[0].step else {
            panic!("{:?}", script.lines[0])
        };
        assert_eq!((place.connection.as_str(), place.channel), ("B", Some(2)));
        assert_eq!((shape.name.as_str(), named[0].0.as_str()), ("queue.declare", "queue"));
        assert_eq!(script.waiting(), Duration::from_millis(20));
    }

    #[test]
    fn a_line_that_ends_in_a_backslash_goes_on() {
        let script = Script::read("# A rule.\n> queue.declare \\\n   queue=q\n< nothing").unwrap();
        assert_eq!(script.lines.len(), 2);
        assert_eq!((script.lines[1].number, script.lines[1].audience), (4, Audience::Everyone));
        assert!(matches!(script.lines[1].step, Step::Expect(_, Expected::Nothing)));
    }

    #[test]
    fn a_deviation_needs_its_reason_and_a_reason_its_deviation() {
        assert!(Script::read("# A rule.\n<3.10 nothing").is_err());
        assert!(Script::read("# A rule.\n@ deviates from 3.10: why\n< nothing").is_err());
        let script = Script::read("# A rule.\n@ deviates from 3.10: why\n<3.10 nothing").unwrap();
        assert_eq!(script.lines[0].audience, Audience::Oracle);
        assert_eq!(script.settings.deviation.as_deref(), Some("why"));
    }

    #[test]
    fn what_is_wrong_is_located() {
        for (wrong, why) in [
            ("queue.declare", "a step begins"),
            ("> queue.announce", "is no method"),
            ("> queue.declare colour=red", "has no `colour`"),
            ("a> queue.declare", "is no connection"),
            ("! sleep 5s", "is no action"),
            ("! wait 5", "a duration"),
            ("@ loud", "is no directive"),
            ("> queue.declare ...", "only for what is expected"),
        ] {
            let error = Script::read(&format!("# A rule.\n{wrong}\n")).unwrap_err();
            assert!(error.starts_with("2: ") && error.contains(why), "{error}");
        }
        assert!(Script::read("> queue.declare").is_err());
    }
}
