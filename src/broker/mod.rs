//! What a broker knows: virtual hosts, exchanges, bindings, queues, and how a message finds its way.

pub mod queue;
