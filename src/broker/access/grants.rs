//! What one connection was granted, remembered until anybody's rights change.

use std::collections::HashSet;

use super::Authority;
use crate::model::{Refusal, Resource, Right, ShortString};

/// The rights that an authority has granted a connection's user.
#[derive(Debug, Default)]
pub(in crate::broker) struct Grants {
    version: u64,
    granted: HashSet<(Right, Resource)>,
}

/// So many are remembered at most; then it starts afresh.
const CAPACITY: usize = 256;

impl Grants {
    /// Refuses what the user has no right to. `resource` is named as permissions name it.
    pub(in crate::broker) fn check(
        &mut self,
        authority: &dyn Authority,
        user: &ShortString,
        right: Right,
        resource: Resource,
    ) -> Result<(), Refusal> {
        let version = authority.version();
        if self.version != version {
            *self = Self { version, ..Self::default() };
        }
        let asked = (right, resource);
        if self.granted.contains(&asked) {
            return Ok(());
        }
        if !authority.permits(user, right, &asked.1) {
            let (right, resource) = asked;
            return Err(Refusal::AccessDenied { right, resource, user: user.clone() });
        }
        if self.granted.len() >= CAPACITY {
            self.granted.clear();
        }
        self.granted.insert(asked);
        Ok(())
    }
}
