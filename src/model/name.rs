//! Strings of the protocol, and the kinds of name they are.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    ops::Deref,
};

use bytes::Bytes;
use thiserror::Error;

use super::{
    malformed::Malformed,
    octets::{Field, Reader, Writer},
};

/// At most 255 octets, usually text; cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortString(Bytes);

/// A short string was asked to hold this many octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} octets are too many for a short string, which holds 255")]
pub struct NameTooLong(pub usize);

impl ShortString {
    pub fn new(octets: Bytes) -> Result<Self, NameTooLong> {
        if octets.len() > 255 {
            return Err(NameTooLong(octets.len()));
        }
        Ok(Self(octets))
    }

    /// # Panics
    /// When `text` is longer than 255 octets.
    pub const fn from_static(text: &'static str) -> Self {
        assert!(text.len() <= 255, "a short string holds 255 octets");
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// What followed a length octet, and so is never too long.
    pub(super) fn from_wire(octets: Bytes) -> Self {
        debug_assert!(octets.len() <= 255);
        Self(octets)
    }
}

/// Octets of any kind and number; cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LongString(pub Bytes);

impl LongString {
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Bytes> for LongString {
    fn from(octets: Bytes) -> Self {
        Self(octets)
    }
}

impl From<&str> for LongString {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for LongString {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<ShortString> for LongString {
    fn from(string: ShortString) -> Self {
        Self(string.0)
    }
}

/// What the two kinds of string have in common.
macro_rules! strings {
    ($($name:ident),*) => {$(
        impl $name {
            pub fn as_bytes(&self) -> &Bytes {
                &self.0
            }

            /// The text, with what is not UTF-8 replaced.
            pub fn text(&self) -> Cow<'_, str> {
                String::from_utf8_lossy(&self.0)
            }

            /// A copy with memory of its own: what outlives its frame must not keep the read
            /// buffer alive.
            pub fn detached(&self) -> Self {
                Self(Bytes::copy_from_slice(&self.0))
            }
        }
        impl Deref for $name {
            type Target = [u8];
            fn deref(&self) -> &[u8] {
                &self.0
            }
        }
    )*};
}
strings!(ShortString, LongString);

/// What every string and name here has of text.
macro_rules! textual {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str(&self.text())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.text(), to)
            }
        }
        impl Borrow<[u8]> for $name {
            fn borrow(&self) -> &[u8] {
                self
            }
        }
        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                self
            }
        }
        impl PartialEq<str> for $name {
            fn eq(&self, text: &str) -> bool {
                self.as_ref() == text.as_bytes()
            }
        }
        impl PartialEq<&str> for $name {
            fn eq(&self, text: &&str) -> bool {
                self.as_ref() == text.as_bytes()
            }
        }
    )*};
}
textual!(ShortString, LongString);

/// How a short string or a name comes from text that may be too long.
macro_rules! from_text {
    ($($name:ident),*) => {$(
        impl TryFrom<&str> for $name {
            type Error = NameTooLong;
            fn try_from(text: &str) -> Result<Self, NameTooLong> {
                Self::new(Bytes::copy_from_slice(text.as_bytes()))
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameTooLong;
            fn try_from(text: String) -> Result<Self, NameTooLong> {
                Self::new(text.into())
            }
        }
    )*};
}
from_text!(ShortString);

/// Kinds of name: each is a short string that cannot be taken for another kind.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ShortString);

        impl $name {
            pub fn new(octets: Bytes) -> Result<Self, NameTooLong> {
                ShortString::new(octets).map(Self)
            }

            /// # Panics
            /// When `text` is longer than 255 octets.
            pub const fn from_static(text: &'static str) -> Self {
                Self(ShortString::from_static(text))
            }

            /// A copy with memory of its own, for a name that outlives its frame.
            pub fn detached(&self) -> Self {
                Self(self.0.detached())
            }
        }

        impl Deref for $name {
            type Target = ShortString;
            fn deref(&self) -> &ShortString {
                &self.0
            }
        }
        impl From<ShortString> for $name {
            fn from(string: ShortString) -> Self {
                Self(string)
            }
        }
        impl From<$name> for ShortString {
            fn from(name: $name) -> Self {
                name.0
            }
        }
        impl Field for $name {
            fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                ShortString::read(from).map(Self)
            }
            fn write(&self, to: &mut Writer<'_>) {
                self.0.write(to);
            }
        }
        textual!($name);
        from_text!($name);
    )*};
}

names! {
    /// Names an exchange within its virtual host; the default exchange's name is empty.
    ExchangeName
    /// Names a queue within its virtual host; empty, it means the channel's last declared queue.
    QueueName
    /// What an exchange compares with its bindings.
    RoutingKey
    /// Names a consumer within its channel.
    ConsumerTag
    /// Names a virtual host: a set of exchanges and queues of its own.
    VirtualHostName
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_name_holds_255_octets_and_no_more() {
        assert_eq!(QueueName::try_from("q".repeat(255)).unwrap().len(), 255);
        assert_eq!(QueueName::try_from("q".repeat(256)), Err(NameTooLong(256)));
    }

    #[test]
    fn a_map_by_name_is_looked_up_by_octets() {
        let queues = BTreeMap::from([(QueueName::from_static("work"), 1)]);
        assert_eq!(queues.get(&b"work"[..]), Some(&1));
        assert_eq!(queues.get(&b"rest"[..]), None);
    }

    #[test]
    fn a_name_that_is_not_text_is_shown_all_the_same() {
        let key = RoutingKey::new(Bytes::from_static(b"a\xff")).unwrap();
        assert_eq!(key.to_string(), "a\u{fffd}");
    }
}
