//! The control plane as operators and their tools meet it: over HTTP, by RabbitMQ's paths.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod client;
mod definitions;
mod doors;
mod messages;
mod objects;
mod roles;
mod words;

use std::net::SocketAddr;

use crate::process::Process;
use client::Answer;
use serde_json::Value;

/// A running broker with its control plane.
struct Managed {
    process: Process,
    amqp: SocketAddr,
    http: SocketAddr,
}

impl Managed {
    fn start(arguments: &[&str]) -> Self {
        let sockets = ["--listen", "127.0.0.1:0", "--management", "127.0.0.1:0"];
        let process = Process::start(&[&sockets[..], arguments].concat());
        let line = process.line();
        let address = |name: &str| {
            let (_, rest) = line.split_once(name).expect(&line);
            rest.split_once("; ").expect(&line).0.parse().unwrap()
        };
        let (amqp, http) = (address("amqp on "), address("management on "));
        Self { process, amqp, http }
    }

    fn new() -> Self {
        Self::start(&["--ephemeral"])
    }

    /// Asks as guest.
    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask_as("guest:guest", method, path, body)
    }

    fn ask_as(&self, user: &str, method: &str, path: &str, body: &str) -> Answer {
        client::ask(self.http, Some(user), method, path, body)
    }

    /// What is found there.
    fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    #[track_caller]
    fn check(&self, method: &str, path: &str, body: &str, status: u16) -> Answer {
        let answer = self.ask(method, path, body);
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.body);
        answer
    }
}
