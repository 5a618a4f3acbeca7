//! Goes through a scenario's steps, once, and stops at the first that does not hold.

use super::{
    Arrival, Peer, Server,
    conversation::Conversation,
    frames::octets_of,
    leftovers::Leftovers,
    link::{CONNECTION, FIRST, Unit},
    protocol::Shape,
    reading::Named,
    script::{Audience, Expected, Line, Outgoing, Place, Script, Step},
    term::Term,
};
use std::collections::BTreeSet;

const DEFAULT_FRAME_MAX: usize = 131_072;

/// Plays `script`; the error says in which line what was expected, and what came.
pub fn play(script: &Script, peer: &mut dyn Peer) -> (Result<(), String>, Leftovers) {
    let conversation = Conversation::new(peer, &script.settings);
    let mut performance = Performance { script, conversation };
    let result = performance.all().and_then(|()| performance.finish());
    performance.conversation.leave();
    (result, performance.conversation.leftovers)
}

struct Performance<'a> {
    script: &'a Script,
    conversation: Conversation<'a>,
}

impl Performance<'_> {
    fn all(&mut self) -> Result<(), String> {
        let script = self.script;
        for line in &script.lines {
            if self.is_for_this_server(line) {
                self.step(line).map_err(|why| format!("{}: {}\n{why}", line.number, line.text))?;
            }
        }
        Ok(())
    }

    fn is_for_this_server(&self, line: &Line) -> bool {
        match line.audience {
            Audience::Everyone => true,
            Audience::Leveret => self.conversation.peer.server() == Server::Leveret,
            Audience::Oracle => self.conversation.peer.server() == Server::Oracle,
        }
    }

    fn step(&mut self, line: &Line) -> Result<(), String> {
        match &line.step {
            Step::Send(place, outgoing) => self.send(place, outgoing),
            Step::Expect(place, expected) => self.expect(place, expected),
            Step::AnyOrder(lines) => self.expect_in_any_order(lines),
            Step::Wait(duration) => {
                self.conversation.peer.wait(*duration);
                Ok(())
            }
            Step::Sync => self
                .conversation
                .links
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .iter()
                .try_for_each(|connection| self.conversation.round_trip(connection)),
            Step::Connect(place) => self.conversation.ensure_connected(&place.connection),
            Step::Disconnect(place) => {
                self.conversation.peer.disconnect(&place.connection);
                self.conversation.links.remove(&place.connection);
                Ok(())
            }
        }
    }

    fn send(&mut self, place: &Place, outgoing: &Outgoing) -> Result<(), String> {
        let channel = place.channel.unwrap_or_else(|| default_channel(outgoing));
        let opens = matches!(outgoing, Outgoing::Method(shape, _) if shape.name == "channel.open");
        self.conversation.ensure_connected(&place.connection)?;
        if !opens && !matches!(outgoing, Outgoing::Raw(_)) {
            self.conversation.ensure_channel(&place.connection, channel)?;
        }
        if let Outgoing::Method(shape, named) = outgoing {
            self.conversation.note_sent(&place.connection, channel, shape, named);
        }
        let frame_max = match self.conversation.link(&place.connection).frame_max {
            0 => DEFAULT_FRAME_MAX,
            frame_max => frame_max,
        };
        let octets = octets_of(outgoing, channel, frame_max, &self.conversation.captures)?;
        self.conversation.peer.send(&place.connection, &octets);
        Ok(())
    }

    fn expect(&mut self, place: &Place, expected: &Expected) -> Result<(), String> {
        let connection = place.connection.as_str();
        self.conversation.ensure_connected(connection)?;
        match expected {
            Expected::Method(shape, named) => {
                let channel = place.channel.unwrap_or_else(|| default_channel_of(shape));
                self.expect_method(connection, channel, shape, named)
            }
            Expected::Heartbeat => {
                let unit = self.conversation.receive(connection, CONNECTION)?;
                if unit.name == "heartbeat" { Ok(()) } else { Err(format!("  got: {unit}")) }
            }
            Expected::Raw(octets) => self.expect_octets(connection, octets),
            Expected::Closed => self.expect_closed(connection),
            Expected::Nothing => self.expect_nothing(connection, place.channel),
            Expected::Confirmed(first, last) => {
                let channel = place.channel.unwrap_or(FIRST);
                self.expect_confirmed(connection, channel, (*first..=*last).collect())
            }
        }
    }

    fn expect_method(
        &mut self,
        connection: &str,
        channel: u16,
        shape: &Shape,
        (named, rest): &Named,
    ) -> Result<(), String> {
        let unit = self.conversation.receive(connection, channel)?;
        let faults = unit.differences(&shape.name, named, *rest, &mut self.conversation.captures);
        if faults.is_empty() {
            return Ok(());
        }
        Err(format!("  got: {unit}\n  {}", faults.join("\n  ")))
    }

    fn expect_in_any_order(&mut self, lines: &[Line]) -> Result<(), String> {
        let mut left: Vec<&Line> =
            lines.iter().filter(|line| self.is_for_this_server(line)).collect();
        while let Some(first) = left.first() {
            let Step::Expect(place, Expected::Method(shape, _)) = &first.step else {
                return Err("a group holds only methods that are expected".to_owned());
            };
            let channel = place.channel.unwrap_or_else(|| default_channel_of(shape));
            let connection = place.connection.clone();
            self.conversation.ensure_connected(&connection)?;
            let unit = self.conversation.receive(&connection, channel)?;
            let found =
                left.iter().position(|line| self.is_met_by(line, &connection, channel, &unit));
            match found {
                Some(index) => drop(left.remove(index)),
                None => {
                    let due: Vec<_> =
                        left.iter().map(|line| format!("  due: {}", line.text)).collect();
                    return Err(format!("  got: {unit}\n{}", due.join("\n")));
                }
            }
        }
        Ok(())
    }

    fn is_met_by(&mut self, line: &Line, connection: &str, channel: u16, unit: &Unit) -> bool {
        let Step::Expect(place, Expected::Method(shape, (named, rest))) = &line.step else {
            return false;
        };
        if place.connection != connection
            || place.channel.unwrap_or_else(|| default_channel_of(shape)) != channel
        {
            return false;
        }
        let mut attempt = self.conversation.captures.clone();
        let met = unit.differences(&shape.name, named, *rest, &mut attempt).is_empty();
        if met {
            self.conversation.captures = attempt;
        }
        met
    }

    fn expect_octets(&mut self, connection: &str, expected: &[u8]) -> Result<(), String> {
        while self.conversation.link(connection).octets.len() < expected.len() {
            match self.conversation.peer.receive(connection) {
                Arrival::Octets(octets) => self.conversation.link(connection).octets.extend(octets),
                Arrival::Closed | Arrival::Silence => break,
            }
        }
        let octets = &mut self.conversation.link(connection).octets;
        let due = octets.len().min(expected.len());
        let got: Vec<u8> = octets.drain(..due).collect();
        if got == expected { Ok(()) } else { Err(format!("  got: \"{}\"", got.escape_ascii())) }
    }

    fn expect_closed(&mut self, connection: &str) -> Result<(), String> {
        while !self.conversation.link(connection).is_closed {
            if !self.conversation.pull(connection)? {
                return Err("  got: silence".to_owned());
            }
        }
        self.nothing_unread(connection, None)
    }

    fn expect_nothing(&mut self, connection: &str, channel: Option<u16>) -> Result<(), String> {
        self.conversation.round_trip(connection)?;
        if self.conversation.link(connection).is_closed {
            return Err("  got: the connection is closed".to_owned());
        }
        self.nothing_unread(connection, channel)
    }

    fn nothing_unread(&mut self, connection: &str, channel: Option<u16>) -> Result<(), String> {
        let unread: Vec<_> = self
            .conversation
            .link(connection)
            .unread()
            .into_iter()
            .filter(|unit| channel.is_none_or(|channel| unit.starts_with(&format!("{channel}<"))))
            .collect();
        if unread.is_empty() { Ok(()) } else { Err(format!("  got: {}", unread.join("\n  got: "))) }
    }

    fn expect_confirmed(
        &mut self,
        connection: &str,
        channel: u16,
        mut due: BTreeSet<u64>,
    ) -> Result<(), String> {
        while !due.is_empty() {
            let unit = self.conversation.receive(connection, channel)?;
            let tag = match (unit.name.as_str(), unit.argument("delivery-tag")) {
                ("basic.ack", Some(Term::Number(_, tag))) => *tag as u64,
                _ => return Err(format!("  got: {unit}\n  still unconfirmed: {due:?}")),
            };
            let before = due.len();
            match unit.argument("multiple") {
                Some(Term::Bool(true)) => due.retain(|number| *number > tag),
                _ => drop(due.remove(&tag)),
            }
            if due.len() == before {
                return Err(format!("  got: {unit}, which confirms none of {due:?}"));
            }
        }
        Ok(())
    }

    /// Nothing may be left that the scenario has not expected.
    fn finish(&mut self) -> Result<(), String> {
        for connection in self.conversation.links.keys().cloned().collect::<Vec<_>>() {
            let located = |why| format!("at the end, on connection {connection}\n{why}");
            if !self.conversation.link(&connection).is_closed {
                self.conversation.round_trip(&connection).map_err(located)?;
            }
            self.nothing_unread(&connection, None).map_err(located)?;
        }
        Ok(())
    }
}

fn default_channel(outgoing: &Outgoing) -> u16 {
    match outgoing {
        Outgoing::Method(shape, _) | Outgoing::MethodFrame(shape, _) => default_channel_of(shape),
        Outgoing::HeaderFrame(_) | Outgoing::BodyFrame(_) => FIRST,
        Outgoing::Frame(_) | Outgoing::Raw(_) => CONNECTION,
    }
}

fn default_channel_of(shape: &Shape) -> u16 {
    if shape.is_connection_wide() { CONNECTION } else { FIRST }
}
