//! Goes through a scenario's steps, once, and stops at the first that does not hold.

use super::{
    Arrival, Peer, Server,
    link::{CONNECTION, Channel, FIRST, Link, Unit},
    protocol::{PROPERTIES, Shape, header_payload},
    reading::{Named, Reading},
    script::{Audience, Expected, Frame, Line, Outgoing, Place, Script, Step},
    term::{Captures, Rest, Term},
};
use std::collections::{BTreeMap, BTreeSet};

const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
const DEFAULT_FRAME_MAX: usize = 131_072;
const SCRATCH: u16 = 60_000;

/// What a scenario has declared; it is deleted where the broker outlives the scenario.
#[derive(Debug, Default)]
pub struct Leftovers {
    pub queues: BTreeSet<Vec<u8>>,
    pub exchanges: BTreeSet<Vec<u8>>,
}

/// Plays `script`; the error says in which line what was expected, and what came.
pub fn play(script: &Script, peer: &mut dyn Peer) -> (Result<(), String>, Leftovers) {
    let mut performance = Performance {
        script,
        peer,
        links: BTreeMap::new(),
        captures: Captures::new(),
        leftovers: Leftovers::default(),
    };
    let result = performance.all().and_then(|()| performance.finish());
    performance.leave();
    (result, performance.leftovers)
}

struct Performance<'a> {
    script: &'a Script,
    peer: &'a mut dyn Peer,
    links: BTreeMap<String, Link>,
    captures: Captures,
    leftovers: Leftovers,
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
            Audience::Leveret => self.peer.server() == Server::Leveret,
            Audience::Oracle => self.peer.server() == Server::Oracle,
        }
    }

    fn step(&mut self, line: &Line) -> Result<(), String> {
        match &line.step {
            Step::Send(place, outgoing) => self.send(place, outgoing),
            Step::Expect(place, expected) => self.expect(place, expected),
            Step::AnyOrder(lines) => self.expect_in_any_order(lines),
            Step::Wait(duration) => {
                self.peer.wait(*duration);
                Ok(())
            }
            Step::Sync => self.links.keys().cloned().collect::<Vec<_>>().iter().try_for_each(
                |connection| self.round_trip(connection),
            ),
            Step::Connect(place) => self.ensure_connected(&place.connection),
            Step::Disconnect(place) => {
                self.peer.disconnect(&place.connection);
                self.links.remove(&place.connection);
                Ok(())
            }
        }
    }

    fn link(&mut self, connection: &str) -> &mut Link {
        self.links.entry(connection.to_owned()).or_default()
    }

    // ---- sending ----

    fn send(&mut self, place: &Place, outgoing: &Outgoing) -> Result<(), String> {
        let channel = place.channel.unwrap_or(default_channel(outgoing));
        let opens = matches!(outgoing, Outgoing::Method(shape, _) if shape.name == "channel.open");
        self.ensure_connected(&place.connection)?;
        if !opens && !matches!(outgoing, Outgoing::Raw(_)) {
            self.ensure_channel(&place.connection, channel)?;
        }
        let octets = self.octets(&place.connection, channel, outgoing)?;
        self.peer.send(&place.connection, &octets);
        Ok(())
    }

    fn octets(
        &mut self,
        connection: &str,
        channel: u16,
        outgoing: &Outgoing,
    ) -> Result<Vec<u8>, String> {
        Ok(match outgoing {
            Outgoing::Raw(octets) => octets.clone(),
            Outgoing::Frame(described) => frame_as_described(channel, described),
            Outgoing::Method(shape, named) => {
                self.note_sent(connection, channel, shape, named);
                let mut octets = frame(1, channel, &shape.payload(named, &self.captures)?);
                if shape.carries_content() {
                    octets.extend(self.content(connection, channel, named)?);
                }
                octets
            }
            Outgoing::MethodFrame(shape, named) => {
                frame(1, channel, &shape.payload(named, &self.captures)?)
            }
            Outgoing::HeaderFrame(named) => {
                let class = numbered(named, "class")?.unwrap_or(60);
                let weight = numbered(named, "weight")?.unwrap_or(0);
                let size = numbered(named, "size")?.unwrap_or(0);
                let payload =
                    header_payload(class as u16, weight as u16, size, named, &self.captures)?;
                frame(2, channel, &payload)
            }
            Outgoing::BodyFrame(term) => frame(3, channel, &body_of(term, &self.captures)?),
        })
    }

    /// The header and the body frames that follow a method.
    fn content(
        &mut self,
        connection: &str,
        channel: u16,
        named: &[(String, Term)],
    ) -> Result<Vec<u8>, String> {
        let body = match named.iter().find(|(name, _)| name == "body") {
            Some((_, term)) => body_of(term, &self.captures)?,
            None => Vec::new(),
        };
        let properties: Vec<_> = named
            .iter()
            .filter(|(name, _)| PROPERTIES.iter().any(|(property, _)| property == name))
            .cloned()
            .collect();
        let payload = header_payload(60, 0, body.len() as u64, &properties, &self.captures)?;
        let mut octets = frame(2, channel, &payload);
        let frame_max = match self.link(connection).frame_max {
            0 => DEFAULT_FRAME_MAX,
            frame_max => frame_max,
        };
        for chunk in body.chunks(frame_max - 8) {
            octets.extend(frame(3, channel, chunk));
        }
        Ok(octets)
    }

    /// Keeps track of channels and of what will have to be deleted.
    fn note_sent(&mut self, connection: &str, channel: u16, shape: &Shape, named: &[(String, Term)]) {
        let text = |name: &str| {
            let (_, term) = named.iter().find(|(named, _)| named == name)?;
            match term.resolved(&self.captures) {
                Ok(Term::Text(_, octets)) => Some(octets),
                _ => None,
            }
        };
        match shape.name.as_str() {
            "queue.declare" => self.leftovers.queues.extend(text("queue")),
            "exchange.declare" => self.leftovers.exchanges.extend(text("exchange")),
            "connection.close" => self.link(connection).is_closing = true,
            "channel.close" => {
                self.link(connection).channels.insert(channel, Channel::Closed);
            }
            "connection.tune-ok" => {
                let frame_max = numbered(named, "frame-max").ok().flatten().unwrap_or(0);
                self.link(connection).frame_max = frame_max as usize;
            }
            _ => {}
        }
    }

    // ---- opening ----

    fn ensure_connected(&mut self, connection: &str) -> Result<(), String> {
        if self.links.contains_key(connection) {
            return Ok(());
        }
        self.peer.connect(connection)?;
        self.link(connection);
        if self.script.settings.is_raw {
            return Ok(());
        }
        self.hand_shake(connection)
            .map_err(|why| format!("connection {connection} does not open: {why}"))
    }

    fn hand_shake(&mut self, connection: &str) -> Result<(), String> {
        self.peer.send(connection, PROTOCOL_HEADER);
        self.expect_plainly(connection, "connection.start")?;
        let start_ok = vec![
            ("client-properties".to_owned(), self.client_properties()),
            ("mechanism".to_owned(), Term::text("PLAIN")),
            ("response".to_owned(), Term::text("\0guest\0guest")),
            ("locale".to_owned(), Term::text("en_US")),
        ];
        self.send_plainly(connection, CONNECTION, "connection.start-ok", &start_ok)?;
        let tune = self.expect_plainly(connection, "connection.tune")?;
        let mut tune_ok = self.script.settings.tune.clone();
        for name in ["channel-max", "frame-max"] {
            if !tune_ok.iter().any(|(named, _)| named == name) {
                let offered = tune.argument(name).cloned().ok_or("tune is incomplete")?;
                tune_ok.push((name.to_owned(), offered));
            }
        }
        self.send_plainly(connection, CONNECTION, "connection.tune-ok", &tune_ok)?;
        let open = [("virtual-host".to_owned(), Term::text("/"))];
        self.send_plainly(connection, CONNECTION, "connection.open", &open)?;
        self.expect_plainly(connection, "connection.open-ok").map(drop)
    }

    fn client_properties(&self) -> Term {
        let capabilities = self.script.settings.capabilities.clone();
        Term::Table(vec![(b"capabilities".to_vec(), capabilities)], Rest::None)
    }

    /// Opens a channel that the scenario uses for the first time.
    fn ensure_channel(&mut self, connection: &str, channel: u16) -> Result<(), String> {
        let settings = &self.script.settings;
        let by_hand = settings.is_raw || !settings.opens_channels || channel == CONNECTION;
        let link = self.link(connection);
        if by_hand || link.is_closing || link.channels.contains_key(&channel) {
            return Ok(());
        }
        self.open_channel(connection, channel)
    }

    fn open_channel(&mut self, connection: &str, channel: u16) -> Result<(), String> {
        self.send_plainly(connection, channel, "channel.open", &[])?;
        self.await_method(connection, channel, "channel.open-ok")?;
        Ok(())
    }

    fn send_plainly(
        &mut self,
        connection: &str,
        channel: u16,
        method: &str,
        named: &[(String, Term)],
    ) -> Result<(), String> {
        let shape = Shape::named(method).ok_or_else(|| format!("{method} is no method"))?;
        self.note_sent(connection, channel, &shape, named);
        let payload = shape.payload(named, &self.captures)?;
        self.peer.send(connection, &frame(1, channel, &payload));
        Ok(())
    }

    fn expect_plainly(&mut self, connection: &str, method: &str) -> Result<Unit, String> {
        let unit = self.receive(connection, CONNECTION)?;
        if unit.name == method { Ok(unit) } else { Err(format!("{method} is due, got {unit}")) }
    }

    // ---- expecting ----

    fn expect(&mut self, place: &Place, expected: &Expected) -> Result<(), String> {
        let connection = place.connection.as_str();
        self.ensure_connected(connection)?;
        match expected {
            Expected::Method(shape, named) => {
                let channel = place.channel.unwrap_or(default_channel_of(shape));
                self.expect_method(connection, channel, shape, named)
            }
            Expected::Heartbeat => {
                let unit = self.receive(connection, CONNECTION)?;
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
        let unit = self.receive(connection, channel)?;
        let faults = unit.differences(&shape.name, named, *rest, &mut self.captures);
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
            let channel = place.channel.unwrap_or(default_channel_of(shape));
            let connection = place.connection.clone();
            self.ensure_connected(&connection)?;
            let unit = self.receive(&connection, channel)?;
            let found = left.iter().position(|line| {
                self.is_met_by(line, &connection, channel, &unit)
            });
            match found {
                Some(index) => drop(left.remove(index)),
                None => {
                    let due: Vec<_> = left.iter().map(|line| format!("  due: {}", line.text)).collect();
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
            || place.channel.unwrap_or(default_channel_of(shape)) != channel
        {
            return false;
        }
        let mut attempt = self.captures.clone();
        let met = unit.differences(&shape.name, named, *rest, &mut attempt).is_empty();
        if met {
            self.captures = attempt;
        }
        met
    }

    fn expect_octets(&mut self, connection: &str, expected: &[u8]) -> Result<(), String> {
        while self.link(connection).octets.len() < expected.len() {
            match self.peer.receive(connection) {
                Arrival::Octets(octets) => self.link(connection).octets.extend(octets),
                Arrival::Closed | Arrival::Silence => break,
            }
        }
        let octets = &mut self.link(connection).octets;
        let due = octets.len().min(expected.len());
        let got: Vec<u8> = octets.drain(..due).collect();
        if got == expected { Ok(()) } else { Err(format!("  got: \"{}\"", got.escape_ascii())) }
    }

    fn expect_closed(&mut self, connection: &str) -> Result<(), String> {
        while !self.link(connection).is_closed {
            if !self.pull(connection)? {
                return Err("  got: silence".to_owned());
            }
        }
        self.nothing_unread(connection, None)
    }

    fn expect_nothing(&mut self, connection: &str, channel: Option<u16>) -> Result<(), String> {
        self.round_trip(connection)?;
        if self.link(connection).is_closed {
            return Err("  got: the connection is closed".to_owned());
        }
        self.nothing_unread(connection, channel)
    }

    fn nothing_unread(&mut self, connection: &str, channel: Option<u16>) -> Result<(), String> {
        let unread: Vec<_> = self.link(connection).unread().into_iter().filter(|unit| {
            channel.is_none_or(|channel| unit.starts_with(&format!("{channel}<")))
        }).collect();
        if unread.is_empty() { Ok(()) } else { Err(format!("  got: {}", unread.join("\n  got: "))) }
    }

    fn expect_confirmed(
        &mut self,
        connection: &str,
        channel: u16,
        mut due: BTreeSet<u64>,
    ) -> Result<(), String> {
        while !due.is_empty() {
            let unit = self.receive(connection, channel)?;
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

    // ---- receiving ----

    /// Brings in what came next on the connection; false where nothing did.
    fn pull(&mut self, connection: &str) -> Result<bool, String> {
        match self.peer.receive(connection) {
            Arrival::Octets(octets) => {
                let link = self.link(connection);
                link.octets.extend(octets);
                link.read_frames()?;
                self.note_declared(connection);
                Ok(true)
            }
            Arrival::Closed => {
                self.link(connection).is_closed = true;
                Ok(true)
            }
            Arrival::Silence => Ok(false),
        }
    }

    /// A server-named queue is deleted afterwards, too.
    fn note_declared(&mut self, connection: &str) {
        let Some(link) = self.links.get(connection) else { return };
        for unit in link.inboxes.values().flatten().filter(|u| u.name == "queue.declare-ok") {
            if let Some(Term::Text(_, queue)) = unit.argument("queue") {
                self.leftovers.queues.insert(queue.clone());
            }
        }
    }

    /// The next unit of a channel, which must come.
    fn receive(&mut self, connection: &str, channel: u16) -> Result<Unit, String> {
        self.link(connection).read_frames()?;
        loop {
            let link = self.link(connection);
            if let Some(unit) = link.next(channel) {
                return Ok(unit);
            }
            let has_ended = link.is_closed || (link.is_closing && channel != CONNECTION);
            if has_ended || !self.pull(connection)? {
                return Err(self.why_nothing_came(connection));
            }
        }
    }

    fn why_nothing_came(&mut self, connection: &str) -> String {
        let link = self.link(connection);
        let what = if link.is_closed { "the connection is closed" } else { "nothing" };
        let unread: String =
            link.unread().iter().map(|unit| format!("\n  unread: {unit}")).collect();
        format!("  got: {what}{unread}")
    }

    /// Waits for a method, whatever else comes before it.
    fn await_method(&mut self, connection: &str, channel: u16, name: &str) -> Result<(), String> {
        loop {
            let link = self.link(connection);
            if link.take(channel, name).is_some() {
                return Ok(());
            }
            let ended = link.is_closed || (link.is_closing && channel != CONNECTION);
            if ended || link.channels.get(&channel) == Some(&Channel::Closed) {
                return Ok(());
            }
            if !self.pull(connection)? {
                return Err(format!("  {name} does not come on channel {channel}"));
            }
        }
    }

    /// When this ends, the server has handled everything that was sent on the connection.
    fn round_trip(&mut self, connection: &str) -> Result<(), String> {
        self.link(connection).read_frames()?;
        let link = self.link(connection);
        if link.is_open && !link.is_closing && !link.is_closed {
            let open: Vec<u16> = link
                .channels
                .iter()
                .filter(|(_, state)| **state == Channel::Open)
                .map(|(channel, _)| *channel)
                .collect();
            for channel in &open {
                let active = [("active".to_owned(), Term::Bool(true))];
                self.send_plainly(connection, *channel, "channel.flow", &active)?;
                self.await_method(connection, *channel, "channel.flow-ok")?;
            }
            if open.is_empty() {
                self.open_channel(connection, SCRATCH)?;
                self.send_plainly(connection, SCRATCH, "channel.close", &[])?;
                self.link(connection).channels.remove(&SCRATCH);
                self.await_method(connection, SCRATCH, "channel.close-ok")?;
            }
        }
        self.peer.settle();
        self.drain(connection)
    }

    /// Brings in what has come in already.
    fn drain(&mut self, connection: &str) -> Result<(), String> {
        while !self.link(connection).is_closed && self.peer.has_arrived(connection) {
            self.pull(connection)?;
        }
        Ok(())
    }

    // ---- ending ----

    /// Nothing may be left that the scenario has not expected.
    fn finish(&mut self) -> Result<(), String> {
        for connection in self.links.keys().cloned().collect::<Vec<_>>() {
            let located = |why| format!("at the end, on connection {connection}\n{why}");
            if !self.link(&connection).is_closed {
                self.round_trip(&connection).map_err(located)?;
            }
            self.nothing_unread(&connection, None).map_err(located)?;
        }
        Ok(())
    }

    /// Closes every connection that is still open.
    fn leave(&mut self) {
        for connection in self.links.keys().cloned().collect::<Vec<_>>() {
            let link = self.link(&connection);
            if link.is_open && !link.is_closing && !link.is_closed {
                let code = [("reply-code".to_owned(), Term::Number('n', 200))];
                let closed = self
                    .send_plainly(&connection, CONNECTION, "connection.close", &code)
                    .and_then(|()| self.await_method(&connection, CONNECTION, "connection.close-ok"));
                drop(closed);
            }
            self.peer.disconnect(&connection);
        }
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

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let described = Frame { kind, size: None, payload: payload.to_vec(), end: 0xCE };
    frame_as_described(channel, &described)
}

fn frame_as_described(channel: u16, frame: &Frame) -> Vec<u8> {
    let size = frame.size.unwrap_or(frame.payload.len() as u32);
    let mut octets = vec![frame.kind];
    octets.extend(channel.to_be_bytes());
    octets.extend(size.to_be_bytes());
    octets.extend(&frame.payload);
    octets.push(frame.end);
    octets
}

fn body_of(term: &Term, captures: &Captures) -> Result<Vec<u8>, String> {
    match term.resolved(captures)? {
        Term::Text(_, octets) => Ok(octets),
        other => Err(format!("{other} is no body")),
    }
}

fn numbered(named: &[(String, Term)], name: &str) -> Result<Option<u64>, String> {
    match named.iter().find(|(argument, _)| argument == name) {
        None => Ok(None),
        Some((_, Term::Number(_, number))) => Ok(Some(*number as u64)),
        Some((_, other)) => Err(format!("{name}={other} is no number")),
    }
}

/// Deletes what a scenario has declared, through a connection of its own.
pub fn clean_up(leftovers: &Leftovers, peer: &mut dyn Peer) -> Result<(), String> {
    let mut lines = String::from("# Deletes what is left.\n");
    for (method, names) in
        [("queue.delete queue", &leftovers.queues), ("exchange.delete exchange", &leftovers.exchanges)]
    {
        let reply = method.split(' ').next().unwrap_or(method);
        for name in names.iter().filter(|name| is_deletable(method, name)) {
            let name = Term::Text('S', name.clone());
            lines.push_str(&format!("> {method}={name}\n< {reply}-ok ...\n"));
        }
    }
    let script = Script::read(&lines)?;
    play(&script, peer).0
}

fn is_deletable(method: &str, name: &[u8]) -> bool {
    let is_reserved = name.starts_with(b"amq.") && method.starts_with("exchange");
    let is_plain = std::str::from_utf8(name).is_ok_and(|name| {
        Reading::new(&format!("{:?}", name)).quoted().is_ok_and(|read| read == name.as_bytes())
    });
    !name.is_empty() && !is_reserved && is_plain
}
