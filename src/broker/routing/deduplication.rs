//! `x-message-deduplication`: all destinations, of messages with equal keys only the first.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::{
    circumstances::{Circumstances, Claim},
    headers::Headers,
    targets::{Basis, Found, Targets},
};
use crate::model::{
    FieldTable, FieldValue, Message, PropertyView, QueueId, ShortString,
    octets::{Field, Writer},
};

const KEY: &str = "x-deduplication-header";
const TIME_TO_LIVE: &[u8] = b"x-cache-ttl";

/// The destinations of one exchange, and where its keys are kept.
#[derive(Debug)]
pub(super) struct Deduplication {
    pub(super) targets: Targets,
    pub(super) annex: Option<QueueId>,
    /// The keys survive a restart: they are written with the messages that bring them.
    pub(super) persists: bool,
}

impl Deduplication {
    pub(super) fn find(
        &self,
        message: &Message,
        headers: &mut Option<Headers>,
        circumstances: &mut dyn Circumstances,
        found: &mut Found<'_>,
    ) {
        let headers = headers.get_or_insert_with(|| Headers::of(message));
        if let Some(annex) = self.annex
            && let Some(key) = headers.value(KEY.as_bytes())
        {
            found.depends_on(Basis::Chance);
            let claim = Claim { key: octets(key), time_to_live: time_to_live(headers) };
            if !circumstances.is_first(annex, claim) {
                found.repeats = Some(annex);
                return;
            }
            if self.persists {
                found.keep(self.annex);
            }
        }
        found.take(&self.targets);
    }
}

/// The key by which a message is told from others, if it has one.
pub(crate) fn key_of(message: &Message) -> Option<Bytes> {
    let properties = message.shared_properties();
    let pairs = PropertyView::of(&properties).ok()?.headers?;
    let headers = FieldTable::decode(&properties.slice_ref(pairs.as_slice())).ok()?;
    headers.lookup(KEY).map(octets)
}

/// Longer keys are kept as their digest, so that a cache is bounded by its number of keys.
const LONGEST: usize = 64;

/// Equal values are equal octets, in whatever width a number was sent.
fn octets(value: &FieldValue) -> Bytes {
    let value = value.as_integer().map_or_else(|| value.clone(), FieldValue::Int64);
    let mut octets = BytesMut::new();
    FieldTable::from_pairs([(ShortString::default(), value)]).write(&mut Writer::new(&mut octets));
    if octets.len() > LONGEST {
        return Bytes::copy_from_slice(&Sha256::digest(&octets));
    }
    octets.freeze()
}

fn time_to_live(headers: &Headers) -> Option<Duration> {
    let milliseconds = headers.value(TIME_TO_LIVE)?.as_integer()?;
    Some(Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)))
}
