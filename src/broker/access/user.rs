//! One user, as the broker's own directory keeps him.

use super::password::PasswordHash;
use crate::model::{Limits, ShortString};

/// What is known of one user beside the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Without one, no password lets the user in: a certificate may.
    pub password: Option<PasswordHash>,
    /// What the user may do beside sending and receiving, in RabbitMQ's words (`administrator`,
    /// `monitoring`, …); other words are kept and mean nothing.
    pub tags: Vec<ShortString>,
    pub limits: Limits,
}

impl User {
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|known| *known == tag)
    }
}
