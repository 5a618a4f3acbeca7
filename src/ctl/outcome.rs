//! What a command comes to: something to show, or a failure with an exit code.

use serde_json::{Map, Value, json};

/// The command line is wrong.
pub(super) const USAGE: u8 = 64;
/// An argument's value is.
pub(super) const DATA_ERROR: u8 = 65;
/// There is no such user.
pub(super) const NO_USER: u8 = 67;
/// The broker cannot be reached, or says no.
pub(super) const UNAVAILABLE: u8 = 69;
/// It is there already, or something else went wrong.
pub(super) const SOFTWARE: u8 = 70;
/// It took too long.
pub(super) const TEMPORARY: u8 = 75;

/// One value in a row of a list, in the shapes that RabbitMQ's tools print differently.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// A text, a number or a boolean; nothing is an empty text.
    Plain(Value),
    /// Tags.
    Words(Vec<String>),
    /// A table of AMQP arguments.
    Arguments(Map<String, Value>),
    /// Names and what they are.
    Pairs(Vec<(String, String)>),
    /// What has a text of its own and is an array of numbers in JSON: addresses, versions.
    Numbers(String, Vec<u64>),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Plain(Value::String(text.into()))
    }
}

/// Rows under the names of columns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// Whether an empty list prints nothing at all: RabbitMQ's tools print an empty line for
    /// those that arrive whole, and nothing for those that are streamed.
    pub(super) is_stream: bool,
    /// Whether the header is shown when nothing is said of it.
    pub(super) has_header: bool,
}

impl Rows {
    pub(super) fn new(columns: &[&str], rows: Vec<Vec<Cell>>) -> Self {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Self { columns, rows, is_stream: false, has_header: true }
    }

    pub(super) fn streamed(columns: Vec<String>, rows: Vec<Vec<Cell>>) -> Self {
        Self { columns, rows, is_stream: true, has_header: true }
    }

    pub(super) fn without_header(self) -> Self {
        Self { has_header: false, ..self }
    }
}

/// What a command has to show.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// It is done; only JSON says so.
    Done,
    /// Nothing, in no format.
    Nothing,
    Text(String),
    /// The answer in JSON, where RabbitMQ's tools have one of its own.
    Object(Value),
    Rows(Rows),
    /// Exactly this, without a line's end.
    Raw(Vec<u8>),
}

impl Outcome {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) code: u8,
    /// What stderr says; nothing says nothing.
    pub(super) text: Option<String>,
}

impl Failure {
    /// `Error:` and, below it, the text.
    pub(super) fn new(code: u8, text: impl AsRef<str>) -> Self {
        Self { code, text: Some(format!("Error:\n{}", text.as_ref())) }
    }

    /// The text alone.
    pub(super) fn bare(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: Some(text.into()) }
    }

    /// The exit code says everything.
    pub(super) fn silent(code: u8) -> Self {
        Self { code, text: None }
    }

    /// An object on stderr, as `--formatter json` asks.
    pub(super) fn object(object: &Value) -> Self {
        Self::bare(UNAVAILABLE, object.to_string())
    }

    pub(super) fn no_such_vhost(name: &str) -> Self {
        Self::bare(DATA_ERROR, format!("Virtual host '{name}' does not exist"))
    }

    /// An unknown user, where RabbitMQ's tools have no sentence for it.
    pub(super) fn no_such_user_term(name: &str) -> Self {
        Self::new(UNAVAILABLE, format!("{{:no_such_user, {name:?}}}"))
    }

    /// What RabbitMQ's tools print of a refusal with `--formatter json`.
    pub(super) fn refused_in_json(node: &str, message: &str) -> Self {
        Self::object(&json!({ "result": "error", "node": node, "message": message }))
    }
}
