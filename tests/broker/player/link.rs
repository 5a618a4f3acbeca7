//! One connection as the player sees it: what came in, by channel, and which channels are open.

use super::{
    protocol::{Shape, read_header},
    term::{Captures, Rest, Term},
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

/// The connection's own channel, and the one that is meant where a line names none.
pub const CONNECTION: u16 = 0;
pub const FIRST: u16 = 1;

/// A method with its content, or a heartbeat, as received.
#[derive(Clone, Debug)]
pub struct Unit {
    pub name: String,
    pub arguments: Vec<(String, Term)>,
    content: Option<Content>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    size: u64,
    properties: Vec<(String, Term)>,
    body: Vec<u8>,
    frames: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Open,
    /// The server has closed it and waits for our close-ok, or it has been closed for good.
    Closed,
}

#[derive(Default)]
pub struct Link {
    /// Octets that are not read as frames yet.
    pub octets: Vec<u8>,
    pub inboxes: BTreeMap<u16, VecDeque<Unit>>,
    partial: BTreeMap<u16, Unit>,
    pub channels: BTreeMap<u16, Channel>,
    pub frame_max: usize,
    /// connection.open-ok has come.
    pub is_open: bool,
    /// One side has sent connection.close.
    pub is_closing: bool,
    /// The socket has ended.
    pub is_closed: bool,
}

impl Link {
    /// Reads the whole frames that have come in, into the channels' inboxes.
    pub fn read_frames(&mut self) -> Result<(), String> {
        while self.octets.len() >= 8 {
            let kind = self.octets[0];
            let channel = u16::from_be_bytes([self.octets[1], self.octets[2]]);
            let size = self.octets[3..7].iter().fold(0, |size, octet| size << 8 | *octet as usize);
            if !matches!(kind, 1 | 2 | 3 | 8) {
                return Err(format!("no frame begins with {:?}", self.octets[..8].escape_ascii()));
            }
            if self.frame_max > 0 && size + 8 > self.frame_max {
                return Err(format!("a frame of {} octets exceeds frame_max", size + 8));
            }
            if self.octets.len() < size + 8 {
                return Ok(());
            }
            let frame: Vec<u8> = self.octets.drain(..size + 8).collect();
            if frame[size + 7] != 0xCE {
                return Err("a frame ends in another octet than CE".to_owned());
            }
            self.read_frame(kind, channel, &frame[7..size + 7])?;
        }
        Ok(())
    }

    fn read_frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Result<(), String> {
        match (kind, self.partial.remove(&channel)) {
            (8, None) => self.finish(channel, Unit::heartbeat()),
            (1, None) => self.read_method(channel, payload)?,
            (2, Some(mut unit)) if unit.content.is_none() => {
                let (size, properties) = read_header(payload)?;
                unit.content = Some(Content { size, properties, ..Content::default() });
                self.finish(channel, unit);
            }
            (3, Some(mut unit)) if unit.content.is_some() => {
                let content = unit.content.as_mut().expect("just seen");
                content.body.extend(payload);
                content.frames += 1;
                self.finish(channel, unit);
            }
            (kind, _) => return Err(format!("a frame of type {kind} comes out of turn")),
        }
        Ok(())
    }

    fn read_method(&mut self, channel: u16, payload: &[u8]) -> Result<(), String> {
        let (id, arguments) = payload.split_at_checked(4).ok_or("a method frame is too short")?;
        let id = (u16::from_be_bytes([id[0], id[1]]), u16::from_be_bytes([id[2], id[3]]));
        let shape = Shape::with_id(id).ok_or_else(|| format!("{id:?} is no method"))?;
        let arguments = shape.read(arguments).map_err(|why| format!("{}: {why}", shape.name))?;
        self.note(channel, &shape.name);
        let has_content = shape.has_content;
        let unit = Unit { name: shape.name, arguments, content: None };
        if has_content {
            self.partial.insert(channel, unit);
        } else {
            self.finish(channel, unit);
        }
        Ok(())
    }

    /// What a method says about the state of its channel or of the connection.
    fn note(&mut self, channel: u16, method: &str) {
        match method {
            "connection.open-ok" => self.is_open = true,
            "connection.close" => self.is_closing = true,
            "channel.open-ok" => drop(self.channels.insert(channel, Channel::Open)),
            "channel.close" => drop(self.channels.insert(channel, Channel::Closed)),
            _ => {}
        }
    }

    /// Puts a unit whose content is whole into its channel's inbox, another one aside.
    fn finish(&mut self, channel: u16, unit: Unit) {
        match &unit.content {
            Some(content) if (content.body.len() as u64) < content.size => {
                self.partial.insert(channel, unit);
            }
            _ => self.inboxes.entry(channel).or_default().push_back(unit),
        }
    }

    /// Takes the next unit of a channel.
    pub fn next(&mut self, channel: u16) -> Option<Unit> {
        self.inboxes.get_mut(&channel)?.pop_front()
    }

    /// Takes the first unit with this name, wherever it stands in its channel.
    pub fn take(&mut self, channel: u16, name: &str) -> Option<Unit> {
        let inbox = self.inboxes.get_mut(&channel)?;
        let index = inbox.iter().position(|unit| unit.name == name)?;
        inbox.remove(index)
    }

    /// Everything that nobody has expected so far, heartbeats aside.
    pub fn unread(&self) -> Vec<String> {
        let whole = self.inboxes.iter().flat_map(|(channel, inbox)| {
            inbox
                .iter()
                .filter(|unit| unit.name != "heartbeat")
                .map(move |unit| format!("{channel}< {unit}"))
        });
        let partial =
            self.partial.iter().map(|(channel, unit)| format!("{channel}< (in part) {unit}"));
        let octets = (!self.octets.is_empty())
            .then(|| format!("octets that are no whole frame: {}", self.octets.escape_ascii()));
        whole.chain(partial).chain(octets).collect()
    }
}

impl Unit {
    fn heartbeat() -> Self {
        Self { name: "heartbeat".to_owned(), arguments: Vec::new(), content: None }
    }

    /// An argument of the method.
    pub fn argument(&self, name: &str) -> Option<&Term> {
        self.arguments.iter().find(|(named, _)| named == name).map(|(_, value)| value)
    }

    /// How the unit differs from what is expected.
    pub fn differences(
        &self,
        name: &str,
        expected: &[(String, Term)],
        rest: Rest,
        captures: &mut Captures,
    ) -> Vec<String> {
        if self.name != name {
            return vec![format!("a {name} is due")];
        }
        let mut left: Vec<(String, Term)> = self.values();
        let mut faults = Vec::new();
        for (argument, pattern) in expected {
            let found = left.iter().position(|(name, _)| name == argument);
            let Some((_, value)) = found.map(|index| left.remove(index)) else {
                faults.push(format!("{argument} is absent"));
                continue;
            };
            if pattern.matches(&value, captures) {
                continue;
            }
            let shown = match pattern {
                Term::Capture(name) => captures.get(name).unwrap_or(pattern),
                _ => pattern,
            };
            faults.push(format!("{argument} is {value}, not {shown}"));
        }
        let is_property = |name: &str| self.argument(name).is_none();
        let unmentioned = left.iter().filter(|(name, value)| {
            name != "body-frames" && (!value.is_default() || (is_property(name) && name != "body"))
        });
        if rest == Rest::None {
            faults
                .extend(unmentioned.map(|(name, value)| format!("{name} is {value}, unexpected")));
        }
        faults
    }

    /// Arguments, properties and body under one roof, as a scenario names them.
    fn values(&self) -> Vec<(String, Term)> {
        let mut values = self.arguments.clone();
        if let Some(content) = &self.content {
            values.extend(content.properties.clone());
            values.push(("body".to_owned(), Term::Text('S', content.body.clone())));
            values.push(("body-frames".to_owned(), Term::Number('n', content.frames as i128)));
        }
        values
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        for (name, value) in &self.values() {
            let is_property = self.argument(name).is_none();
            let is_shown = name != "body-frames" && (is_property || !value.is_default());
            if is_shown {
                write!(f, " {name}={value}")?;
            }
        }
        Ok(())
    }
}
