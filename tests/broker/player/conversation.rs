//! The connections of one scenario: opened when they are first named, read frame by frame.

use super::{
    Arrival, Peer,
    frames::{frame, number_of},
    leftovers::Leftovers,
    link::{CONNECTION, Channel, Link, Unit},
    protocol::Shape,
    script::Settings,
    term::{Captures, Rest, Term},
};
use std::collections::BTreeMap;

const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// The channel of a round trip on a connection without channels.
const SCRATCH: u16 = 60_000;

pub struct Conversation<'a> {
    pub peer: &'a mut dyn Peer,
    settings: &'a Settings,
    pub links: BTreeMap<String, Link>,
    pub captures: Captures,
    pub leftovers: Leftovers,
}

impl<'a> Conversation<'a> {
    pub fn new(peer: &'a mut dyn Peer, settings: &'a Settings) -> Self {
        Self {
            peer,
            settings,
            links: BTreeMap::new(),
            captures: Captures::new(),
            leftovers: Leftovers::default(),
        }
    }

    pub fn link(&mut self, connection: &str) -> &mut Link {
        self.links.entry(connection.to_owned()).or_default()
    }

    /// Keeps track of channels and of what will have to be deleted.
    pub fn note_sent(
        &mut self,
        connection: &str,
        channel: u16,
        shape: &Shape,
        named: &[(String, Term)],
    ) {
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
                let frame_max = number_of(named, "frame-max").ok().flatten().unwrap_or(0);
                self.link(connection).frame_max = frame_max as usize;
            }
            _ => {}
        }
    }

    pub fn ensure_connected(&mut self, connection: &str) -> Result<(), String> {
        if self.links.contains_key(connection) {
            return Ok(());
        }
        self.peer.connect(connection)?;
        self.link(connection);
        if self.settings.is_raw {
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
        let mut tune_ok = self.settings.tune.clone();
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
        let capabilities = self.settings.capabilities.clone();
        Term::Table(vec![(b"capabilities".to_vec(), capabilities)], Rest::None)
    }

    /// Opens a channel that the scenario uses for the first time.
    pub fn ensure_channel(&mut self, connection: &str, channel: u16) -> Result<(), String> {
        let settings = &self.settings;
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

    /// Brings in what came next on the connection; false where nothing did.
    pub fn pull(&mut self, connection: &str) -> Result<bool, String> {
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
    pub fn receive(&mut self, connection: &str, channel: u16) -> Result<Unit, String> {
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
    pub fn round_trip(&mut self, connection: &str) -> Result<(), String> {
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

    /// Closes every connection that is still open.
    pub fn leave(&mut self) {
        for connection in self.links.keys().cloned().collect::<Vec<_>>() {
            let link = self.link(&connection);
            if link.is_open && !link.is_closing && !link.is_closed {
                let code = [("reply-code".to_owned(), Term::Number('n', 200))];
                let closed =
                    self.send_plainly(&connection, CONNECTION, "connection.close", &code).and_then(
                        |()| self.await_method(&connection, CONNECTION, "connection.close-ok"),
                    );
                drop(closed);
            }
            self.peer.disconnect(&connection);
        }
    }
}
