//! Alarms of the node, as one connection has met them.

/// An alarm blocks a connection only when its client publishes, and until all alarms are over.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    reason: Option<&'static str>,
    is_blocking: bool,
    /// The client understands `connection.blocked`.
    pub(super) is_announced: bool,
}

impl Alarm {
    pub(super) fn raise(&mut self, reason: &'static str) {
        self.reason = Some(reason);
    }

    /// Blocks the connection; whether the client is to be told.
    pub(super) fn block(&mut self) -> bool {
        self.is_blocking = true;
        self.is_announced
    }

    /// All alarms are over; whether the connection was blocked.
    pub(super) fn clear(&mut self) -> bool {
        self.reason = None;
        std::mem::take(&mut self.is_blocking)
    }

    pub(super) fn reason(&self) -> Option<&'static str> {
        self.reason
    }

    #[inline]
    pub(super) fn is_raised(&self) -> bool {
        self.reason.is_some()
    }

    #[inline]
    pub(super) fn is_blocking(&self) -> bool {
        self.is_blocking
    }
}
