//! From the first octet to an open virtual host, one type for each thing that is awaited.
//!
//! ```text
//! ExpectHeader → ExpectStartOk → ExpectAdmission → ExpectTuneOk → ExpectOpen → ExpectWelcome
//!               (start is sent)   (login is asked)  (tune is sent)             (host is asked)
//! ```

use bytes::{Buf, Bytes, BytesMut};

use super::{
    authentication::Mechanism,
    connection::Connection,
    exception::{Exception, Fault, MethodId, NO_METHOD},
    request::{Introduction, Login, Opening, Request},
    settings::Settings,
    tuning::{self, Tuning},
};
use crate::{
    model::{FieldTable, FieldValue, LongString, Refusal, ShortString},
    wire::{
        frame::{self, FrameKind},
        method::{ConnectionOpen, ConnectionOpenOk, ConnectionStart, ConnectionStartOk, Method},
    },
};

/// The protocol header of 0-9-1, which also answers any other.
const HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// The header of the 0-9 drafts, whose clients are spoken to in 0-9-1 (RabbitMQ).
const DRAFT_HEADER: &[u8; 8] = b"AMQP\x01\x01\x00\x09";

/// The capabilities that a server announces; most clients look for some of them.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// The method that opens a virtual host.
const OPEN: MethodId = (10, 40);

/// Where a handshake stands.
#[derive(Debug)]
pub(super) enum Handshake {
    Header(ExpectHeader),
    StartOk(ExpectStartOk),
    Admission(ExpectAdmission),
    TuneOk(ExpectTuneOk),
    Open(ExpectOpen),
    Welcome(ExpectWelcome),
}

/// Why a handshake ends early.
#[derive(Debug)]
pub(super) enum Broken {
    /// Not our protocol: the header that we speak is the answer.
    Protocol,
    /// A rule was broken: the client is left in silence.
    Rule,
    /// The login was refused, and the client wants to be told.
    Login(Exception),
    /// The virtual host was refused.
    Open(Exception),
}

/// What the client said that it understands (RabbitMQ: these three change the server's behaviour).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) consumer_cancel_notify: bool,
    pub(super) connection_blocked: bool,
    pub(super) authentication_failure_close: bool,
}

#[derive(Debug)]
pub(super) struct ExpectHeader;

#[derive(Debug)]
pub(super) struct ExpectStartOk;

/// The broker is asked whether the client may come in.
#[derive(Debug)]
pub(super) struct ExpectAdmission {
    login: Login,
    capabilities: Capabilities,
}

#[derive(Debug)]
pub(super) struct ExpectTuneOk {
    capabilities: Capabilities,
}

#[derive(Debug)]
pub(super) struct ExpectOpen {
    capabilities: Capabilities,
    tuning: Tuning,
}

/// The broker is asked for the virtual host.
#[derive(Debug)]
pub(super) struct ExpectWelcome {
    capabilities: Capabilities,
    tuning: Tuning,
}

impl Handshake {
    /// Reads on; nothing when more octets are needed.
    pub(super) fn read(
        &mut self,
        input: &mut BytesMut,
        connection: &mut Connection,
    ) -> Result<Option<Step>, Broken> {
        if let Self::Header(state) = self {
            if input.len() < HEADER.len() {
                return Ok(None);
            }
            let next = state.accept(&input.split_to(HEADER.len()), connection)?;
            *self = Self::StartOk(next);
            return Ok(Some(Step::Taken));
        }
        if self.waits_for_broker() {
            return Ok(None);
        }
        let Some(method) = next_method(input, self.frame_max())? else {
            return Ok(None);
        };
        self.take(method, connection)
    }

    /// The broker has answered the login.
    pub(super) fn admitted(
        &mut self,
        result: Result<(), Refusal>,
        connection: &mut Connection,
    ) -> Result<(), Broken> {
        let Self::Admission(ExpectAdmission { login, capabilities }) = self else {
            return Ok(());
        };
        if result.is_err() && capabilities.authentication_failure_close {
            return Err(Broken::Login(Fault::login(login).by(NO_METHOD)));
        }
        result.map_err(|_| Broken::Rule)?;
        connection.outgoing.method(0, tuning::proposal(&connection.settings));
        *self = Self::TuneOk(ExpectTuneOk { capabilities: *capabilities });
        Ok(())
    }

    /// The broker has answered about the virtual host; what was agreed on, if the client may enter.
    pub(super) fn opened(
        &self,
        result: Result<(), Refusal>,
        connection: &mut Connection,
    ) -> Result<Option<(Tuning, Capabilities)>, Broken> {
        let Self::Welcome(ExpectWelcome { capabilities, tuning }) = self else {
            return Ok(None);
        };
        result.map_err(|refusal| Broken::Open(Fault::refused(refusal).by(OPEN)))?;
        connection.outgoing.method(0, ConnectionOpenOk::default());
        Ok(Some((*tuning, *capabilities)))
    }

    /// What the client has agreed to, if it has come that far.
    pub(super) fn tuning(&self) -> Option<Tuning> {
        match self {
            Self::Open(ExpectOpen { tuning, .. }) | Self::Welcome(ExpectWelcome { tuning, .. }) => {
                Some(*tuning)
            }
            Self::Header(_) | Self::StartOk(_) | Self::Admission(_) | Self::TuneOk(_) => None,
        }
    }

    pub(super) fn waits_for_broker(&self) -> bool {
        matches!(self, Self::Admission(_) | Self::Welcome(_))
    }

    fn take(
        &mut self,
        method: Method,
        connection: &mut Connection,
    ) -> Result<Option<Step>, Broken> {
        let mut step = Step::Taken;
        *self = match (&*self, method) {
            (Self::StartOk(state), Method::ConnectionStartOk(start_ok)) => {
                Self::Admission(state.accept(&start_ok, connection)?)
            }
            (Self::TuneOk(state), Method::ConnectionTuneOk(tune_ok)) => {
                let agreed = Tuning::agree(&connection.settings, &tune_ok).ok_or(Broken::Rule)?;
                connection.outgoing.limit_frames_to(agreed.frame_max);
                connection.introduction = Introduction {
                    channel_max: agreed.channel_max,
                    frame_max: agreed.frame_max,
                    heartbeat: agreed.heartbeat,
                    ..std::mem::take(&mut connection.introduction)
                };
                step = Step::Tuned(agreed);
                Self::Open(ExpectOpen { capabilities: state.capabilities, tuning: agreed })
            }
            (Self::Open(state), Method::ConnectionOpen(open)) => {
                Self::Welcome(state.accept(open, connection))
            }
            _ => return Err(Broken::Rule),
        };
        Ok(Some(step))
    }

    fn frame_max(&self) -> usize {
        self.tuning().unwrap_or(Tuning::initial()).frame_max
    }
}

/// What a piece of input led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Taken,
    /// Heartbeats begin.
    Tuned(Tuning),
}

impl ExpectHeader {
    fn accept(&self, header: &[u8], connection: &mut Connection) -> Result<ExpectStartOk, Broken> {
        if header != HEADER && header != DRAFT_HEADER {
            connection.outgoing.octets(HEADER);
            return Err(Broken::Protocol);
        }
        let settings = &connection.settings;
        let offered = settings.mechanisms.iter();
        let offered = offered.filter(|known| known.is_offered(&connection.identity));
        let mechanisms: Vec<_> = offered.map(|known| known.name()).collect();
        let start = ConnectionStart {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties(settings),
            mechanisms: LongString::from(mechanisms.join(" ")),
            locales: LongString::from_static("en_US"),
        };
        connection.outgoing.method(0, start);
        Ok(ExpectStartOk)
    }
}

impl ExpectStartOk {
    fn accept(
        &self,
        start_ok: &ConnectionStartOk,
        connection: &mut Connection,
    ) -> Result<ExpectAdmission, Broken> {
        let identity = &connection.identity;
        let is_chosen =
            |known: &&Mechanism| start_ok.mechanism == known.name() && known.is_offered(identity);
        let mechanism = connection.settings.mechanisms.iter().find(is_chosen);
        let login = mechanism.and_then(|known| known.login(start_ok.response.as_bytes(), identity));
        let login = login.ok_or(Broken::Rule)?;
        let capabilities = Capabilities::of(&start_ok.client_properties);
        connection.notify_cancel = capabilities.consumer_cancel_notify;
        connection.introduction.mechanism = login.mechanism.clone();
        connection.introduction.client_properties = start_ok.client_properties.detached();
        connection.ask(Request::Login(login.clone()));
        Ok(ExpectAdmission { login, capabilities })
    }
}

impl ExpectOpen {
    fn accept(&self, open: ConnectionOpen, connection: &mut Connection) -> ExpectWelcome {
        let introduction = std::mem::take(&mut connection.introduction);
        let opening = Opening { virtual_host: open.virtual_host.detached(), introduction };
        connection.ask(Request::OpenVirtualHost(Box::new(opening)));
        ExpectWelcome { capabilities: self.capabilities, tuning: self.tuning }
    }
}

impl Capabilities {
    /// A capability counts only if its value is true.
    fn of(client_properties: &FieldTable) -> Self {
        let table = client_properties.lookup("capabilities").and_then(FieldValue::as_table);
        let has = |name: &str| {
            let value = table.and_then(|table| table.lookup(name));
            value.and_then(FieldValue::as_boolean).unwrap_or(false)
        };
        Self {
            consumer_cancel_notify: has("consumer_cancel_notify"),
            connection_blocked: has("connection.blocked"),
            authentication_failure_close: has("authentication_failure_close"),
        }
    }
}

/// The next method of channel 0; heartbeats between are passed over.
fn next_method(input: &mut BytesMut, frame_max: usize) -> Result<Option<Method>, Broken> {
    loop {
        let Some(frame) = frame::view(input, frame_max).map_err(|_| Broken::Rule)? else {
            return Ok(None);
        };
        let size = frame.size();
        match (frame.kind, frame.channel) {
            (FrameKind::Heartbeat, 0) if frame.payload.is_empty() => input.advance(size),
            (FrameKind::Method, 0) => {
                let payload = Bytes::copy_from_slice(frame.payload);
                input.advance(size);
                return Method::decode(&payload).map(Some).map_err(|_| Broken::Rule);
            }
            _ => return Err(Broken::Rule),
        }
    }
}

/// Sorted by key, as RabbitMQ sends it; `leveret` is our own.
fn server_properties(settings: &Settings) -> FieldTable {
    let capabilities = CAPABILITIES.map(|name| (ShortString::from_static(name), true.into()));
    let capabilities = FieldTable::from_pairs(capabilities);
    let mut properties = FieldTable::from_pairs([(
        ShortString::from_static("capabilities"),
        FieldValue::Table(capabilities),
    )]);
    for (name, text) in [
        ("cluster_name", &settings.cluster_name),
        ("copyright", &settings.copyright),
        ("information", &settings.information),
        ("leveret", &settings.leveret),
        ("platform", &settings.platform),
        ("product", &settings.product),
        ("version", &settings.version),
    ] {
        properties.insert(ShortString::from_static(name), text.as_str().into());
    }
    properties
}
