//! Definitions: everything that operators and clients have declared, as one JSON document.

mod apply;
mod document;
mod export;
mod form;
mod scratch;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::{Map, Value};
use thiserror::Error;

use super::{
    answer::{Failure, Reply},
    call::Call,
    node::Node,
    operator::Role,
    routes::{Operation, Route, get, post},
};
use crate::model::VirtualHostName;
use document::Plan;

pub(super) const ROUTES: &[Route] = &[
    Route::new("definitions", OPERATIONS),
    Route::new("all-configuration", OPERATIONS),
    Route::new(
        "definitions/:vhost",
        &[get(Role::Administrator, export_home), post(Role::Administrator, import_home)],
    ),
];

const OPERATIONS: &[Operation] =
    &[get(Role::Administrator, export_all), post(Role::Administrator, import_all)];

/// Why a file of definitions was not imported. Nothing of it was.
#[derive(Debug, Error)]
pub enum BadDefinitions {
    #[error("cannot read the definitions {}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("cannot import the definitions {}: {reason}", path.display())]
    Refused { path: PathBuf, reason: String },
}

/// Imports a file, or all files of a directory whose names end in `.json`, in the order of their
/// names.
///
/// # Errors
/// The first file that cannot be imported. Those before it are.
pub fn load(node: &dyn Node, path: &Path) -> Result<(), BadDefinitions> {
    let unreadable = |cause| BadDefinitions::Unreadable { path: path.to_owned(), cause };
    for file in files(path).map_err(unreadable)? {
        let text = fs::read(&file).map_err(unreadable)?;
        let refused = |failure: Failure| {
            let reason = match &failure.body["reason"] {
                Value::String(reason) => reason.clone(),
                other => other.to_string(),
            };
            BadDefinitions::Refused { path: file.clone(), reason }
        };
        import(node, &text, None).map_err(refused)?;
        tracing::info!(file = %file.display(), "imported definitions");
    }
    Ok(())
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    Ok(files)
}

fn export_all(call: &Call) -> Result<Reply, Failure> {
    Ok(as_file(call, export::everything(call)))
}

fn export_home(call: &Call) -> Result<Reply, Failure> {
    let home = call.home().map_err(|_| Failure::bad_request("vhost_not_found"))?;
    Ok(as_file(call, export::virtual_host(call, &home)))
}

fn as_file(call: &Call, document: Value) -> Reply {
    let reply = Reply::one(document);
    match call.query.value("download") {
        Some(name) => {
            reply.with_header(CONTENT_DISPOSITION, &format!("attachment; filename={name}"))
        }
        None => reply,
    }
}

fn import_all(call: &Call) -> Result<Reply, Failure> {
    import(&*call.node, &uploaded(call)?, None)
}

fn import_home(call: &Call) -> Result<Reply, Failure> {
    let home = call.home_to_change()?;
    import(&*call.node, &uploaded(call)?, Some(&home))
}

/// The document: the body, or the field `file` of a form.
fn uploaded(call: &Call) -> Result<bytes::Bytes, Failure> {
    let kind = call.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    match kind.and_then(form::boundary) {
        None => Ok(call.body.clone()),
        Some(boundary) => {
            let file = form::field(&call.body, boundary, "file");
            file.ok_or_else(|| Failure::bad_request("the form has no field `file`"))
        }
    }
}

/// Checks everything, and only then changes anything.
fn import(node: &dyn Node, text: &[u8], only: Option<&VirtualHostName>) -> Result<Reply, Failure> {
    let document: Map<String, Value> = match text {
        b"" => Map::new(),
        _ => serde_json::from_slice(text)
            .map_err(|_| Failure::bad_request("failed_to_parse_json"))?,
    };
    let plan = Plan::read(node, &document, only)?;
    scratch::check(node, &plan)?;
    apply::apply(node, plan).map(Reply::done)
}
