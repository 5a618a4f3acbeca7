//! How fast a client may publish: what goes to the broker at once, and when it must pause.

use crate::model::Moment;

/// What the broker grants a publisher next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Publications that may come at once; at least one does.
    pub at_once: usize,
    /// Nothing more is taken from the client before this moment.
    pub pause: Option<Moment>,
}

impl Pace {
    /// As fast as can be.
    pub const FREE: Self = Self { at_once: usize::MAX, pause: None };
}
