//! The fuzz target of data directories on seeded input.

use super::{
    directory::{check_the_whole_directory, data_directory},
    random::{Random, seed},
};

const ROUNDS: u64 = 500;

#[test]
fn any_octets_are_a_data_directory_or_are_refused() {
    check_the_whole_directory();
    let start = seed();
    for round in 0..ROUNDS {
        let mut random = Random::seeded(start.wrapping_add(round));
        let mut octets = vec![random.next() as u8];
        for _ in 0..=random.below(3) {
            octets.extend(change(&mut random));
        }
        data_directory(&octets);
    }
}

/// What to do, to which file, where; then numbers of which many are small or at an edge.
fn change(random: &mut Random) -> Vec<u8> {
    let mut octets = random.octets(5);
    let length = random.below(24);
    octets.extend((0..length).map(|_| match random.below(3) {
        0 => random.next() as u8,
        1 => random.below(16) as u8,
        _ => [0, 1, 127, 128, 254, 255][random.below(6)],
    }));
    octets
}
