//! Leveret, a message broker that speaks AMQP 0-9-1 exactly as RabbitMQ does.
//!
//! The modules are the layers, lowest first; each may know only those named in its paragraph, and
//! `tests/architecture.rs` holds them to it.

/// The words everyone uses: names, tables, properties, messages, identities, moments, refusals.
pub mod model;

/// Bytes to methods and back: frames, the table of methods, content headers. Knows `model`.
pub mod wire;
