//! Usage, lists of commands, and what was probably meant.

use super::{
    command::{Command, Section, Tool},
    commands::{self, available},
    outcome::{Failure, USAGE},
};

/// The usage of the whole program, with its commands.
pub(super) fn of_tool(program: &str, tool: Tool) -> String {
    let mut text = format!(
        "\n\u{1b}[1mUsage\u{1b}[0m\n\n{program} [--node <node>] [--timeout <timeout>] \
         [--longnames] [--quiet] <command> [<command options>]\n\nAvailable commands:\n"
    );
    let width = available(tool).map(|command| command.name.len()).max().unwrap_or_default();
    for section in Section::ALL {
        let mut members: Vec<_> =
            available(tool).filter(|command| command.section == *section).collect();
        members.sort_by_key(|command| command.name);
        if members.is_empty() {
            continue;
        }
        text.push_str(&format!("\n\u{1b}[1m{}\u{1b}[0m:\n\n", section.title()));
        for command in members {
            text.push_str(&format!("   {:width$}  {}\n", command.name, command.about));
        }
    }
    text + &format!("\nUse '{program} help <command>' to learn more about a specific command")
}

/// The line that says what a command takes.
pub(super) fn usage(program: &str, command: &Command) -> String {
    let space = if command.usage.is_empty() { "" } else { " " };
    let timeout = if command.takes_timeout { " [--timeout <timeout>]" } else { "" };
    format!(
        "\n\u{1b}[1mUsage\u{1b}[0m\n\n{program} [--node <node>] [--longnames] [--quiet] \
         {}{space}{}{timeout}",
        command.name, command.usage
    )
}

/// What a command is for and takes.
pub(super) fn of_command(program: &str, command: &Command) -> String {
    let mut text = format!("{}\n\n{}.\n", usage(program, command), command.about);
    if !command.columns.is_empty() {
        let columns = command.columns.join(", ");
        text.push_str(&format!("\n\u{1b}[1mColumns\u{1b}[0m\n\n{columns}\n"));
    }
    text + "\n\u{1b}[1mGeneral Options\u{1b}[0m\n\n\
        -?, --help           shows this\n\
        -q, --quiet          shows results without remarks\n\
        -s, --silent         shows results without remarks and headers\n\
        -p, --vhost <name>   the virtual host, where a command is about one (default: /)\n\
        -t, --timeout <n>    seconds to wait for the broker\n\
        --formatter <name>   table, json, csv or pretty_table\n\
        --data-dir <path>    the data directory of the broker, which has the socket to ask\n\
        --uri <address>      http://user:password@host:port to ask instead of the socket\n\
        -n, --node <node>    accepted and not looked at, as -l, --longnames\n"
}

/// What is said of a name that no command has.
pub(super) fn unknown(name: &str, program: &str, tool: Tool) -> Failure {
    let not_found = match name {
        "" => String::new(),
        name => format!("\nCommand '{name}' not found. \n"),
    };
    if let Some(why) = commands::reason_without(name) {
        return Failure::bare(USAGE, format!("{not_found}{why}\n"));
    }
    match suggestion(name, tool) {
        Some(meant) => Failure::bare(USAGE, format!("{not_found}Did you mean '{meant}'? \n")),
        None => Failure::bare(USAGE, not_found + &of_tool(program, tool)),
    }
}

/// The name most like it, if it is like enough: Jaro's similarity of 0.77, which is also where
/// RabbitMQ's tools begin to guess.
fn suggestion(name: &str, tool: Tool) -> Option<&'static str> {
    let scored = available(tool).map(|command| (similarity(command.name, name), command.name));
    let best = scored.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(score, _)| *score >= 0.77).map(|(_, name)| name)
}

/// Jaro's similarity of two texts, between 0 and 1.
fn similarity(one: &str, other: &str) -> f64 {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.is_empty() || other.is_empty() {
        return 0.0;
    }
    let reach = (one.len().max(other.len()) / 2).saturating_sub(1);
    let mut taken = vec![false; other.len()];
    let mut matched = Vec::new();
    for (place, character) in one.iter().enumerate() {
        let window = place.saturating_sub(reach)..(place + reach + 1).min(other.len());
        let hit = window.into_iter().find(|at| !taken[*at] && other[*at] == *character);
        if let Some(at) = hit {
            taken[at] = true;
            matched.push(*character);
        }
    }
    if matched.is_empty() {
        return 0.0;
    }
    let taken_in_order = other.iter().zip(&taken).filter(|(_, taken)| **taken);
    let swapped = taken_in_order.zip(&matched).filter(|((other, _), one)| other != one).count();
    let count = matched.len() as f64;
    let transposed = (swapped / 2) as f64;
    (count / one.len() as f64 + count / other.len() as f64 + (count - transposed) / count) / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_suggested() {
        assert_eq!(suggestion("lst_users", Tool::Control), Some("list_users"));
        assert_eq!(suggestion("add_usr", Tool::Control), Some("add_user"));
        assert_eq!(suggestion("nosuchcommand", Tool::Control), None);
        assert_eq!(suggestion("", Tool::Control), None);
    }

    #[test]
    fn the_similarity_is_that_of_jaro() {
        let check = |one: &str, other: &str, expected: f64| {
            assert!((similarity(one, other) - expected).abs() < 1e-3, "{one} {other}");
        };
        check("martha", "marhta", 0.944);
        check("dwayne", "duane", 0.822);
        check("dixon", "dicksonx", 0.767);
        check("same", "same", 1.0);
        check("abc", "xyz", 0.0);
    }

    #[test]
    fn a_command_that_leveret_does_without_is_refused_with_the_reason() {
        let failure = unknown("join_cluster", "rabbitmqctl", Tool::Control);
        assert_eq!(failure.code, USAGE);
        let text = failure.text.unwrap();
        assert!(text.starts_with("\nCommand 'join_cluster' not found. \n"), "{text}");
    }
}
