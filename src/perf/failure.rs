//! Why a run could not be finished, or proved that the broker is wrong.

use std::io;

use thiserror::Error;

/// The one line that a failed run ends with.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("`{address}` is not an address: {reason}")]
    Address { address: String, reason: &'static str },
    #[error("{0}")]
    Options(String),
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("cannot use {path}: {source}")]
    File { path: String, source: io::Error },
    #[error("the broker dropped the connection{0}")]
    Dropped(&'static str),
    #[error("the broker refused: {code} {text}")]
    Refused { code: u16, text: String },
    #[error("the broker has been silent for {0} s")]
    Silent(u64),
    #[error("the broker sent something unexpected: {0}")]
    Unexpected(String),
    #[error("there is no process {0}")]
    NoProcess(String),
    #[error("a thread of the load generator ended early")]
    Thread,
    #[error("verification failed: {0}")]
    Verification(String),
}
