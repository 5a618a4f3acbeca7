//! The administration commands of the documents that the project was created from: RabbitMQ's own
//! `rabbitmqadmin`, and `leveret` under the name `rabbitmqctl`, against a broker with its default
//! arguments. What they are to say is what RabbitMQ 3.10.8 and its tools say; two of the commands
//! are refused by them with a usage error.
//!
//! `rabbitmqadmin` is that of Debian's package `rabbitmq-server`.

use crate::{
    broker::{fresh_directory, program},
    clients::skip,
    documents::start_broker,
    namespace::Host,
    process::Process,
};
use std::{
    env, fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

const RABBITMQADMIN: &str = "/usr/bin/rabbitmqadmin";

#[test]
fn a_virtual_host_is_added() {
    let Some(desk) = Desk::start() else { return };
    let added = "Adding vhost \"myproject\" ...\n";
    desk.check("sudo rabbitmqctl add_vhost myproject", 0, added, "");
    desk.check("sudo rabbitmqctl -s list_vhosts | sort", 0, "/\nmyproject\n", "");
    // Once more is no mistake.
    desk.check("sudo rabbitmqctl add_vhost myproject", 0, added, "");
}

#[test]
fn permissions_with_one_argument_too_many_are_refused() {
    let Some(desk) = Desk::start() else { return };
    let complaint = "\
Error (argument validation): too many arguments.
Arguments given:
\tset_permissions -p / myproject guest .* .* .*

\u{1b}[1mUsage\u{1b}[0m

rabbitmqctl [--node <node>] [--longnames] [--quiet] set_permissions [--vhost <vhost>] <username> \
<conf> <write> <read>
";
    let line = r#"sudo rabbitmqctl set_permissions -p / myproject guest ".*" ".*" ".*""#;
    desk.check(line, 64, "", complaint);
}

#[test]
fn queues_are_declared_and_an_exchange_with_an_unknown_argument_is_refused() {
    let Some(desk) = Desk::start() else { return };
    for name in ["testq1", "testq2"] {
        let line = "auto_delete=false durable=true";
        let line = format!("sudo rabbitmqadmin declare queue name={name} {line}");
        desk.check(&line, 0, "queue declared\n", "");
    }
    let complaint =
        "\nERROR: Argument \"routing_key\" is not recognised\n\nrabbitmqadmin --help for help\n\n";
    let line = r#"sudo rabbitmqadmin declare exchange type=fanout name=logs routing_key="""#;
    desk.check(line, 1, "", complaint);
    let listed = "name\tdurable\ntestq1\tTrue\ntestq2\tTrue\n";
    desk.check("rabbitmqadmin -f tsv list queues name durable", 0, listed, "");
    let missing = "*** Not found: /api/exchanges/%2F/logs\n\n";
    desk.check("rabbitmqadmin delete exchange name=logs", 1, "", missing);
}

/// A broker with its default arguments on a host of its own, and the tools in front of it.
struct Desk {
    host: Host,
    _broker: Process,
    data: PathBuf,
    tools: PathBuf,
}

impl Desk {
    /// `None`, and said so, where something that is needed is not here.
    fn start() -> Option<Self> {
        if env::var_os("LEVERET_INTEROP_BROKER").is_some() {
            println!("administration: the tools are Leveret's, and so is the broker");
            return None;
        }
        if !Path::new(RABBITMQADMIN).exists() {
            skip(&format!("skipped administration: there is no {RABBITMQADMIN}"));
            return None;
        }
        let host = match Host::find() {
            Ok(Host::Machine { .. }) if TcpListener::bind("127.0.0.1:15672").is_err() => {
                skip("skipped administration: port 15672 is not free");
                return None;
            }
            Ok(host) => host,
            Err(why) => {
                skip(&format!("skipped administration: {why}"));
                return None;
            }
        };
        let folder = fresh_directory();
        let (data, tools) = (folder.join("data"), folder.join("tools"));
        lay_out(&tools);
        let broker = start_broker(&host, &data);
        Some(Self { host, _broker: broker, data, tools })
    }

    /// Runs a line as a shell does, and compares exit code and both streams to the letter.
    #[track_caller]
    fn check(&self, line: &str, code: i32, out: &str, complaint: &str) {
        let mut command = self.host.command(Path::new("timeout"));
        command.args(["60", "sh", "-c", line]).current_dir(&self.tools);
        let path = format!("{}:/usr/bin:/bin", self.tools.display());
        command.env("PATH", path).env("HOME", &self.tools).env("LEVERET_DATA_DIR", &self.data);
        let done = command.output().expect("there is a shell");
        let said = String::from_utf8_lossy(&done.stdout);
        let complained = String::from_utf8_lossy(&done.stderr);
        assert_eq!((done.status.code(), &*said, &*complained), (Some(code), out, complaint));
    }
}

/// A folder with `rabbitmqctl`, `rabbitmqadmin`, and a `sudo` that needs no leave.
fn lay_out(tools: &Path) {
    fs::create_dir_all(tools).expect("the folder above it is there");
    symlink(program(), tools.join("rabbitmqctl")).expect("the folder is new");
    symlink(RABBITMQADMIN, tools.join("rabbitmqadmin")).expect("the folder is new");
    let sudo = tools.join("sudo");
    fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n").expect("the folder is ours");
    fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).expect("the file is ours");
}
