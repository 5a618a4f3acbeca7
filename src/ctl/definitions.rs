//! Commands that export and import definitions.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use super::{
    broker::Broker,
    command::{Call, Command, Fault, Section},
    options::{Switch, Takes},
    outcome::{DATA_ERROR, Failure, Outcome},
};

const FORMAT: Switch = Switch::new("format", Takes::Text);

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "export_definitions",
        Section::Definitions,
        (
            "<file_path | \"-\"> [--format <json | erlang>]",
            "Writes users, virtual hosts, queues and all else that is declared into a file",
        ),
        (1, 1),
        |call| match call.word(0) {
            // What goes to stdout goes there alone.
            "-" => Vec::new(),
            file => vec![format!("Exporting definitions in JSON to a file at \"{file}\" ...")],
        },
        export_definitions,
    )
    .timed()
    .with(&[FORMAT])
    .checked(|call| {
        check_format(call)?;
        let folder = folder_of(call.word(0));
        match call.word(0) == "-" || folder.exists() {
            true => Ok(()),
            false => Err(Fault::Bad(format!("Directory {} does not exist", folder.display()))),
        }
    }),
    Command::new(
        "import_definitions",
        Section::Definitions,
        (
            "<file_path | \"-\"> [--format <json | erlang>] [--skip-if-unchanged]",
            "Declares what a file of definitions says, and changes what is there already",
        ),
        (0, 1),
        |call| match call.words {
            [] => vec!["Importing definitions in JSON from standard input ...".to_owned()],
            [file, ..] if file == "-" => Vec::new(),
            [file, ..] => {
                vec![format!("Importing definitions in JSON from a file at \"{file}\" ...")]
            }
        },
        import_definitions,
    )
    .timed()
    .with(&[FORMAT, Switch::new("skip-if-unchanged", Takes::Nothing)])
    .checked(|call| {
        check_format(call)?;
        match call.words {
            [file] if file != "-" && !Path::new(file).exists() => {
                Err(Fault::Bad(format!("File {file} does not exist")))
            }
            _ => Ok(()),
        }
    }),
];

fn check_format(call: &Call<'_>) -> Result<(), Fault> {
    match call.line.text("format").map(str::to_lowercase).as_deref() {
        None | Some("json") => Ok(()),
        Some("erlang") => {
            Err(Fault::Bad("Leveret reads and writes definitions in JSON alone".to_owned()))
        }
        Some(_) => Err(Fault::Bad("Format should be either json or erlang".to_owned())),
    }
}

fn folder_of(file: &str) -> &Path {
    match Path::new(file).parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new("/"),
    }
}

fn export_definitions(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let file = call.word(0);
    let body = broker.get("/api/definitions")?.accepted()?.body;
    if file == "-" {
        return Ok(Outcome::Raw(body.to_vec()));
    }
    match fs::write(file, &body) {
        Ok(()) => Ok(Outcome::Nothing),
        Err(error) => Err(Failure::new(DATA_ERROR, cannot_write(file, &error))),
    }
}

fn import_definitions(call: &Call<'_>, broker: &mut Broker) -> Result<Outcome, Failure> {
    let document = match call.words {
        [file] if file != "-" => read(file)?,
        _ => read_input()?,
    };
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&document) {
        let text = format!("Failed to deserialise input (format: JSON) (error: {error})");
        return Err(Failure::new(DATA_ERROR, text));
    }
    broker.post("/api/definitions", document)?.accepted()?;
    if call.wants_json() {
        // Without a line's end, as RabbitMQ's tool prints it.
        let object = serde_json::json!({ "node": call.node, "result": "ok" });
        return Ok(Outcome::Raw(object.to_string().into_bytes()));
    }
    Ok(match call.is_terse() {
        true => Outcome::Done,
        false => Outcome::text(
            "Successfully started definition import. This process is asynchronous and can take \
             some time.",
        ),
    })
}

fn read(file: &str) -> Result<Vec<u8>, Failure> {
    match fs::read(file) {
        Ok(document) if document.is_empty() => {
            Err(Failure::new(DATA_ERROR, format!("File {file} is zero-sized")))
        }
        Ok(document) => Ok(document),
        Err(error) => Err(Failure::new(
            DATA_ERROR,
            match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("Parent directory or file {file} does not exist")
                }
                io::ErrorKind::NotADirectory => {
                    format!("Parent directory of file {file} is not a directory")
                }
                io::ErrorKind::IsADirectory => format!("Path {file} is a directory"),
                io::ErrorKind::PermissionDenied => {
                    format!("No permissions to read from file {file} or its parent directory")
                }
                _ => format!("Could not read from file {file}: {error}"),
            },
        )),
    }
}

fn read_input() -> Result<Vec<u8>, Failure> {
    let mut document = Vec::new();
    match io::stdin().lock().read_to_end(&mut document) {
        Ok(_) => Ok(document),
        Err(error) => {
            Err(Failure::new(DATA_ERROR, format!("Could not read standard input: {error}")))
        }
    }
}

fn cannot_write(file: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("Parent directory or file {file} does not exist"),
        io::ErrorKind::NotADirectory => {
            format!("Parent directory of file {file} is not a directory")
        }
        io::ErrorKind::IsADirectory => format!("Path {file} is a directory"),
        io::ErrorKind::StorageFull => format!("No space left on device hosting {file}"),
        io::ErrorKind::PermissionDenied => {
            format!("No permissions to write to file {file} or its parent directory")
        }
        _ => format!("Could not write to file {file}: {error}"),
    }
}
