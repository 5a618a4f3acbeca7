//! Leveret, a message broker that speaks AMQP 0-9-1 exactly as RabbitMQ does.
//!
//! The modules are the layers, lowest first; each may know only those named in its paragraph, and
//! `tests/architecture.rs` holds them to it.

/// The words everyone uses: names, tables, properties, messages, identities, moments, refusals.
/// Knows nobody.
pub mod model;

/// Bytes to methods and back: frames, the table of methods, contents. Knows `model`.
pub mod wire;

/// One client's conversation: handshake, channels, exceptions. Knows `model` and `wire`, and no
/// broker, socket, clock or task.
pub mod session;

/// What a broker knows: queues, exchanges and routing. Knows `model`, and no frame, reply code,
/// clock or task.
pub mod broker;

/// What survives a crash: the journal, the segments behind it, and the way back from them. Knows
/// `model`, and does not interpret the records that it keeps.
pub mod store;

/// What makes several brokers one: replicated groups, and the rules by which their leaders change.
/// Knows `model`, and no socket, file, clock or task.
pub mod cluster;

/// Every setting with its default and its unit. Knows `model`.
pub mod config;

/// The load generator, a client of any broker. Knows `model` and `wire`.
pub mod perf;

/// `leveret ctl`: administration in the words of RabbitMQ's own tools, as a client of the control
/// plane. Knows `model` and `config`.
pub mod ctl;

/// Bytes and tasks: sockets on one side, sessions and other nodes on the other. Knows `model`,
/// `wire`, `session`, `cluster` and `config`.
pub mod net;

/// The control plane: what operators ask over HTTP. Knows `model`, `broker` and `config`.
pub mod admin;

/// Puts the broker together: binds, starts, wakes, stops. Knows all of the above.
pub mod server;

/// A broker inside a test, with a clock that the test moves. Knows all of the above.
pub mod testing;
