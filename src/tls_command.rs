//! `leveret tls generate`: an authority, and certificates of a server and of clients, in files.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use leveret::net::tls::{Authority, Identity, Lifetime, Pair};

use crate::arguments::{GenerateArguments, TlsCommand};

/// How every server is reached from its own machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Does as it is told and prints what is to be done with it.
pub(crate) fn run(command: &TlsCommand) -> Result<(), String> {
    match command {
        TlsCommand::Generate(arguments) => generate(arguments),
    }
}

fn generate(arguments: &GenerateArguments) -> Result<(), String> {
    let GenerateArguments { directory, host, client, days } = arguments;
    let files = make(host, client, *days)?;
    let shown = directory.display();
    fs::create_dir_all(directory).map_err(|error| format!("cannot make {shown}: {error}"))?;
    let paths: Vec<PathBuf> = files.iter().map(|file| directory.join(&file.name)).collect();
    if let Some(there) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(format!("{} is there already, and is not overwritten", there.display()));
    }
    for (file, path) in files.iter().zip(&paths) {
        let written = write(path, file);
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    print(directory).map_err(|error| format!("cannot say what was made: {error}"))
}

/// A file to be: its name, its mode, its text.
struct File {
    name: String,
    mode: u32,
    text: String,
}

fn make(hosts: &[String], clients: &[String], days: u32) -> Result<Vec<File>, String> {
    let fault = |error: leveret::net::tls::BadName| error.to_string();
    let lifetime = Lifetime::days(days);
    let authority = Authority::new(lifetime).map_err(fault)?;
    let names: Vec<String> =
        LOCAL.iter().map(|name| (*name).to_owned()).chain(hosts.iter().cloned()).collect();
    let server = authority.issue(Identity::Server(&names), lifetime).map_err(fault)?;
    let mut files = Vec::new();
    files.extend(in_files("ca", authority.pair()));
    files.extend(in_files("server", server));
    for (number, client) in clients.iter().enumerate() {
        if clients[..number].contains(client) {
            return Err(format!("two clients have the name `{client}`"));
        }
        if client.is_empty() || client.contains(['/', '\0']) {
            return Err(format!("`{client}` cannot name a client: it is part of a file's name"));
        }
        let pair = authority.issue(Identity::Client(client), lifetime).map_err(fault)?;
        let name = if number == 0 { "client".to_owned() } else { format!("{client}_client") };
        files.extend(in_files(&name, pair));
    }
    Ok(files)
}

fn in_files(name: &str, pair: Pair) -> [File; 2] {
    let file = |part, mode, text| File { name: format!("{name}_{part}.pem"), mode, text };
    [file("certificate", 0o644, pair.certificate), file("key", 0o600, pair.key)]
}

fn write(path: &Path, file: &File) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut target = options.write(true).create_new(true).mode(file.mode).open(path)?;
    target.write_all(file.text.as_bytes())?;
    target.sync_all()
}

fn print(directory: &Path) -> io::Result<()> {
    let directory = fs::canonicalize(directory)?;
    let directory = directory.display();
    let mut out = io::stdout().lock();
    write!(
        out,
        "# The certificates are in {directory}. For rabbitmq.conf:\n\
         listeners.ssl.default = 5671\n\
         ssl_options.cacertfile = {directory}/ca_certificate.pem\n\
         ssl_options.certfile = {directory}/server_certificate.pem\n\
         ssl_options.keyfile = {directory}/server_key.pem\n\
         # Ask clients for certificates, and refuse those without one:\n\
         # ssl_options.verify = verify_peer\n\
         # ssl_options.fail_if_no_peer_cert = true\n"
    )?;
    out.flush()
}
