//! Further routing keys that a publisher names in the headers `CC` and `BCC`.

use crate::model::{
    FieldTable, FieldValue, History, LongString, Malformed, Message, Properties, PropertyView,
    Refusal,
};

const CC: &str = "CC";
const BCC: &str = "BCC";

/// Who else a message is for: those that its consumers may see, and those that they may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipients {
    carbon: Vec<LongString>,
    blind: Vec<LongString>,
}

impl Recipients {
    /// Takes the further keys from a message just published. Without any, which is told by a look
    /// at the encoded headers, the message comes back as it was; otherwise without its `BCC`
    /// header, whose keys it keeps in its history.
    pub fn separate(message: Message) -> Result<(Message, Self), Refusal> {
        if !may_name_recipients(&message) {
            return Ok((message, Self::default()));
        }
        let mut properties = Properties::decode(&message.shared_properties())
            .map_err(|_| Refusal::InvalidProperties)?;
        let Some(headers) = &mut properties.headers else {
            return Ok((message, Self::default()));
        };
        let carbon = keys(headers, CC)?;
        let blind = keys(headers, BCC)?;
        if headers.remove(BCC).is_none() {
            return Ok((message, Self { carbon, blind }));
        }
        let stripped = message.with_properties(&properties.to_bytes());
        let history = History { blind: blind.clone(), ..History::default() };
        Ok((stripped.with_history(history), Self { carbon, blind }))
    }

    /// All of them, as [`super::super::topology::Topology::route`] wants them.
    pub fn into_keys(self) -> Vec<LongString> {
        let Self { mut carbon, blind } = self;
        carbon.extend(blind);
        carbon
    }
}

/// The keys beside its routing key that a message is routed by when it leaves its queue for a
/// dead-letter exchange: those of `CC`, then, `with_blind`, those of `BCC`.
pub fn further_keys(message: &Message, with_blind: bool) -> Vec<LongString> {
    let history = message.history();
    if history.is_some_and(|history| history.readdressed) {
        return Vec::new();
    }
    let mut keys = carbon_keys(message).unwrap_or_default();
    if with_blind {
        keys.extend(history.into_iter().flat_map(|history| history.blind.iter().cloned()));
    }
    keys
}

fn carbon_keys(message: &Message) -> Result<Vec<LongString>, Malformed> {
    if !may_name_recipients(message) {
        return Ok(Vec::new());
    }
    let properties = Properties::decode(&message.shared_properties())?;
    Ok(properties.headers.and_then(|headers| keys(&headers, CC).ok()).unwrap_or_default())
}

/// What is no string among the keys is passed over; what is no array is refused.
fn keys(headers: &FieldTable, header: &'static str) -> Result<Vec<LongString>, Refusal> {
    match headers.lookup(header) {
        None => Ok(Vec::new()),
        Some(FieldValue::Array(values)) => {
            Ok(values.iter().filter_map(FieldValue::as_text).map(LongString::detached).collect())
        }
        Some(other) => Err(Refusal::InvalidRecipients { header, type_name: other.type_name() }),
    }
}

/// Whether the encoded headers hold either name behind its length; a value may hold it by chance.
fn may_name_recipients(message: &Message) -> bool {
    let headers = PropertyView::of(message.properties()).ok().and_then(|view| view.headers);
    headers.is_some_and(|pairs| {
        pairs.as_slice().windows(3).any(|octets| octets == b"\x02CC" || octets == b"\x03BC")
    })
}
