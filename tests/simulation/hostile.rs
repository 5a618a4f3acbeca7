//! The fuzz target of data directories on seeded input.

use super::{
    directory::{data_directory, the_whole_directory_has_all_sorts},
    random::{Random, seed},
};

const ROUNDS: u64 = 2_000;

#[test]
fn any_octets_are_a_data_directory_or_are_refused() {
    assert!(the_whole_directory_has_all_sorts());
    let start = seed();
    for round in 0..ROUNDS {
        let mut random = Random::seeded(start.wrapping_add(round));
        let length = 1 + random.below(40);
        data_directory(&random.octets(length));
    }
}
