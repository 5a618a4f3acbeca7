//! What a broker knows: virtual hosts, exchanges, bindings, queues, and how a message finds its way.

pub mod dead_letter;
pub mod expiration;
pub mod queue;
#[cfg(test)]
mod random;
pub mod routing;
pub mod topology;
