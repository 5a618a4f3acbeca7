//! Commands that change settings of the broker that runs: its name, its watermarks.

use serde_json::{Value, json};

use super::{
    broker::Broker,
    command::{Command, Fault, Section},
    outcome::{Failure, Outcome},
};

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "set_cluster_name",
        Section::Configuration,
        ("<name>", "Gives the cluster a name"),
        (1, 1),
        |call| vec![format!("Setting cluster name to {} ...", call.word(0))],
        |call, broker| {
            broker.put("/api/cluster-name", &json!({ "name": call.word(0) }))?.accepted()?;
            Ok(Outcome::Done)
        },
    ),
    Command::new(
        "set_disk_free_limit",
        Section::Configuration,
        (
            "<disk_limit> | mem_relative <fraction>",
            "Sets how little free disk space blocks publishers",
        ),
        (1, usize::MAX),
        |call| match call.words {
            [_, fraction] => vec![format!(
                "Setting disk free limit on {} to {fraction} times the total RAM ...",
                call.node
            )],
            _ => vec![format!(
                "Setting disk free limit on {} to {} bytes ...",
                call.node,
                call.word(0)
            )],
        },
        |call, broker| set(broker, "/api/leveret/disk_free_limit", disk_limit(call.words)),
    )
    .checked(|call| disk_limit(call.words).map(|_| ())),
    Command::new(
        "set_vm_memory_high_watermark",
        Section::Configuration,
        ("<fraction> | absolute <value>", "Sets how much memory in use blocks publishers"),
        (1, usize::MAX),
        |call| match call.words {
            [_, octets] => {
                vec![format!("Setting memory threshold on {} to {octets} bytes ...", call.node)]
            }
            _ => vec![format!("Setting memory threshold on {} to {} ...", call.node, call.word(0))],
        },
        |call, broker| {
            set(broker, "/api/leveret/vm_memory_high_watermark", memory_limit(call.words))
        },
    )
    .checked(|call| memory_limit(call.words).map(|_| ())),
];

fn set(broker: &mut Broker, place: &str, limit: Result<Value, Fault>) -> Result<Outcome, Failure> {
    let limit = limit.map_err(|fault| Failure::new(fault.code(), fault.text()))?;
    broker.put(place, &limit)?.accepted()?;
    Ok(Outcome::Done)
}

fn memory_limit(words: &[String]) -> Result<Value, Fault> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["absolute"] => Err(Fault::NotEnough),
        ["absolute", limit] => absolute_memory_limit(limit),
        [_, _, ..] => Err(Fault::TooMany),
        [fraction] => match fraction.parse::<f64>() {
            Ok(fraction) if (0.0..=1.0).contains(&fraction) => Ok(json!({ "relative": fraction })),
            Ok(number) if number.is_finite() => {
                Err(bad("The threshold should be a fraction between 0.0 and 1.0"))
            }
            Ok(_) | Err(_) => Err(Fault::BadArgument),
        },
    }
}

fn absolute_memory_limit(limit: &str) -> Result<Value, Fault> {
    let (number, unit) = split_unit(limit).ok_or(Fault::BadArgument)?;
    match octets(number, unit) {
        Some(octets @ 1..) => Ok(json!({ "absolute": octets })),
        Some(_) => Err(Fault::BadArgument),
        None if unit.starts_with('.') => Err(bad("The threshold should be an integer.")),
        None => Err(bad("Invalid units.")),
    }
}

fn disk_limit(words: &[String]) -> Result<Value, Fault> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["mem_relative"] => Err(Fault::NotEnough),
        ["mem_relative", fraction] => match fraction.parse::<f64>() {
            Ok(fraction) if fraction >= 0.0 && fraction.is_finite() => {
                Ok(json!({ "mem_relative": fraction }))
            }
            Ok(_) | Err(_) => Err(Fault::BadArgument),
        },
        [_, _, ..] => Err(Fault::TooMany),
        [limit] => {
            let scaled = split_unit(limit).and_then(|(number, unit)| octets(number, unit));
            scaled.map(|octets| json!({ "absolute": octets })).ok_or(Fault::BadArgument)
        }
    }
}

fn bad(why: &str) -> Fault {
    Fault::Bad(why.to_owned())
}

/// A whole number, and what stands behind it.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    digits.parse().ok().map(|number| (number, unit))
}

/// `k`, `M` and `G` are powers of 1024, as `kiB`, `MiB` and `GiB`; `kB`, `MB` and `GB` of 1000.
fn octets(number: u64, unit: &str) -> Option<u64> {
    let scale: u64 = match unit {
        "" => 1,
        "k" | "kiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn memory_is_limited_to_a_fraction_or_to_octets() {
        let check = |line: &str, limit: Value| assert_eq!(memory_limit(&words(line)), Ok(limit));
        check("0.4", json!({ "relative": 0.4 }));
        check("1", json!({ "relative": 1.0 }));
        check("absolute 100", json!({ "absolute": 100 }));
        check("absolute 2GB", json!({ "absolute": 2_000_000_000u64 }));
        check("absolute 2MiB", json!({ "absolute": 2 << 20 }));
    }

    #[test]
    fn memory_limits_that_make_no_sense_are_refused() {
        let check = |line: &str, fault: Fault| {
            assert_eq!(memory_limit(&words(line)), Err(fault), "{line}");
        };
        let fraction = "The threshold should be a fraction between 0.0 and 1.0";
        check("1.5", bad(fraction));
        check("-0.1", bad(fraction));
        check("junk", Fault::BadArgument);
        check("NaN", Fault::BadArgument);
        check("", Fault::NotEnough);
        check("absolute", Fault::NotEnough);
        check("0.1 0.2", Fault::TooMany);
        check("absolute 1 2", Fault::TooMany);
        check("absolute junk", Fault::BadArgument);
        check("absolute 0", Fault::BadArgument);
        check("absolute 1.5GB", bad("The threshold should be an integer."));
        check("absolute 1XB", bad("Invalid units."));
        check("absolute 99999999999999999999", Fault::BadArgument);
    }

    #[test]
    fn disk_space_is_limited_in_octets_or_by_the_memory() {
        let check = |line: &str, limit: Result<Value, Fault>| {
            assert_eq!(disk_limit(&words(line)), limit, "{line}");
        };
        check("1MB", Ok(json!({ "absolute": 1_000_000 })));
        check("0", Ok(json!({ "absolute": 0 })));
        check("mem_relative 1.5", Ok(json!({ "mem_relative": 1.5 })));
        check("mem_relative", Err(Fault::NotEnough));
        check("mem_relative x", Err(Fault::BadArgument));
        check("1XB", Err(Fault::BadArgument));
        check("99999999999999999G", Err(Fault::BadArgument));
        check("1 2", Err(Fault::TooMany));
    }
}
