//! What a command is: its name, its usage, what it takes, and what it does.

use super::{
    broker::Broker,
    options::{Line, Switch},
    outcome::{Failure, Outcome},
};

/// The group under which `help` lists a command, in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Help,
    Nodes,
    Cluster,
    Users,
    AccessControl,
    Monitoring,
    Parameters,
    Policies,
    VirtualHosts,
    Configuration,
    Definitions,
    Operations,
    Queues,
    Deprecated,
}

impl Section {
    pub(super) const ALL: &[Self] = &[
        Self::Help,
        Self::Nodes,
        Self::Cluster,
        Self::Users,
        Self::AccessControl,
        Self::Monitoring,
        Self::Parameters,
        Self::Policies,
        Self::VirtualHosts,
        Self::Configuration,
        Self::Definitions,
        Self::Operations,
        Self::Queues,
        Self::Deprecated,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Help => "Help",
            Self::Nodes => "Nodes",
            Self::Cluster => "Cluster",
            Self::Users => "Users",
            Self::AccessControl => "Access Control",
            Self::Monitoring => "Monitoring, observability and health checks",
            Self::Parameters => "Parameters",
            Self::Policies => "Policies",
            Self::VirtualHosts => "Virtual hosts",
            Self::Configuration => "Configuration and Environment",
            Self::Definitions => "Definitions",
            Self::Operations => "Operations",
            Self::Queues => "Queues",
            Self::Deprecated => "Deprecated",
        }
    }
}

/// The program whose commands are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `rabbitmqctl`, and `leveret ctl`, which knows the commands of both.
    Control,
    /// `rabbitmq-diagnostics`.
    Diagnostics,
}

impl Tool {
    /// The tool that a program of this file name is, if it is one.
    #[must_use]
    pub fn named(file_name: &str) -> Option<Self> {
        match file_name {
            "rabbitmqctl" | "rabbitmq-queues" | "rabbitmq-upgrade" => Some(Self::Control),
            "rabbitmq-diagnostics" => Some(Self::Diagnostics),
            _ => None,
        }
    }
}

/// The tools that have a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Control,
    Diagnostics,
    Both,
}

/// What must be there before a command can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// A broker that answers.
    Broker,
    /// A place to look for a broker, which may come or go.
    Place,
    Nothing,
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NotEnough,
    TooMany,
    BadArgument,
    Bad(String),
    Options(Vec<(String, Option<String>)>),
    Columns(Vec<String>),
    Formatter,
    Other(String),
}

impl Fault {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::BadArgument | Self::Bad(_) => super::outcome::DATA_ERROR,
            Self::NotEnough
            | Self::TooMany
            | Self::Options(_)
            | Self::Columns(_)
            | Self::Formatter
            | Self::Other(_) => super::outcome::USAGE,
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::NotEnough => "not enough arguments.".to_owned(),
            Self::TooMany => "too many arguments.".to_owned(),
            Self::BadArgument => "Bad argument.".to_owned(),
            Self::Bad(why) => format!("Bad argument: {why}"),
            Self::Options(options) => {
                let header = "Invalid options for this command:".to_owned();
                options.iter().fold(header, |text, (option, value)| {
                    format!("{text}\n{option} : {}", value.as_deref().unwrap_or_default())
                })
            }
            Self::Columns(names) => format!("Info key(s) {} are not supported", names.join(",")),
            Self::Formatter => {
                "the requested formatter is not supported by this command".to_owned()
            }
            Self::Other(text) => format!("{text:?}"),
        }
    }
}

/// A command as it is called: its arguments, the options, and the node it speaks of.
pub(super) struct Call<'a> {
    pub(super) words: &'a [String],
    pub(super) line: &'a Line,
    pub(super) node: &'a str,
    /// The words as they were given to the program.
    pub(super) tool: &'a str,
}

impl Call<'_> {
    /// The argument at this place; none there is an empty one.
    pub(super) fn word(&self, place: usize) -> &str {
        self.words.get(place).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn vhost(&self) -> &str {
        self.line.text("vhost").unwrap_or("/")
    }

    /// Whether results stand without remarks around them.
    pub(super) fn is_terse(&self) -> bool {
        self.line.flag("quiet") || self.line.flag("silent")
    }

    pub(super) fn wants_json(&self) -> bool {
        self.line.text("formatter").is_some_and(|name| name.eq_ignore_ascii_case("json"))
    }

    pub(super) fn timeout_ms(&self, default_ms: i64) -> i64 {
        self.line.number("timeout").map_or(default_ms, |seconds| seconds.saturating_mul(1000))
    }
}

pub(super) type Banner = fn(&Call<'_>) -> Vec<String>;
pub(super) type Run = fn(&Call<'_>, &mut Broker) -> Result<Outcome, Failure>;

pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) section: Section,
    pub(super) scope: Scope,
    /// What `Usage` shows behind the name.
    pub(super) usage: &'static str,
    /// A sentence, without its full stop.
    pub(super) about: &'static str,
    pub(super) switches: &'static [Switch],
    /// The least and the greatest number of arguments.
    pub(super) words: (usize, usize),
    /// The columns that arguments may name, of a command that lists.
    pub(super) columns: &'static [&'static str],
    pub(super) takes_timeout: bool,
    pub(super) is_tabular: bool,
    pub(super) needs: Needs,
    pub(super) check: fn(&Call<'_>) -> Result<(), Fault>,
    pub(super) banner: Banner,
    pub(super) run: Run,
}

impl Command {
    pub(super) const fn new(
        name: &'static str,
        section: Section,
        (usage, about): (&'static str, &'static str),
        words: (usize, usize),
        banner: Banner,
        run: Run,
    ) -> Self {
        Self {
            name,
            section,
            scope: Scope::Control,
            usage,
            about,
            switches: &[],
            words,
            columns: &[],
            takes_timeout: false,
            is_tabular: false,
            needs: Needs::Broker,
            check: |_| Ok(()),
            banner,
            run,
        }
    }

    pub(super) const fn with(self, switches: &'static [Switch]) -> Self {
        Self { switches, ..self }
    }

    pub(super) const fn checked(self, check: fn(&Call<'_>) -> Result<(), Fault>) -> Self {
        Self { check, ..self }
    }

    pub(super) const fn timed(self) -> Self {
        Self { takes_timeout: true, ..self }
    }

    /// A command that lists rows, for both tools.
    pub(super) const fn listing(self) -> Self {
        Self { takes_timeout: true, is_tabular: true, scope: Scope::Both, ..self }
    }

    /// A list that is there at once.
    pub(super) const fn untimed(self) -> Self {
        Self { takes_timeout: false, ..self }
    }

    pub(super) const fn with_columns(self, columns: &'static [&'static str]) -> Self {
        Self { columns, words: (0, usize::MAX), ..self }
    }

    pub(super) const fn scoped(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    pub(super) const fn needing(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    /// Whether the arguments are such as the command takes.
    pub(super) fn validate(&self, call: &Call<'_>) -> Result<(), Fault> {
        let (least, most) = self.words;
        if call.words.len() < least {
            return Err(Fault::NotEnough);
        }
        if call.words.len() > most {
            return Err(Fault::TooMany);
        }
        if !self.columns.is_empty() {
            let mut unknown = columns_named(call.words);
            unknown.retain(|name| !self.columns.contains(&name.as_str()));
            unknown.sort();
            if !unknown.is_empty() {
                return Err(Fault::Columns(unknown));
            }
        }
        (self.check)(call)
    }
}

/// The columns that the arguments name: words, or names between commas; each once.
pub(super) fn columns_named(words: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for name in words.iter().flat_map(|word| word.split(',')).filter(|name| !name.is_empty()) {
        let name = name.trim().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_between_commas_or_apart_and_count_once() {
        let words = ["name,messages,".to_owned(), "name".to_owned(), "type".to_owned()];
        assert_eq!(columns_named(&words), ["name", "messages", "type"]);
    }

    #[test]
    fn a_tool_is_known_by_its_file_name() {
        assert_eq!(Tool::named("rabbitmqctl"), Some(Tool::Control));
        assert_eq!(Tool::named("rabbitmq-diagnostics"), Some(Tool::Diagnostics));
        assert_eq!(Tool::named("leveret"), None);
    }
}
