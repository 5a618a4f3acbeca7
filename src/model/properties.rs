//! The fourteen properties of a message: decoded, or walked over where they lie encoded.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    malformed::Malformed,
    name::ShortString,
    octets::{Field, Octets, Reader, Writer},
    table::FieldTable,
};

/// No property at all, encoded.
const NO_PROPERTIES: &[u8] = &[0, 0];

/// The properties, each a flag bit, a name, a type, and a type that borrows.
macro_rules! properties {
    ($($(#[$doc:meta])* $bit:literal $name:ident: $type:ty, $borrowed:ty;)*) => {
        /// A message's properties, decoded. An absent property is not an empty one.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Properties { $($(#[$doc])* pub $name: Option<$type>),* }

        impl Properties {
            /// Name, type and flag bit of every property, in wire order.
            pub const TABLE: &[(&str, &str, u8)] =
                &[$((stringify!($name), stringify!($type), $bit)),*];

            fn flags(&self) -> u16 {
                0 $(| u16::from(self.$name.is_some()) << $bit)*
            }

            fn read(flags: u16, from: &mut Reader<'_>) -> Result<Self, Malformed> {
                let mut properties = Self::default();
                $(if flags & (1 << $bit) != 0 {
                    properties.$name = Some(Property::take(from)?);
                })*
                Ok(properties)
            }

            fn write(&self, to: &mut Writer<'_>) {
                $(if let Some(value) = &self.$name { value.write(to); })*
            }
        }

        /// A message's properties, left where they are encoded: walking over them copies nothing.
        ///
        /// What this accepts, [`Properties::decode`] accepts.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct PropertyView<'a> { $($(#[$doc])* pub $name: Option<$borrowed>),* }

        impl<'a> PropertyView<'a> {
            fn walk(flags: u16, from: &mut Octets<'a>) -> Result<Self, Malformed> {
                let mut view = Self::default();
                $(if flags & (1 << $bit) != 0 {
                    view.$name = Some(Borrowed::take(from)?);
                })*
                Ok(view)
            }
        }
    };
}

properties! {
    /// What the body is, as a MIME type.
    15 content_type: ShortString, &'a [u8];
    /// How the body was packed, as a MIME encoding.
    14 content_encoding: ShortString, &'a [u8];
    /// Names with values that the publisher chose; the headers exchange routes by them.
    13 headers: FieldTable, TableOctets<'a>;
    /// 2 when the message is to survive a restart.
    12 delivery_mode: u8, u8;
    /// How far ahead of others the message goes in a queue with priorities.
    11 priority: u8, u8;
    /// Which request a reply answers.
    10 correlation_id: ShortString, &'a [u8];
    /// Where a reply is to go.
    9 reply_to: ShortString, &'a [u8];
    /// Milliseconds the message may wait in a queue, as decimal text.
    8 expiration: ShortString, &'a [u8];
    /// The publisher's own name for the message.
    7 message_id: ShortString, &'a [u8];
    /// When the message was made, in seconds since 1970.
    6 timestamp: u64, u64;
    /// The publisher's own kind of message; `type` on the wire.
    5 kind: ShortString, &'a [u8];
    /// Who published it; must be the connection's user when present.
    4 user_id: ShortString, &'a [u8];
    /// Which application published it.
    3 app_id: ShortString, &'a [u8];
    /// Nothing: the property is kept for the specification's sake.
    2 cluster_id: ShortString, &'a [u8];
}

impl Properties {
    /// Reads the flags and the values that follow them, all there is.
    ///
    /// The two lowest flags mean nothing: that the lowest announces a second word of flags
    /// (AMQP 0-9-1 §4.2.6.1) is not heeded, so that such a word is octets too many (RabbitMQ 3.10).
    pub fn decode(octets: &Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(octets);
        let flags = reader.octets().u16()?;
        let properties = Self::read(flags, &mut reader)?;
        reader.finish()?;
        Ok(properties)
    }

    /// Appends the flags and the values.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u16(self.flags());
        self.write(&mut Writer::new(out));
    }

    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }
}

impl<'a> PropertyView<'a> {
    /// Walks over the flags and the values, and fails where RabbitMQ would fail to read them.
    #[inline]
    pub fn of(octets: &'a [u8]) -> Result<Self, Malformed> {
        if octets == NO_PROPERTIES {
            return Ok(Self::default());
        }
        let mut octets = Octets::new(octets);
        let flags = octets.u16()?;
        let view = Self::walk(flags, &mut octets)?;
        octets.finish()?;
        Ok(view)
    }
}

/// The pairs of a table that is known to be readable, still encoded, without their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableOctets<'a>(&'a [u8]);

impl<'a> TableOctets<'a> {
    pub fn as_slice(self) -> &'a [u8] {
        self.0
    }
}

/// How a property's value is read; its strings are octets of any kind, unlike a method's.
trait Property: Sized {
    fn take(from: &mut Reader<'_>) -> Result<Self, Malformed>;
}

impl Property for ShortString {
    fn take(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.short_octets()
    }
}

impl Property for u8 {
    fn take(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::read(from)
    }
}

impl Property for u64 {
    fn take(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::read(from)
    }
}

impl Property for FieldTable {
    fn take(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::read(from)
    }
}

/// How a property's value is found where it lies.
trait Borrowed<'a>: Sized {
    fn take(from: &mut Octets<'a>) -> Result<Self, Malformed>;
}

impl<'a> Borrowed<'a> for &'a [u8] {
    fn take(from: &mut Octets<'a>) -> Result<Self, Malformed> {
        from.short()
    }
}

impl Borrowed<'_> for u8 {
    fn take(from: &mut Octets<'_>) -> Result<Self, Malformed> {
        from.u8()
    }
}

impl Borrowed<'_> for u64 {
    fn take(from: &mut Octets<'_>) -> Result<Self, Malformed> {
        from.u64()
    }
}

impl<'a> Borrowed<'a> for TableOctets<'a> {
    fn take(from: &mut Octets<'a>) -> Result<Self, Malformed> {
        let pairs = from.long()?;
        FieldTable::check(pairs)?;
        Ok(Self(pairs))
    }
}
