//! Commands and states whose octets are not what was written.

use super::*;
use crate::broker::{
    agreement::{Unreadable, command::Command},
    facts::tests::{exchange, queue},
    random::Random,
};

/// Commands of a few kinds, and the state that they lead to.
fn samples() -> (Vec<Vec<u8>>, Vec<u8>) {
    let group = Group::new();
    let mut client = group.client(1, 1);
    client.declare_exchange(&exchange("x")).unwrap();
    client.declare_queue(&queue("q"), NOW).unwrap();
    let binding = crate::broker::facts::tests::binding;
    client.bind(binding("x", crate::broker::facts::tests::to_queue("q"), "k"), NOW).unwrap();
    group.broker(2).put_user(crate::model::ShortString::from_static("anna"), Default::default());
    let state = group.state("all");
    let name = crate::model::QueueName::from_static("q");
    client.delete_queue(&name, false, false, NOW).unwrap();
    (group.log().commands.clone(), state)
}

#[test]
fn a_command_comes_back_as_it_was() {
    let (commands, _) = samples();
    assert_eq!(commands.len(), 6);
    for octets in commands {
        assert_eq!(Command::decode(&octets).unwrap().encode(), octets);
    }
}

#[test]
fn a_cut_or_changed_command_is_an_error_or_a_command() {
    let mut random = Random::new(5);
    for octets in samples().0 {
        for cut in 0..octets.len() {
            let _whatever_it_is = Command::decode(&octets[..cut]);
        }
        for place in (0..octets.len()).flat_map(|place| [place; 20]) {
            let mut changed = octets.clone();
            changed[place] ^= random.below(255) as u8 + 1;
            if let Ok(command) = Command::decode(&changed) {
                assert_eq!(Command::decode(&command.encode()), Ok(command));
            }
        }
    }
}

#[test]
fn a_cut_or_changed_state_is_an_error_or_a_state() {
    let mut random = Random::new(7);
    let (_, state) = samples();
    let group = Group::new();
    let install = |octets: &[u8]| {
        let member = group.member(4);
        let installed = member.broker.install_agreed(9, octets, NOW);
        if installed.is_err() {
            assert!(member.broker.is_blank() && member.ledger.facts().is_empty());
        }
    };
    for cut in (0..state.len()).step_by(3) {
        install(&state[..cut]);
    }
    for place in (0..state.len()).step_by(2) {
        let mut changed = state.clone();
        changed[place] ^= random.below(255) as u8 + 1;
        install(&changed);
    }
}

#[test]
fn what_a_later_program_has_written_is_refused() {
    let broker = Group::new().broker(1);
    let index = broker.agreed_index();
    assert_eq!(broker.apply_agreed(index + 1, &[2, 1], NOW), Err(Unreadable::Version(2)));
    assert_eq!(broker.install_agreed(index + 1, &[2], NOW), Err(Unreadable::Version(2)));
    assert_eq!(broker.agreed_index(), index);
}
