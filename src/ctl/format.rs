//! Results as text: tables, JSON, CSV, and tables with lines around them.

mod pretty;

use serde_json::{Map, Value, json};

use super::{
    command::{Call, Fault},
    outcome::{Cell, Outcome, Rows},
    term,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Words, or columns with tabs between them.
    Table,
    Json,
    Csv,
    PrettyTable,
}

impl Format {
    /// The format of `--formatter`.
    pub(super) fn of(call: &Call<'_>) -> Result<Self, Fault> {
        match call.line.text("formatter").map(str::to_lowercase).as_deref() {
            None | Some("table" | "string") => Ok(Self::Table),
            Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("pretty_table") => Ok(Self::PrettyTable),
            Some(_) => Err(Fault::Formatter),
        }
    }

    /// Whether a program reads it, so that nothing but the result is printed.
    pub(super) fn is_for_machines(self) -> bool {
        match self {
            Self::Json | Self::Csv => true,
            Self::Table | Self::PrettyTable => false,
        }
    }
}

/// What stdout gets.
pub(super) fn render(outcome: &Outcome, format: Format, call: &Call<'_>) -> Vec<u8> {
    let text = match (outcome, format) {
        (Outcome::Raw(octets), _) => return octets.clone(),
        (Outcome::Nothing, _) => return Vec::new(),
        (Outcome::Done, Format::Json) => json!({ "node": call.node, "result": "ok" }).to_string(),
        (Outcome::Done, Format::Table | Format::Csv | Format::PrettyTable) => return Vec::new(),
        (Outcome::Text(text), Format::Json) => json!({ "message": text }).to_string(),
        (Outcome::Text(text), Format::PrettyTable) => pretty::single(text),
        (Outcome::Text(text), Format::Table | Format::Csv) => text.clone(),
        (Outcome::Object(object), _) => object.to_string(),
        (Outcome::Rows(rows), Format::Table) => return table(rows, call).into_bytes(),
        (Outcome::Rows(rows), Format::Json) => return json_lines(rows).into_bytes(),
        (Outcome::Rows(rows), Format::Csv) => return csv(rows).into_bytes(),
        (Outcome::Rows(rows), Format::PrettyTable) => {
            match (rows.rows.as_slice(), rows.is_stream) {
                ([], true) => return Vec::new(),
                ([], false) => pretty::single("[]"),
                (_, _) => pretty::table(rows),
            }
        }
    };
    (text + "\n").into_bytes()
}

fn table(rows: &Rows, call: &Call<'_>) -> String {
    if rows.rows.is_empty() {
        return if rows.is_stream { String::new() } else { "\n".to_owned() };
    }
    let denied = call.line.denies("table-headers") || call.line.flag("silent");
    let wanted = rows.has_header || call.line.flag("table-headers");
    let mut text = String::new();
    if wanted && !denied {
        text = rows.columns.join("\t") + "\n";
    }
    for row in &rows.rows {
        let cells: Vec<_> = row.iter().map(shown).collect();
        text.push_str(&cells.join("\t"));
        text.push('\n');
    }
    text
}

/// One object a line, and the commas at the lines' beginnings.
fn json_lines(rows: &Rows) -> String {
    if rows.rows.is_empty() {
        return if rows.is_stream { "[\n]\n" } else { "[]\n" }.to_owned();
    }
    let mut text = String::from("[\n");
    for (place, row) in rows.rows.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        // The columns keep the order in which they were asked for.
        let pairs: Vec<_> = rows
            .columns
            .iter()
            .zip(row)
            .map(|(name, cell)| format!("{}:{}", Value::from(name.as_str()), in_json(cell)))
            .collect();
        text.push_str(&format!("{{{}}}\n", pairs.join(",")));
    }
    text + "]\n"
}

fn csv(rows: &Rows) -> String {
    if rows.rows.is_empty() {
        return if rows.is_stream { String::new() } else { "\r\n\r\n\n".to_owned() };
    }
    let line = |cells: Vec<String>| {
        let quoted: Vec<_> =
            cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        quoted.join(",") + "\n"
    };
    let header = line(rows.columns.clone());
    rows.rows.iter().fold(header, |text, row| text + &line(row.iter().map(shown).collect()))
}

/// A cell in a table and in CSV.
fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Plain(Value::Null) => String::new(),
        Cell::Plain(Value::String(text)) | Cell::Numbers(text, _) => text.clone(),
        Cell::Plain(Value::Number(number)) if number.is_f64() => {
            // As Erlang writes them: never without a digit behind the point.
            format!("{:?}", number.as_f64().unwrap_or_default())
        }
        Cell::Plain(other) => other.to_string(),
        Cell::Words(words) => format!("[{}]", words.join(", ")),
        Cell::Arguments(table) => term::arguments(table),
        Cell::Pairs(pairs) => {
            let pairs: Vec<_> =
                pairs.iter().map(|(key, value)| format!("{{{key}, {value}}}")).collect();
            format!("[{}]", pairs.join(", "))
        }
    }
}

fn in_json(cell: &Cell) -> Value {
    match cell {
        Cell::Plain(Value::Null) => Value::from(""),
        Cell::Plain(value) => value.clone(),
        Cell::Words(words) => Value::from(words.clone()),
        Cell::Arguments(table) => term::typed_arguments(table),
        Cell::Pairs(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Cell::Numbers(_, numbers) => Value::from(numbers.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::options::{GENERAL, Line, Switch, Takes};

    const HEADERS: Switch = Switch::new("table-headers", Takes::Nothing);

    fn check(outcome: &Outcome, options: &[&str], expected: &str) {
        let words: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
        let line = Line::parse(&words, &[GENERAL, &[HEADERS]].concat());
        let call = Call { words: &[], line: &line, node: "a@b", tool: "rabbitmqctl" };
        let text = render(outcome, Format::of(&call).unwrap(), &call);
        assert_eq!(String::from_utf8(text).unwrap(), expected, "{options:?}");
    }

    fn users() -> Outcome {
        let row = |name: &str, tags: &[&str]| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            vec![Cell::text(name), Cell::Words(tags)]
        };
        let rows = vec![row("u\"1", &[]), row("guest", &["administrator", "other"])];
        Outcome::Rows(Rows::new(&["user", "tags"], rows))
    }

    #[test]
    fn rows_are_a_table_with_a_header() {
        let rows = "u\"1\t[]\nguest\t[administrator, other]\n";
        check(&users(), &[], &format!("user\ttags\n{rows}"));
        check(&users(), &["-q"], &format!("user\ttags\n{rows}"));
        check(&users(), &["-s"], rows);
        check(&users(), &["--no-table-headers"], rows);
    }

    #[test]
    fn rows_are_one_object_a_line_in_json() {
        let first = r#"{"user":"u\"1","tags":[]}"#;
        let second = r#"{"user":"guest","tags":["administrator","other"]}"#;
        check(&users(), &["--formatter", "JSON"], &format!("[\n{first}\n,{second}\n]\n"));
    }

    #[test]
    fn rows_are_quoted_in_csv() {
        let expected =
            "\"user\",\"tags\"\n\"u\"\"1\",\"[]\"\n\"guest\",\"[administrator, other]\"\n";
        check(&users(), &["--formatter", "csv"], expected);
    }

    #[test]
    fn rows_have_lines_around_them_in_a_pretty_table() {
        let rows = vec![vec![Cell::text("a"), Cell::Plain(Value::from(10))]];
        let rows = Outcome::Rows(Rows::new(&["name", "n"], rows));
        let expected = "\u{1b}(0lqqqqqqwqqqqk\u{1b}(B\n\
            \u{1b}(0x\u{1b}(B \u{1b}[1mname\u{1b}[0m \u{1b}(0x\u{1b}(B \u{1b}[1mn\u{1b}[0m  \
            \u{1b}(0x\u{1b}(B\n\u{1b}(0tqqqqqqnqqqqu\u{1b}(B\n\
            \u{1b}(0x\u{1b}(B a    \u{1b}(0x\u{1b}(B 10 \u{1b}(0x\u{1b}(B\n\
            \u{1b}(0mqqqqqqvqqqqj\u{1b}(B\n";
        check(&rows, &["--formatter", "pretty_table"], expected);
    }

    #[test]
    fn an_empty_list_differs_with_the_way_it_came() {
        let whole = Outcome::Rows(Rows::new(&["a"], Vec::new()));
        check(&whole, &[], "\n");
        check(&whole, &["--formatter", "json"], "[]\n");
        check(&whole, &["--formatter", "csv"], "\r\n\r\n\n");
        let streamed = Outcome::Rows(Rows::streamed(vec!["a".to_owned()], Vec::new()));
        check(&streamed, &[], "");
        check(&streamed, &["--formatter", "json"], "[\n]\n");
        check(&streamed, &["--formatter", "csv"], "");
    }

    #[test]
    fn what_has_nothing_to_show_says_so_in_json_alone() {
        check(&Outcome::Done, &[], "");
        check(&Outcome::Done, &["--formatter", "json"], "{\"node\":\"a@b\",\"result\":\"ok\"}\n");
        check(&Outcome::text("Good"), &[], "Good\n");
        check(&Outcome::text("Good"), &["--formatter", "json"], "{\"message\":\"Good\"}\n");
        check(&Outcome::Nothing, &["--formatter", "json"], "");
    }

    #[test]
    fn cells_have_a_text_and_a_json_of_their_own() {
        let check = |cell: Cell, text: &str, json: Value| {
            assert_eq!((shown(&cell), in_json(&cell)), (text.to_owned(), json));
        };
        check(Cell::Plain(Value::Null), "", json!(""));
        check(Cell::Plain(json!(1.0)), "1.0", json!(1.0));
        check(Cell::Plain(json!(0)), "0", json!(0));
        check(
            Cell::Pairs(vec![("n@h".into(), "running".into())]),
            "[{n@h, running}]",
            json!({ "n@h": "running" }),
        );
        check(Cell::Numbers("1.2".into(), vec![1, 2]), "1.2", json!([1, 2]));
    }
}
