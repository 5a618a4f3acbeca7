//! What one user may do in one virtual host.

use crate::{
    broker::pattern::{BadPattern, Pattern},
    model::{Resource, ResourceKind, Right, ShortString, VirtualHostName},
};

/// A user's rights to the exchanges and queues of a virtual host, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    pub configure: Pattern,
    pub write: Pattern,
    pub read: Pattern,
}

/// A user's rights to the routing keys of one topic exchange. Without one, all keys are granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermission {
    write: KeyPattern,
    read: KeyPattern,
}

/// A pattern with the variables that RabbitMQ fills in: `{username}` and `{vhost}`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    text: String,
    filled: Pattern,
}

/// The name under which permissions know the default exchange (RabbitMQ 3.10).
const DEFAULT_EXCHANGE: ShortString = ShortString::from_static("amq.default");

impl Permission {
    /// # Errors
    /// When one of the three is no regular expression.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, BadPattern> {
        let [configure, write, read] = [configure, write, read].map(Pattern::new);
        Ok(Self { configure: configure?, write: write?, read: read? })
    }

    /// Everything.
    pub fn full() -> Self {
        Self::new(".*", ".*", ".*").expect("the pattern of everything is one")
    }

    /// Whether it grants a right to what has this name. An empty pattern grants nothing.
    pub(super) fn grants(&self, right: Right, name: &[u8]) -> bool {
        let pattern = match right {
            Right::Configure => &self.configure,
            Right::Write => &self.write,
            Right::Read => &self.read,
        };
        if pattern.as_str().is_empty() { name.is_empty() } else { pattern.matches(name) }
    }
}

impl TopicPermission {
    /// # Errors
    /// When one of the two is no regular expression.
    pub fn new(
        user: &ShortString,
        virtual_host: &VirtualHostName,
        write: &str,
        read: &str,
    ) -> Result<Self, BadPattern> {
        let fill = |text: &str| KeyPattern::new(text, user, virtual_host);
        Ok(Self { write: fill(write)?, read: fill(read)? })
    }

    /// As it was written.
    pub fn write(&self) -> &str {
        &self.write.text
    }

    /// As it was written.
    pub fn read(&self) -> &str {
        &self.read.text
    }

    pub(super) fn grants(&self, right: Right, key: &[u8]) -> bool {
        let pattern = if right == Right::Write { &self.write } else { &self.read };
        pattern.filled.matches(key)
    }
}

impl KeyPattern {
    /// What is filled in stands for itself: a user of the name `.*` is not every user.
    /// `{client_id}` stays as it is, for no client of AMQP has one.
    fn new(
        text: &str,
        user: &ShortString,
        virtual_host: &VirtualHostName,
    ) -> Result<Self, BadPattern> {
        let mut filled = text.to_owned();
        for (variable, value) in [("{username}", user), ("{vhost}", virtual_host)] {
            if filled.contains(variable) {
                filled = filled.replace(variable, &fancy_regex::escape(&value.text()));
            }
        }
        let filled = filled.replace("{client_id}", r"\{client_id\}");
        Ok(Self { text: text.to_owned(), filled: Pattern::new(&filled)? })
    }
}

/// The resource as permissions name it.
pub(in crate::broker) fn as_permitted(mut resource: Resource) -> Resource {
    if resource.kind == ResourceKind::Exchange && resource.name.is_empty() {
        resource.name = DEFAULT_EXCHANGE;
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_grants_what_its_patterns_match() {
        let permission = Permission::new("^a", "", ".*").unwrap();
        assert!(permission.grants(Right::Configure, b"abc"));
        assert!(!permission.grants(Right::Configure, b"bca"));
        assert!(!permission.grants(Right::Write, b"abc"));
        assert!(permission.grants(Right::Read, b"anything"));
        assert_eq!(Permission::new(".*", "(", ".*").unwrap_err().text, "(");
    }

    #[test]
    fn variables_stand_for_the_user_and_the_virtual_host() {
        let topic = |user: &'static str, write: &str| {
            let (user, home) = (ShortString::from_static(user), VirtualHostName::from_static("/"));
            TopicPermission::new(&user, &home, write, ".*").unwrap()
        };
        let anna = topic("anna", "^{username}-{vhost}-");
        assert!(anna.grants(Right::Write, b"anna-/-x") && !anna.grants(Right::Write, b"bea-/-x"));
        assert_eq!(anna.write(), "^{username}-{vhost}-");
        assert!(!topic(".*", "^{username}$").grants(Right::Write, b"anna"));
        let device = topic("anna", "^{client_id}$");
        assert!(!device.grants(Right::Write, b"d1") && device.grants(Right::Write, b"{client_id}"));
    }
}
