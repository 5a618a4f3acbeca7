//! What a replica does with the messages of others.

use raft::{
    StateRole,
    eraftpb::{Message, MessageType},
};

use super::{
    super::{GroupMessage, ReplicaId, message::Body},
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
            Body::Raft(message) => self.step(*message, down),
        }
    }

    fn step(&mut self, message: Message, down: &Down) -> Heard {
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
        let from = ReplicaId(message.from);
        let gone = |leader: ReplicaId| leader == from || self.is_down(leader.node(), down);
        if asks && raft.state == StateRole::Follower && self.leader().is_some_and(gone) {
            let term = raft.term;
            self.raft.raft.become_follower(term, raft::INVALID_ID);
        }
        // An answer of a replica that is no member, which one need not hear.
        let _refused = self.raft.step(message);
        if asks && self.leads() {
            self.show_leader(from);
        }
        Heard::Taken
    }
}
