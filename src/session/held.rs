//! Frames held back for channels that wait for an answer.

use std::collections::BTreeMap;

use bytes::BytesMut;

/// Octets held back for all channels of a connection, beyond which its input waits.
const ROOM: usize = 1024 * 1024;

/// Whole frames, in order, by channel.
#[derive(Debug, Default)]
pub(super) struct Held {
    frames: BTreeMap<u16, BytesMut>,
    octets: usize,
}

impl Held {
    pub(super) fn has_room(&self) -> bool {
        self.octets < ROOM
    }

    pub(super) fn push(&mut self, channel: u16, frame: &[u8]) {
        self.octets += frame.len();
        self.frames.entry(channel).or_default().extend_from_slice(frame);
    }

    /// The frames of the first channel that may go on.
    pub(super) fn take_first(
        &mut self,
        may_go_on: impl Fn(u16) -> bool,
    ) -> Option<(u16, BytesMut)> {
        let channel = *self.frames.keys().find(|channel| may_go_on(**channel))?;
        let frames = self.frames.remove(&channel)?;
        self.octets -= frames.len();
        Some((channel, frames))
    }

    /// Puts back what could not be taken yet.
    pub(super) fn put_back(&mut self, channel: u16, frames: BytesMut) {
        if !frames.is_empty() {
            self.octets += frames.len();
            self.frames.insert(channel, frames);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.octets = 0;
    }
}
