//! `x-recent-history`: all destinations, and a copy for the history that new ones are given.

use super::{
    headers::Headers,
    targets::{Basis, Found, Targets},
};
use crate::model::{FieldValue, Message, QueueId};

const NO_STORE: &[u8] = b"x-recent-history-no-store";

/// The destinations of one exchange, and where its last messages are kept.
#[derive(Debug)]
pub(super) struct RecentHistory {
    pub(super) targets: Targets,
    pub(super) annex: Option<QueueId>,
}

impl RecentHistory {
    pub(super) fn find(
        &self,
        message: &Message,
        headers: &mut Option<Headers>,
        found: &mut Found<'_>,
    ) {
        found.take(&self.targets);
        let headers = headers.get_or_insert_with(|| Headers::of(message));
        if !headers.is_empty() {
            found.depends_on(Basis::Headers);
        }
        if headers.value(NO_STORE) != Some(&FieldValue::Boolean(true)) {
            found.keep(self.annex);
        }
    }
}
