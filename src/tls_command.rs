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
    let directory = &arguments.directory;
    let files = make(arguments)?;
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
    print(directory, &arguments.node).map_err(|error| format!("cannot say what was made: {error}"))
}

/// A file to be: its name, its mode, its text.
struct File {
    name: String,
    mode: u32,
    text: String,
}

fn make(arguments: &GenerateArguments) -> Result<Vec<File>, String> {
    let GenerateArguments { host: hosts, client: clients, node: nodes, days, .. } = arguments;
    let fault = |error: leveret::net::tls::BadName| error.to_string();
    let lifetime = Lifetime::days(*days);
    let authority = Authority::new(lifetime).map_err(fault)?;
    let names: Vec<String> =
        LOCAL.iter().map(|name| (*name).to_owned()).chain(hosts.iter().cloned()).collect();
    let server = authority.issue(Identity::Server(&names), lifetime).map_err(fault)?;
    let mut files = Vec::new();
    files.extend(in_files("ca", authority.pair()));
    files.extend(in_files("server", server));
    for (number, client) in clients.iter().enumerate() {
        check_name("client", &clients[..number], client)?;
        let pair = authority.issue(Identity::Client(client), lifetime).map_err(fault)?;
        let name = if number == 0 { "client".to_owned() } else { format!("{client}_client") };
        files.extend(in_files(&name, pair));
    }
    for (number, node) in nodes.iter().enumerate() {
        check_name("node", &nodes[..number], node)?;
        let pair = authority.issue(Identity::Node(node), lifetime).map_err(fault)?;
        files.extend(in_files(&format!("{node}_node"), pair));
    }
    Ok(files)
}

/// A name is part of a file's name.
fn check_name(whose: &str, before: &[String], name: &String) -> Result<(), String> {
    if before.contains(name) {
        return Err(format!("two {whose}s have the name `{name}`"));
    }
    if name.is_empty() || name.contains(['/', '\0']) {
        return Err(format!("`{name}` cannot name a {whose}: it is part of a file's name"));
    }
    Ok(())
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

fn print(directory: &Path, nodes: &[String]) -> io::Result<()> {
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
    for node in nodes {
        write!(
            out,
            "# For the node of a cluster on {node}:\n\
             # cluster.tls.cacertfile = {directory}/ca_certificate.pem\n\
             # cluster.tls.certfile = {directory}/{node}_node_certificate.pem\n\
             # cluster.tls.keyfile = {directory}/{node}_node_key.pem\n"
        )?;
    }
    out.flush()
}
