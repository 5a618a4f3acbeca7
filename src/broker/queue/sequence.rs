//! Messages in the order of their positions, in pieces.

use std::collections::VecDeque;

use super::contents::Entry;

/// How many messages a piece of a [`Sequence`] holds.
const PIECE: usize = 128;

/// Messages by ascending position, in pieces: a long queue neither moves when it grows, which would
/// hold everybody up, nor keeps its memory when it has become short.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// No piece is empty, except when it is the only one.
    pieces: VecDeque<VecDeque<Entry>>,
    /// What the messages take.
    octets: usize,
}

impl Sequence {
    #[inline]
    pub(super) fn push_back(&mut self, entry: Entry) {
        self.octets += entry.message.size();
        match self.pieces.back_mut() {
            Some(piece) if piece.len() < PIECE => piece.push_back(entry),
            Some(_) => self.add_piece(entry),
            None => self.pieces.push_back(VecDeque::from([entry])),
        }
    }

    pub(super) fn push_front(&mut self, entry: Entry) {
        self.octets += entry.message.size();
        match self.pieces.front_mut() {
            Some(piece) if piece.len() < PIECE => piece.push_front(entry),
            _ => self.pieces.push_front(VecDeque::from([entry])),
        }
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<Entry> {
        let piece = self.pieces.front_mut()?;
        let entry = piece.pop_front();
        if piece.is_empty() && self.pieces.len() > 1 {
            self.pieces.pop_front();
        }
        self.octets -= entry.as_ref().map_or(0, |entry| entry.message.size());
        entry
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&Entry> {
        self.pieces.front()?.front()
    }

    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Whether so many pieces are begun.
    #[inline]
    pub(super) fn reaches(&self, pieces: usize) -> bool {
        self.pieces.len() >= pieces
    }

    /// Takes everything out, in order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Entry> + '_ {
        self.octets = 0;
        self.pieces.drain(..).flatten()
    }

    #[cold]
    fn add_piece(&mut self, entry: Entry) {
        let mut piece = VecDeque::with_capacity(PIECE);
        piece.push_back(entry);
        self.pieces.push_back(piece);
    }
}
