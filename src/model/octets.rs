//! Reading and writing the primitive values of AMQP 0-9-1: integers, packed bits and strings.

use bytes::{BufMut, Bytes, BytesMut};
use nom::{
    IResult, Parser,
    bytes::complete::take,
    multi::length_data,
    number::complete::{be_u8, be_u16, be_u32, be_u64},
};

use super::{
    malformed::Malformed,
    name::{LongString, ShortString},
};

/// A value that takes a place among a method's arguments.
pub trait Field: Sized {
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed>;
    fn write(&self, to: &mut Writer<'_>);
}

/// A walk over borrowed octets that hands out numbers and slices and owns nothing.
#[derive(Clone, Copy, Debug)]
pub struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    pub fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    #[inline]
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.parse(be_u8)
    }

    #[inline]
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.parse(be_u16)
    }

    #[inline]
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.parse(be_u32)
    }

    #[inline]
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.parse(be_u64)
    }

    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        self.parse(take(count))
    }

    /// The octets of a short string, whatever they are.
    #[inline]
    pub fn short(&mut self) -> Result<&'a [u8], Malformed> {
        self.parse(|octets| length_data(be_u8).parse(octets))
    }

    /// The octets of a long string, of a byte array, or of a table or an array still encoded.
    #[inline]
    pub fn long(&mut self) -> Result<&'a [u8], Malformed> {
        self.parse(|octets| length_data(be_u32).parse(octets))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Fails unless every octet has been read.
    #[inline]
    pub fn finish(self) -> Result<(), Malformed> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(Malformed::TrailingOctets(left)),
        }
    }

    #[inline]
    fn parse<T>(
        &mut self,
        parser: impl FnOnce(&'a [u8]) -> IResult<&'a [u8], T, ()>,
    ) -> Result<T, Malformed> {
        let (rest, value) = parser(self.0).map_err(|_| Malformed::Truncated)?;
        self.0 = rest;
        Ok(value)
    }
}

/// A walk over shared octets: strings come out as slices that keep the octets' memory alive.
///
/// Consecutive bits share an octet, the first in its lowest bit (AMQP 0-9-1 §4.2.5.2).
#[derive(Debug)]
pub struct Reader<'a> {
    source: &'a Bytes,
    octets: Octets<'a>,
    bits: Option<(u8, u8)>,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a Bytes) -> Self {
        Self { source, octets: Octets::new(source), bits: None }
    }

    /// The octets that follow; a bit read next begins a fresh octet.
    #[inline]
    pub fn octets(&mut self) -> &mut Octets<'a> {
        self.bits = None;
        &mut self.octets
    }

    /// A short string without a check of its text, as in table keys and properties.
    pub fn short_octets(&mut self) -> Result<ShortString, Malformed> {
        let octets = self.octets().short()?;
        Ok(ShortString::from_wire(self.share(octets)))
    }

    /// A reader of `part`, which must be a slice of what this reader reads.
    pub(super) fn within(&self, part: &'a [u8]) -> Self {
        Self { source: self.source, octets: Octets::new(part), bits: None }
    }

    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Fails unless every octet has been read.
    pub fn finish(self) -> Result<(), Malformed> {
        self.octets.finish()
    }

    /// `part` of the source, sharing its memory.
    pub(super) fn share(&self, part: &'a [u8]) -> Bytes {
        self.source.slice_ref(part)
    }

    fn bit(&mut self) -> Result<bool, Malformed> {
        let (octet, next) = match self.bits.filter(|(_, next)| *next < 8) {
            Some(packed) => packed,
            None => (self.octets.u8()?, 0),
        };
        self.bits = Some((octet, next + 1));
        Ok(octet & (1 << next) != 0)
    }
}

/// The counterpart of [`Reader`]: appends to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    /// The value of the open octet of bits, which is the buffer's last, and its first free bit.
    bits: Option<(u8, u8)>,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut BytesMut) -> Self {
        Self { out, bits: None }
    }

    /// The buffer, to append to; a bit written next begins a fresh octet.
    #[inline]
    pub fn octets(&mut self) -> &mut BytesMut {
        self.bits = None;
        self.out
    }

    pub fn short(&mut self, octets: &ShortString) {
        let out = self.octets();
        out.put_u8(octets.len() as u8);
        out.put_slice(octets);
    }

    /// # Panics
    /// When there are more than `u32::MAX` octets, which no frame could hold.
    pub fn long(&mut self, octets: &[u8]) {
        let length = u32::try_from(octets.len()).expect("a long string is below 4 GiB");
        let out = self.octets();
        out.put_u32(length);
        out.put_slice(octets);
    }

    /// Lets `write` append octets and puts their number, as 32 bits, before them.
    pub fn counted(&mut self, write: impl FnOnce(&mut Self)) {
        let start = self.out.len() + 4;
        self.octets().put_u32(0);
        write(self);
        let length = u32::try_from(self.out.len() - start).expect("a table is below 4 GiB");
        self.octets()[start - 4..start].copy_from_slice(&length.to_be_bytes());
    }

    fn bit(&mut self, value: bool) {
        let (octet, next) = match self.bits.filter(|(_, next)| *next < 8) {
            Some(packed) => {
                self.out.truncate(self.out.len() - 1);
                packed
            }
            None => (0, 0),
        };
        let octet = octet | u8::from(value) << next;
        self.out.put_u8(octet);
        self.bits = Some((octet, next + 1));
    }
}

impl Field for bool {
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.bit()
    }
    fn write(&self, to: &mut Writer<'_>) {
        to.bit(*self);
    }
}

macro_rules! number {
    ($($type:ident by $put:ident),*) => {$(
        impl Field for $type {
            fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                from.octets().$type()
            }
            fn write(&self, to: &mut Writer<'_>) {
                to.octets().$put(*self);
            }
        }
    )*};
}
number!(u8 by put_u8, u16 by put_u16, u32 by put_u32, u64 by put_u64);

/// Text: a short string among a method's arguments must be valid UTF-8 (RabbitMQ 3.10).
impl Field for ShortString {
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let string = from.short_octets()?;
        std::str::from_utf8(&string).map_err(|_| Malformed::InvalidUtf8)?;
        Ok(string)
    }
    fn write(&self, to: &mut Writer<'_>) {
        to.short(self);
    }
}

impl Field for LongString {
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let octets = from.octets().long()?;
        Ok(Self(from.share(octets)))
    }
    fn write(&self, to: &mut Writer<'_>) {
        to.long(&self.0);
    }
}
