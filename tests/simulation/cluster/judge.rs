//! Who watches all nodes at once, and knows what may not happen.

use std::collections::{BTreeMap, BTreeSet};

use leveret::cluster::{
    GroupId, Index, Members, ReplicaId, Term, Ticket,
    host::{Committed, Content},
};

/// A state machine that remembers everything it was told, in one number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Toy {
    pub(crate) applied: u64,
    pub(crate) members: Members,
    hash: u64,
}

impl Toy {
    /// The state of a group that begins with these members, or of a replica that has none yet.
    pub(crate) fn begun(members: &Members) -> Self {
        Self { applied: u64::from(!members.voters.is_empty()), members: members.clone(), hash: 0 }
    }

    pub(crate) fn apply(&mut self, committed: &Committed) {
        assert_eq!(committed.index.0, self.applied + 1, "{}: a hole", committed.group);
        self.applied = committed.index.0;
        self.hash = mixed(mixed(self.hash, committed.index.0), committed.term.0);
        match &committed.content {
            Content::Payload(payload) => {
                self.hash =
                    payload.iter().fold(self.hash, |hash, octet| mixed(hash, (*octet).into()));
            }
            Content::Members(members) => {
                self.members = members.clone();
                self.hash = members.all().fold(self.hash, |hash, member| mixed(hash, member.0));
            }
            Content::Empty => {}
        }
    }
}

#[derive(Default)]
pub(crate) struct Judge {
    groups: BTreeMap<GroupId, Truth>,
    leaders: BTreeMap<(GroupId, Term), ReplicaId>,
    acknowledged: BTreeMap<Ticket, (GroupId, Index)>,
    lost: BTreeSet<Ticket>,
    over: BTreeSet<Ticket>,
    trace: u64,
}

/// What was committed in a group, first seen anywhere.
#[derive(Default)]
struct Truth {
    entries: BTreeMap<u64, (Term, u64, Option<Ticket>)>,
    members: (u64, Members),
}

impl Judge {
    pub(crate) fn begin(&mut self, group: GroupId, members: &Members) {
        let truth = self.groups.entry(group).or_default();
        truth.members = (1, members.clone());
        truth.entries.insert(1, (Term(1), 0, None));
    }

    /// A replica has applied an entry, and this is its state.
    pub(crate) fn applied(&mut self, committed: &Committed, state: &Toy) {
        let truth = self.groups.get_mut(&committed.group).unwrap();
        let value = match &committed.content {
            Content::Payload(payload) => {
                Some(Ticket(u64::from_le_bytes(payload[..8].try_into().unwrap())))
            }
            Content::Members(_) | Content::Empty => None,
        };
        let now = (committed.term, state.hash, value);
        let first = truth.entries.entry(committed.index.0).or_insert(now);
        assert_eq!(*first, now, "group {}: two entries at {}", committed.group, committed.index);
        if let Content::Members(members) = &committed.content
            && committed.index.0 > truth.members.0
        {
            truth.members = (committed.index.0, members.clone());
        }
        if let Some(ticket) = committed.ticket.filter(|ticket| is_value(*ticket)) {
            assert_eq!(value, Some(ticket), "a ticket for something else");
            self.acknowledged.insert(ticket, (committed.group, committed.index));
        }
        self.over.extend(committed.ticket);
        self.note(committed.index.0);
    }

    pub(crate) fn installed(&self, group: GroupId, state: &Toy) {
        let (_, hash, _) = self.groups[&group].entries[&state.applied];
        assert_eq!(hash, state.hash, "group {group}: a snapshot of something else");
    }

    pub(crate) fn leads(&mut self, group: GroupId, term: Term, replica: ReplicaId) {
        let first = *self.leaders.entry((group, term)).or_insert(replica);
        assert_eq!(first, replica, "group {group}: two leaders in term {term}");
    }

    pub(crate) fn lost(&mut self, ticket: Ticket) {
        self.over.insert(ticket);
        if is_value(ticket) {
            self.lost.insert(ticket);
        }
    }

    /// Whether it is known what became of the proposal.
    pub(crate) fn is_over(&self, ticket: Ticket) -> bool {
        self.over.contains(&ticket)
    }

    pub(crate) fn note(&mut self, number: u64) {
        self.trace = mixed(self.trace, number);
    }

    pub(crate) fn trace(&self) -> u64 {
        self.trace
    }

    pub(crate) fn members(&self, group: GroupId) -> &Members {
        &self.groups[&group].members.1
    }

    /// The last entry that any replica has applied.
    pub(crate) fn end(&self, group: GroupId) -> u64 {
        *self.groups[&group].entries.last_key_value().unwrap().0
    }

    pub(crate) fn committed(&self) -> u64 {
        self.groups.values().map(|truth| truth.entries.len() as u64).sum()
    }

    pub(crate) fn is_acknowledged(&self, ticket: Ticket) -> bool {
        self.acknowledged.contains_key(&ticket)
    }

    /// What was acknowledged is there, and what was given up is not.
    pub(crate) fn sum_up(&self) {
        for (ticket, (group, index)) in &self.acknowledged {
            let (_, _, value) = self.groups[group].entries[&index.0];
            assert_eq!(value, Some(*ticket), "group {group}: lost at {index}");
        }
        for truth in self.groups.values() {
            for (_, _, value) in truth.entries.values() {
                let lost = value.filter(|value| self.lost.contains(value));
                assert_eq!(lost, None, "what was called lost was committed");
            }
        }
    }
}

/// Whether the ticket is that of a payload, and not of a change of members.
fn is_value(ticket: Ticket) -> bool {
    ticket.0 < CHANGES
}

/// Tickets of changes of members start here.
pub(crate) const CHANGES: u64 = 1 << 63;

pub(crate) fn mixed(one: u64, other: u64) -> u64 {
    let sum = (one ^ other).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (sum ^ (sum >> 29)).rotate_left(17)
}
