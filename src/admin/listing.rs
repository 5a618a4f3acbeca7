//! What the query asks of an answer: columns, an order, a page.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::{answer::Failure, query::Query};
use crate::broker::Pattern;

/// So many items a page has at most, and so many if none is said (RabbitMQ 3.10).
const LARGEST_PAGE: usize = 500;
const USUAL_PAGE: usize = 100;

/// Only the columns that were asked for.
pub(super) fn columns(query: &Query, value: Value) -> Value {
    match query.value("columns").filter(|columns| !columns.is_empty()) {
        Some(columns) => {
            let paths: Vec<_> = columns.split(',').map(|path| path.split('.').collect()).collect();
            cut(value, &paths)
        }
        None => value,
    }
}

/// A list in the order and with the columns that were asked for.
pub(super) fn list(query: &Query, mut items: Vec<Value>) -> Value {
    sort(query, &mut items);
    columns(query, Value::Array(items))
}

/// The same, or one page of it.
pub(super) fn pages(query: &Query, mut items: Vec<Value>) -> Result<Value, Failure> {
    let Some(page) = query.value("page") else { return Ok(list(query, items)) };
    let (page, size) = page_and_size(page, query.value("page_size"))?;
    let total = items.len();
    if let Some(name) = query.value("name").filter(|name| !name.is_empty()) {
        let keeps = filter(name, query.is_true("use_regex"))?;
        items.retain(|item| item["name"].as_str().is_some_and(&*keeps));
    }
    let filtered = items.len();
    let count = filtered.div_ceil(size);
    // The first page of nothing is there, and empty.
    if page > count.max(1) {
        let reason = format!("Page out of range, page: {page} page size: {size}, len: {filtered}");
        return Err(failure("page_out_of_range", reason));
    }
    sort(query, &mut items);
    let items: Vec<_> = items.into_iter().skip((page - 1) * size).take(size).collect();
    Ok(json!({
        "filtered_count": filtered,
        "item_count": items.len(),
        "items": columns(query, Value::Array(items)),
        "page": page,
        "page_count": count.max(1),
        "page_size": size,
        "total_count": total,
    }))
}

fn page_and_size(page: &str, size: Option<&str>) -> Result<(usize, usize), Failure> {
    let page = page.parse().unwrap_or(0_usize);
    let size = size.map_or(USUAL_PAGE, |size| size.parse().unwrap_or(0));
    if page == 0 || !(1..=LARGEST_PAGE).contains(&size) {
        let reason = format!("Invalid pagination parameters: page number {page}, page size {size}");
        return Err(failure("invalid_pagination_parameters", reason));
    }
    Ok((page, size))
}

/// Which names are kept: those with the text in them, or those that a pattern matches. Neither
/// looks at the case of letters.
fn filter(name: &str, is_pattern: bool) -> Result<Filter, Failure> {
    if is_pattern {
        let pattern = Pattern::new(&format!("(?i){name}"))
            .map_err(|bad| Failure::bad_request(format!("`{name}` is no pattern: {bad}")))?;
        return Ok(Box::new(move |name| pattern.matches(name.as_bytes())));
    }
    let wanted = name.to_lowercase();
    Ok(Box::new(move |name| name.to_lowercase().contains(&wanted)))
}

type Filter = Box<dyn Fn(&str) -> bool>;

fn failure(error: &str, reason: String) -> Failure {
    Failure::named(axum::http::StatusCode::BAD_REQUEST, error, reason)
}

fn sort(query: &Query, items: &mut [Value]) {
    if let Some(key) = query.value("sort").filter(|key| !key.is_empty()) {
        items.sort_by(|one, other| order(at(one, key), at(other, key)));
        if query.is_true("sort_reverse") {
            items.reverse();
        }
    }
}

fn at<'a>(item: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(item, |item, key| item.get(key).unwrap_or(&Value::Null))
}

/// What is absent comes first, then numbers, words and the rest.
fn order(one: &Value, other: &Value) -> Ordering {
    fn rank(value: &Value) -> u8 {
        match value {
            Value::Null => 0,
            Value::Number(_) => 1,
            Value::Bool(_) => 2,
            Value::String(_) => 3,
            Value::Array(_) => 4,
            Value::Object(_) => 5,
        }
    }
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let [one, other] = [one, other].map(|number| number.as_f64().unwrap_or_default());
            one.total_cmp(&other)
        }
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::String(one), Value::String(other)) => one.cmp(other),
        _ => rank(one).cmp(&rank(other)),
    }
}

/// The value with those of its keys that some path begins with; through a list into its items.
fn cut(value: Value, paths: &[Vec<&str>]) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| cut(item, paths)).collect(),
        Value::Object(object) => Value::Object(cut_object(object, paths)),
        plain => plain,
    }
}

fn cut_object(object: Map<String, Value>, paths: &[Vec<&str>]) -> Map<String, Value> {
    let kept = object.into_iter().filter_map(|(key, value)| {
        let rests: Vec<Vec<&str>> = paths
            .iter()
            .filter(|path| path.first() == Some(&key.as_str()))
            .map(|path| path[1..].to_vec())
            .collect();
        match rests.iter().any(Vec::is_empty) {
            true => Some((key, value)),
            false if rests.is_empty() => None,
            false => Some((key, cut(value, &rests))),
        }
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Value> {
        vec![
            json!({ "name": "Beta", "n": 2, "o": { "x": 1, "y": 2 } }),
            json!({ "name": "alpha", "n": 10, "o": { "x": 3, "y": 4 } }),
            json!({ "name": "gamma" }),
        ]
    }

    fn names(query: &str) -> Value {
        let listed = list(&Query::parse(query), items());
        listed.as_array().unwrap().iter().map(|item| item["name"].clone()).collect()
    }

    #[test]
    fn a_list_is_sorted_by_what_is_asked_for() {
        assert_eq!(names(""), json!(["Beta", "alpha", "gamma"]));
        assert_eq!(names("sort=n"), json!(["gamma", "Beta", "alpha"]));
        assert_eq!(names("sort=o.y&sort_reverse=true"), json!(["alpha", "Beta", "gamma"]));
    }

    #[test]
    fn only_the_columns_asked_for_are_given() {
        let cut = |query: &str| columns(&Query::parse(query), Value::Array(items()));
        assert_eq!(cut("columns=n,o.x")[0], json!({ "n": 2, "o": { "x": 1 } }));
        assert_eq!(cut("columns=n,o.x")[2], json!({}));
        assert_eq!(cut("columns=")[2], json!({ "name": "gamma" }));
    }

    #[test]
    fn a_page_says_how_many_there_are() {
        let page = pages(&Query::parse("page=2&page_size=2&columns=name"), items()).unwrap();
        assert_eq!(
            page,
            json!({ "filtered_count": 3, "item_count": 1, "items": [{ "name": "gamma" }],
                "page": 2, "page_count": 2, "page_size": 2, "total_count": 3 })
        );
        let found = pages(&Query::parse("page=1&name=^.*a$&use_regex=true"), items()).unwrap();
        assert_eq!(found["filtered_count"], 3);
        let found = pages(&Query::parse("page=1&name=ALPH"), items()).unwrap();
        assert_eq!((&found["filtered_count"], &found["total_count"]), (&json!(1), &json!(3)));
    }

    #[test]
    fn a_page_that_is_not_there_is_refused() {
        let error = |query: &str| pages(&Query::parse(query), items()).unwrap_err().body;
        assert_eq!(
            error("page=9&page_size=2"),
            json!({ "error": "page_out_of_range",
                "reason": "Page out of range, page: 9 page size: 2, len: 3" })
        );
        for query in ["page=0", "page=1&page_size=501", "page=x"] {
            assert_eq!(error(query)["error"], "invalid_pagination_parameters", "{query}");
        }
    }
}
