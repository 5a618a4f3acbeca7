//! Many sequences of commands, drawn from a seed; one that fails is made as short as it can be.

use super::{
    check::{check, queue_commands, state_after},
    random::{Random, seed},
    steps::{Setup, Step, draw},
};

const SEQUENCES: u64 = 10_000;

#[test]
fn a_queue_does_what_its_model_does() {
    let seed = seed();
    for number in 0..SEQUENCES {
        let (setup, steps) = draw(seed.wrapping_add(number));
        if let Err(fault) = check(&setup, &steps) {
            let seed = seed.wrapping_add(number);
            let (steps, fault) = shrink(&setup, steps, fault);
            panic!("{fault}\nLEVERET_SEED={seed} begins with this:\n{}", pasteable(&setup, &steps));
        }
    }
}

#[test]
fn the_same_commands_at_the_same_times_give_the_same_state() {
    let seed = seed();
    for number in 0..SEQUENCES / 20 {
        let (setup, steps) = draw(seed.wrapping_add(number));
        assert_eq!(state_after(&setup, &steps), state_after(&setup, &steps));
    }
}

#[test]
fn no_octets_break_a_queue() {
    let seed = seed();
    for number in 0..SEQUENCES / 10 {
        let mut random = Random::seeded(seed.wrapping_add(number));
        let length = random.below(600);
        queue_commands(&random.octets(length));
    }
}

/// Leaves steps out, many at a time and then one by one, while the rest still fails.
fn shrink(setup: &Setup, mut steps: Vec<Step>, mut fault: String) -> (Vec<Step>, String) {
    let mut length = steps.len().next_power_of_two();
    while length > 0 {
        let mut start = 0;
        while start < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(start..(start + length).min(steps.len()));
            match check(setup, &fewer) {
                Ok(()) => start += length,
                Err(other) => (steps, fault) = (fewer, other),
            }
        }
        length /= 2;
    }
    (steps, fault)
}

/// The body of a test.
fn pasteable(setup: &Setup, steps: &[Step]) -> String {
    let lines: String = steps.iter().map(|step| format!("    {step:?},\n")).collect();
    let variants =
        "use super::steps::*;\nuse leveret::model::{Outcome::*, Overflow::*};\nuse Step::*;";
    format!("{variants}\ncheck(&{setup:?}, &[\n{lines}]).unwrap();")
}
