//! Frames between nodes, as octets: a length, a kind, a payload.
//!
//! ```text
//! 0        4      5
//! | length | kind | payload …        length: u32, little-endian, of the payload alone
//! ```
//!
//! The highest bit of the length marks the frames that the connections have for themselves; all
//! kinds without it belong to whom the nodes are connected for.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Octets in front of a payload.
pub(super) const HEADER: usize = 5;
const OURS: u32 = 1 << 31;

/// Parts up to this size are copied: that costs less than a reference and a slice of their own.
const COPIED: usize = 4 * 1024;
/// What small parts are gathered in.
const CHUNK: usize = 32 * 1024;

/// Whose a frame is, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User(u8),
    /// The connections' own: a heartbeat.
    Heartbeat,
    /// The connections' own: the sender leaves, and says why.
    Goodbye,
    /// The connections' own, of a later version: it is skipped.
    Unknown,
}

/// A frame that its class does not allow.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a frame of {length} octets, and {limit} are allowed")]
pub(super) struct TooLarge {
    pub(super) length: usize,
    pub(super) limit: usize,
}

/// Octets on their way out, in as few pieces as is cheap.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    octets: usize,
}

impl Chain {
    /// Adds a frame. The length of its parts together must fit 31 bits.
    pub(super) fn push_frame(&mut self, kind: Kind, parts: &[Bytes]) {
        let length: usize = parts.iter().map(Bytes::len).sum();
        let length = u32::try_from(length).expect("frames are limited far below");
        let (mark, kind) = kind.octets();
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&(length | mark).to_le_bytes());
        header[4] = kind;
        self.copy(&header);
        for part in parts {
            if part.len() <= COPIED {
                self.copy(part);
            } else {
                self.seal();
                self.octets += part.len();
                self.pieces.push_back(part.clone());
            }
        }
    }

    fn copy(&mut self, octets: &[u8]) {
        if self.tail.capacity() - self.tail.len() < octets.len() {
            self.seal();
            self.tail = BytesMut::with_capacity(CHUNK);
        }
        self.tail.put_slice(octets);
        self.octets += octets.len();
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}

impl Buf for Chain {
    fn remaining(&self) -> usize {
        self.octets
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&self.tail, |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let pieces = self.pieces.iter().map(|piece| &piece[..]).chain(tail);
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut octets: usize) {
        self.octets -= octets;
        while let Some(piece) = self.pieces.front_mut() {
            if octets < piece.len() {
                piece.advance(octets);
                return;
            }
            octets -= piece.len();
            self.pieces.pop_front();
        }
        self.tail.advance(octets);
    }
}

impl Kind {
    fn octets(self) -> (u32, u8) {
        match self {
            Self::User(kind) => (0, kind),
            Self::Heartbeat => (OURS, 1),
            Self::Goodbye => (OURS, 2),
            Self::Unknown => (OURS, 0),
        }
    }

    fn of(mark: u32, kind: u8) -> Self {
        match (mark, kind) {
            (0, kind) => Self::User(kind),
            (_, 1) => Self::Heartbeat,
            (_, 2) => Self::Goodbye,
            _ => Self::Unknown,
        }
    }
}

/// Takes the next frame from what has arrived, if it is whole. If not, there is room for the rest
/// of it afterwards.
pub(super) fn split(
    arrived: &mut BytesMut,
    limit: usize,
) -> Result<Option<(Kind, Bytes)>, TooLarge> {
    let Some(header) = arrived.first_chunk::<HEADER>() else { return Ok(None) };
    let word = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let (mark, length) = (word & OURS, (word & !OURS) as usize);
    let kind = Kind::of(mark, header[4]);
    if length > limit {
        return Err(TooLarge { length, limit });
    }
    if arrived.len() < HEADER + length {
        arrived.reserve(HEADER + length - arrived.len());
        return Ok(None);
    }
    arrived.advance(HEADER);
    Ok(Some((kind, arrived.split_to(length).freeze())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(size: usize) -> Bytes {
        (0..size).map(|at| (at * 7 % 251) as u8).collect::<Vec<_>>().into()
    }

    fn parts(size: usize) -> [Bytes; 2] {
        let whole = octets(size);
        [whole.slice(..size / 3), whole.slice(size / 3..)]
    }

    /// What comes out of a chain when it is written in steps of so many octets.
    fn written(mut chain: Chain, step: usize) -> Vec<(Kind, Bytes)> {
        let (mut arrived, mut found) = (BytesMut::new(), Vec::new());
        while chain.has_remaining() {
            let size = chain.chunk().len().min(step);
            arrived.extend_from_slice(&chain.chunk()[..size]);
            chain.advance(size);
            found.extend(std::iter::from_fn(|| split(&mut arrived, 1 << 20).unwrap()));
        }
        assert!(arrived.is_empty());
        found
    }

    #[test]
    fn what_is_pushed_comes_out_in_order_however_it_is_cut() {
        let sizes = [0, 1, 300, COPIED, COPIED + 1, CHUNK, 3 * CHUNK, 5, 0, CHUNK - 3];
        for step in [1, 2, 7, 100, 5000, 100_000] {
            let (mut chain, mut expected) = (Chain::default(), Vec::new());
            for (kind, size) in sizes.into_iter().enumerate() {
                chain.push_frame(Kind::User(kind as u8), &parts(size));
                expected.push((Kind::User(kind as u8), octets(size)));
            }
            chain.push_frame(Kind::Heartbeat, &[]);
            expected.push((Kind::Heartbeat, Bytes::new()));
            assert!(written(chain, step) == expected, "cut every {step} octets");
        }
    }

    #[test]
    fn all_pieces_can_be_written_at_once() {
        let mut chain = Chain::default();
        chain.push_frame(Kind::User(1), &[octets(CHUNK), octets(10), octets(CHUNK)]);
        chain.push_frame(Kind::User(1), &[octets(10)]);
        let mut slices = [IoSlice::new(&[]); 8];
        let count = chain.chunks_vectored(&mut slices);
        assert_eq!(count, 5);
        let total: usize = slices[..count].iter().map(|slice| slice.len()).sum();
        assert_eq!(total, chain.remaining());
    }

    #[test]
    fn a_frame_beyond_the_limit_is_found_out_by_its_header() {
        let mut arrived = BytesMut::from(&[1, 1, 0, 0, 9][..]);
        assert_eq!(split(&mut arrived, 256), Err(TooLarge { length: 257, limit: 256 }));
        assert_eq!(split(&mut arrived, 257), Ok(None));
        assert_eq!(split(&mut BytesMut::from(&[1, 0, 0, 0][..]), 0), Ok(None));
    }
}
