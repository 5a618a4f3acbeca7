//! Numbers and octets as the store has them: little-endian, and read without trust.

/// Appends a number in groups of seven bits, the lowest first; all but the last have the top bit
/// set.
#[inline]
pub(crate) fn put_varint(octets: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        octets.push(number as u8 | 0x80);
        number >>= 7;
    }
    octets.push(number as u8);
}

/// Appends octets behind their number.
pub(crate) fn put_octets(octets: &mut Vec<u8>, value: &[u8]) {
    put_varint(octets, value.len() as u64);
    octets.extend_from_slice(value);
}

/// Reads from the front of octets. `None` means that they end too early or mean nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let octet = self.u8()?;
            let bits = u64::from(octet & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if octet < 0x80 {
                return Some(number);
            }
        }
        None
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Octets behind their number.
    #[inline]
    pub(crate) fn octets(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.varint()?).ok()?;
        self.take(count)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let mut octets = Vec::new();
        numbers.iter().for_each(|number| put_varint(&mut octets, *number));
        put_octets(&mut octets, b"end");
        let mut reader = Reader::new(&octets);
        assert_eq!(numbers.map(|_| reader.varint().unwrap()), numbers);
        assert_eq!((reader.octets(), reader.is_empty()), (Some(&b"end"[..]), true));
    }

    #[test]
    fn numbers_without_end_are_none() {
        assert_eq!(Reader::new(&[0xff; 11]).varint(), None);
        assert_eq!(Reader::new(&[0x80; 3]).varint(), None);
        assert_eq!(Reader::new(&[3, 1]).octets(), None);
    }
}
