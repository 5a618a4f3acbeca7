//! What a replica does with the messages of others.

use raft::{
    StateRole,
    eraftpb::{Message, MessageType},
};

use super::{
    super::{GroupMessage, message::Body},
    desk::Down,
    replica::Replica,
};

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Taken,
    /// There is no leader: campaign when it is this replica's turn.
    Leaderless(Option<u32>),
    /// The leader knows of entries that the log here does not have.
    Broken,
}

impl Replica {
    /// Takes in a message that is for this replica.
    pub(super) fn hear(&mut self, message: GroupMessage, down: &Down, seed: u64) -> Heard {
        match message.body {
            Body::LeaderGone { term } => {
                if self.leader() == Some(message.from) && !self.leads() && self.term() <= term {
                    return Heard::Leaderless(self.distrust(down, seed));
                }
                Heard::Taken
            }
            Body::Raft(message) => self.step(*message),
        }
    }

    fn step(&mut self, message: Message) -> Heard {
        let raft = &self.raft.raft;
        let kind = message.get_msg_type();
        let current = message.term >= raft.term;
        let last = raft.raft_log.last_index();
        if kind == MessageType::MsgHeartbeat && current && message.commit > last {
            return Heard::Broken;
        }
        if kind == MessageType::MsgAppendResponse && !message.reject && message.index > last {
            return Heard::Taken;
        }
        if kind == MessageType::MsgTimeoutNow && !self.is_settled() {
            return Heard::Taken;
        }
        let asks = self.asks_for_votes(&message);
        if asks && raft.state == StateRole::Follower && raft.leader_id == message.from {
            let term = raft.term;
            self.raft.raft.become_follower(term, raft::INVALID_ID);
        }
        let from = super::super::ReplicaId(message.from);
        // An answer of a replica that is no member, which one need not hear.
        let _refused = self.raft.step(message);
        if asks && self.leads() {
            self.show_leader(from);
        }
        Heard::Taken
    }
}
