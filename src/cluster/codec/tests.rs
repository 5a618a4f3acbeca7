//! Messages come back as they went, and octets of anybody else are refused.

use super::*;

const ONE: ReplicaId = ReplicaId(1 << 32 | 1);
const TWO: ReplicaId = ReplicaId(2 << 32 | 7);

fn raft(kind: MessageType, fill: impl FnOnce(&mut Message)) -> GroupMessage {
    let mut message = Message::default();
    message.set_msg_type(kind);
    (message.from, message.to, message.term) = (ONE.0, TWO.0, 9);
    fill(&mut message);
    GroupMessage::raft(GroupId(300), message)
}

fn append() -> GroupMessage {
    raft(MessageType::MsgAppend, |message| {
        (message.index, message.log_term, message.commit) = (7, 3, 6);
        let payload = |octets: &'static [u8]| LogContent::Payload(Bytes::from_static(octets));
        let change = LogContent::Change(Bytes::from_static(&[0, 5]));
        let entries = [(3, payload(b"first")), (3, change), (9, payload(b""))];
        let entries = entries.into_iter().zip(8..).map(|((term, content), index)| {
            LogEntry { index: Index(index), term: Term(term), content }.into_raft()
        });
        message.set_entries(entries.collect::<Vec<_>>().into());
    })
}

fn every_kind() -> Vec<GroupMessage> {
    let mut kinds: Vec<_> = KINDS
        .into_iter()
        .filter(|kind| *kind != MessageType::MsgSnapshot)
        .map(|kind| {
            raft(kind, |message| {
                (message.index, message.commit, message.commit_term) = (1 << 40, 5, 4);
                (message.reject, message.reject_hint, message.priority) = (true, 12, -1);
            })
        })
        .collect();
    kinds.push(raft(MessageType::MsgRequestVote, |message| {
        message.context = Bytes::from_static(TRANSFER);
        (message.priority, message.deprecated_priority) = (300, 300);
    }));
    kinds.push(append());
    kinds.push(raft(MessageType::MsgSnapshot, |message| {
        let mut members = Members::new(&[ONE, TWO], &[ReplicaId(5)]);
        members.outgoing = vec![TWO, ReplicaId(3 << 32)];
        members.learners_next = vec![ReplicaId(3 << 32)];
        let mut snapshot = Snapshot::default();
        (snapshot.mut_metadata().index, snapshot.mut_metadata().term) = (77, 8);
        snapshot.mut_metadata().set_conf_state(members.to_raft());
        snapshot.data = Bytes::from_static(b"token");
        message.set_snapshot(snapshot);
    }));
    let body = Body::LeaderGone { term: Term(5) };
    kinds.push(GroupMessage { group: GroupId(u64::MAX), from: TWO, to: ONE, body });
    kinds
}

fn octets_of(message: &GroupMessage) -> Bytes {
    let mut octets = Vec::new();
    put_message(&mut octets, message);
    octets.into()
}

#[test]
fn every_kind_of_message_comes_back() {
    for sent in every_kind() {
        assert_eq!(message(&octets_of(&sent)), Ok(sent));
    }
}

#[test]
fn payloads_are_not_copied() {
    let octets = octets_of(&append());
    let read = message(&octets).unwrap();
    let Body::Raft(inner) = read.body else { panic!("an append") };
    let range = octets.as_ptr_range();
    assert!(range.contains(&inner.entries[0].data.as_ptr()));
}

#[test]
fn what_is_cut_short_is_refused() {
    for sent in every_kind() {
        let octets = octets_of(&sent);
        for length in 0..octets.len() {
            assert!(message(&octets.slice(..length)).is_err(), "{length} of {sent:?}");
        }
        let longer: Vec<_> = octets.iter().copied().chain([0]).collect();
        assert_eq!(message(&longer.into()), Err(Garbled::Trailing));
    }
}

#[test]
fn what_is_changed_is_refused_or_is_another_message() {
    for sent in every_kind() {
        let octets = octets_of(&sent);
        let flips = |place| (1..=u8::MAX).map(move |flip| (place, flip));
        let changed = (0..octets.len()).flat_map(flips).filter_map(|(place, flip)| {
            let mut changed = octets.to_vec();
            changed[place] ^= flip;
            message(&changed.into()).ok().map(|read| (place, flip, read))
        });
        for (place, flip, read) in changed {
            assert_ne!(read, sent, "octet {place} ^ {flip}");
            assert_eq!(message(&octets_of(&read)), Ok(read));
        }
    }
}

#[test]
fn counts_that_are_made_up_cost_no_memory() {
    let mut octets = octets_of(&append());
    let start = octets.len() - 1;
    octets.truncate(start);
    let mut made_up = vec![1, 0, 1, 2, 9, 0, 0, 0, 0, 0, 0, 0];
    put_varint(&mut made_up, LARGEST - 1);
    assert_eq!(message(&made_up.into()), Err(Garbled::Truncated));
    assert_eq!(members(&vec![0xff, 0xff, 0xff, 0x0f].into()), Err(Garbled::Truncated));
}

#[test]
fn entries_and_members_come_back() {
    let content = LogContent::Change(Bytes::from_static(b"who"));
    let kept = LogEntry { index: Index(300), term: Term(2), content };
    let mut octets = Vec::new();
    put_entry(&mut octets, &kept);
    assert_eq!(entry(&octets.into()), Ok(kept));
    for those in [Members::default(), Members::new(&[ONE, TWO], &[ReplicaId(3)])] {
        let mut octets = Vec::new();
        put_members(&mut octets, &those);
        assert_eq!(members(&octets.into()), Ok(those));
    }
}
