//! Tables with lines around them, drawn with the line characters of a VT100.

use serde_json::Value;

use crate::ctl::outcome::{Cell, Rows};

/// Rows under their columns.
pub(super) fn table(rows: &Rows) -> String {
    let cells = rows.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    draw(&rows.columns, &cells)
}

/// One value, as if it were a column named `Output`.
pub(super) fn single(text: &str) -> String {
    draw(&["Output".to_owned()], &vec![vec![text.to_owned()]])
}

fn draw(columns: &[String], rows: &Vec<Vec<String>>) -> String {
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell));
            cells.chain([width(&columns[column])]).max().unwrap_or_default()
        })
        .collect();
    let rule = |left: char, middle: &str, right: char| {
        let parts: Vec<_> = widths.iter().map(|width| "q".repeat(width + 2)).collect();
        format!("\u{1b}(0{left}{}{right}\u{1b}(B", parts.join(middle))
    };
    let line = |cells: &[String], is_title: bool| {
        let mut line = String::from("\u{1b}(0x\u{1b}(B");
        for (cell, column) in cells.iter().zip(&widths) {
            let padding = " ".repeat(column - width(cell) + 1);
            let cell = if is_title { format!("\u{1b}[1m{cell}\u{1b}[0m") } else { cell.clone() };
            line.push_str(&format!(" {cell}{padding}\u{1b}(0x\u{1b}(B"));
        }
        line
    };
    let mut lines = vec![rule('l', "w", 'k'), line(columns, true)];
    for row in rows {
        lines.push(rule('t', "n", 'u'));
        lines.push(line(row, false));
    }
    lines.push(rule('m', "v", 'j'));
    lines.join("\n")
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A cell, in this formatter's own ways: the elements of a list follow each other without a comma.
fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Words(words) => words.concat(),
        Cell::Arguments(table) => table
            .iter()
            .map(|(key, value)| match value {
                Value::String(text) => format!("{{<<\"{key}\">>,longstr,<<\"{text}\">>}}"),
                Value::Bool(value) => format!("{{<<\"{key}\">>,bool,{value}}}"),
                other => format!("{{<<\"{key}\">>,long,{other}}}"),
            })
            .collect(),
        Cell::Pairs(pairs) => {
            pairs.iter().map(|(key, value)| format!("{{{key},{value}}}")).collect()
        }
        Cell::Plain(_) | Cell::Numbers(..) => super::shown(cell),
    }
}
