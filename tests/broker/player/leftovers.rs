//! What a scenario leaves behind, and how it is removed from a broker that goes on.

use super::{Peer, Script, performance::play, reading::Reading, term::Term};
use std::collections::BTreeSet;

/// The names that a scenario has declared.
#[derive(Debug, Default)]
pub struct Leftovers {
    pub queues: BTreeSet<Vec<u8>>,
    pub exchanges: BTreeSet<Vec<u8>>,
}

/// Deletes what a scenario has declared, through a connection of its own.
pub fn clean_up(leftovers: &Leftovers, peer: &mut dyn Peer) -> Result<(), String> {
    let mut lines = String::from("# Deletes what is left.\n");
    for (method, names) in [
        ("queue.delete queue", &leftovers.queues),
        ("exchange.delete exchange", &leftovers.exchanges),
    ] {
        let reply = method.split(' ').next().unwrap_or(method);
        for name in names.iter().filter(|name| is_deletable(method, name)) {
            let name = Term::Text('S', name.clone());
            lines.push_str(&format!("> {method}={name}\n< {reply}-ok ...\n"));
        }
    }
    let script = Script::read(&lines)?;
    play(&script, peer).0
}

fn is_deletable(method: &str, name: &[u8]) -> bool {
    let is_reserved = name.starts_with(b"amq.") && method.starts_with("exchange");
    let is_plain = std::str::from_utf8(name).is_ok_and(|name| {
        Reading::new(&format!("{:?}", name)).quoted().is_ok_and(|read| read == name.as_bytes())
    });
    !name.is_empty() && !is_reserved && is_plain
}
