//! The command line: what can be asked of the `leveret` binary.

use std::{
    env,
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand};
use leveret::{
    config::{self, Config},
    ctl,
    perf::Perf,
};

/// A message broker that speaks AMQP 0-9-1 exactly as RabbitMQ does.
///
/// Without arguments it serves AMQP on 127.0.0.1:5672 and [::1]:5672, with user guest, password
/// guest and virtual host /.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the broker (what happens without a command, too).
    Serve(ServeArguments),
    /// Measures a broker: any that speaks AMQP 0-9-1.
    Perf(Box<Perf>),
    /// Administers a broker that runs, in rabbitmqctl's words: `leveret ctl help` lists them.
    #[command(disable_help_flag = true)]
    Ctl(CtlArguments),
    /// Looks at a data directory that no broker uses, and changes nothing in it.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Makes certificates.
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Runs several nodes that are one broker.
    #[command(subcommand)]
    Cluster(ClusterCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Starts a cluster on this machine, for trying it out, and stays until it is told to stop
    /// (Ctrl-C). Started again in the same directory it goes on with what is there.
    StartLocal(StartLocalArguments),
}

#[derive(Debug, Args)]
pub(crate) struct StartLocalArguments {
    /// Nodes, 1 to 9. An odd number is better: 4 may lose no more than 3 may
    #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) nodes: u8,

    /// Where settings, logs and data of all nodes are; made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,

    /// The first node's port for AMQP; the next node has the next one, the control plane's are
    /// 10000 higher, those between nodes 20000. 0 takes free ports [default: 5672]
    #[arg(long, value_name = "P")]
    pub(crate) port: Option<u16>,

    /// Starts nodes again that die
    #[arg(long)]
    pub(crate) restart: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    /// Makes an authority, and certificates of a server and of clients, for tests and closed
    /// networks; prints the settings that use them.
    Generate(GenerateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// Where the files go; nothing that is there is overwritten
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,

    /// Name or address of the server, beside localhost, 127.0.0.1 and ::1; may be given several
    /// times
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Vec<String>,

    /// Name of a client; may be given several times. The first has client_certificate.pem, any
    /// other its own name before that
    #[arg(long, value_name = "NAME", default_value = "client")]
    pub(crate) client: Vec<String>,

    /// Host of a node of a cluster: what stands behind the `@` of its name; may be given several
    /// times. Each has its own name before node_certificate.pem
    #[arg(long, value_name = "HOST")]
    pub(crate) node: Vec<String>,

    /// Days until the certificates expire
    #[arg(long, value_name = "N", default_value_t = 365,
        value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct CtlArguments {
    /// The command, and its options in any place
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(crate) words: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Says what a start would find.
    Stat {
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Reads every octet, lists what is damaged, and exits with 1 if something is.
    Verify {
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Address and port to listen on; may be given several times; port 0 takes a free port and
    /// prints it [default: 127.0.0.1:5672 and [::1]:5672]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,

    /// Address and port of the control plane over HTTP; may be given several times; `none` has it
    /// nowhere [default: 127.0.0.1:15672 and [::1]:15672, as far as they are free]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = management)]
    management: Vec<Option<SocketAddr>>,

    /// The node's own socket, through which `leveret ctl` reaches it without a password
    /// [default: control.sock in the data directory]
    #[arg(long, value_name = "PATH")]
    control_socket: Option<PathBuf>,

    /// File of definitions to import before anybody may connect, as RabbitMQ exports it, or a
    /// directory of such files; may be given several times
    #[arg(long, value_name = "FILE")]
    definitions: Vec<PathBuf>,

    /// Directory for what must survive a restart; made if it is not there [default: the first that
    /// can be used: $LEVERET_DATA_DIR, /var/lib/leveret, $XDG_DATA_HOME/leveret,
    /// ~/.local/share/leveret]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Keeps everything in memory: no directory, and no disk at all
    #[arg(long, conflicts_with_all = ["data_dir", "recover"])]
    ephemeral: bool,

    /// Starts although parts of the data directory are damaged, and without them
    #[arg(long)]
    recover: bool,

    /// File of `key = value` settings, as rabbitmq.conf; flags go before it
    #[arg(long, value_name = "FILE", env = "RABBITMQ_CONFIG_FILE")]
    config: Option<PathBuf>,

    /// Least severe level to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

impl ServeArguments {
    /// The configuration: defaults, then the file, then the environment, then the flags.
    pub(crate) fn config(&self) -> Result<Config, String> {
        let mut config = Config { management: Config::usual_management(), ..Config::default() };
        if let Some(file) = &self.config {
            config::read_file(file, &mut config).map_err(|error| error.to_string())?;
        }
        take_environment(|name| env::var(name).ok(), &mut config);
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        if !self.management.is_empty() {
            config.management = self.management.iter().copied().flatten().collect();
        }
        config.definitions.extend(self.definitions.iter().cloned());
        if let Some(folder) = &self.data_dir {
            config.data_dir = Some(folder.clone());
        }
        if self.ephemeral {
            config.data_dir = None;
        } else if config.data_dir.is_none() {
            config.data_dir = Some(default_folder(|name| env::var_os(name), is_usable)?);
        }
        let in_data_dir = || config.data_dir.as_ref().map(|folder| folder.join("control.sock"));
        config.control_socket = self.control_socket.clone().or_else(in_data_dir);
        config.recover = self.recover;
        if let Some(level) = &self.log {
            config.log.clone_from(level);
        }
        Ok(config)
    }
}

/// An address, or `none`.
fn management(text: &str) -> Result<Option<SocketAddr>, String> {
    match text {
        "none" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| "expected ADDRESS:PORT or none".to_owned()),
    }
}

/// What images and test frameworks say of the first user, and of the node's name (RabbitMQ 3.10).
fn take_environment(variable: impl Fn(&str) -> Option<String>, config: &mut Config) {
    let settings = [
        ("RABBITMQ_DEFAULT_USER", &mut config.default_user),
        ("RABBITMQ_DEFAULT_PASS", &mut config.default_password),
        ("RABBITMQ_DEFAULT_VHOST", &mut config.default_virtual_host),
        ("RABBITMQ_NODENAME", &mut config.node_name),
    ];
    for (name, setting) in settings {
        if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
            *setting = value;
        }
    }
}

/// The data directory of the broker to administer when none is named: the first with a socket.
pub(crate) fn folder_with_socket() -> Result<PathBuf, String> {
    default_folder(|name| env::var_os(name), |folder| folder.join(ctl::SOCKET).exists())
}

/// The data directory when none is named, given the variables of the environment.
fn default_folder(
    variable: impl Fn(&str) -> Option<OsString>,
    is_usable: impl Fn(&Path) -> bool,
) -> Result<PathBuf, String> {
    let named = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = named("LEVERET_DATA_DIR") {
        return Ok(folder);
    }
    let of_the_system = PathBuf::from("/var/lib/leveret");
    if is_usable(&of_the_system) {
        return Ok(of_the_system);
    }
    // A relative path in this variable counts for nothing (XDG Base Directory Specification).
    let of_data = named("XDG_DATA_HOME").filter(|folder| folder.is_absolute());
    let of_user = of_data.or_else(|| named("HOME").map(|home| home.join(".local/share")));
    of_user.map(|folder| folder.join("leveret")).ok_or_else(|| {
        "there is no place to keep data: name one with --data-dir DIR, or keep nothing with \
         --ephemeral"
            .to_owned()
    })
}

/// Whether this process may write to the folder, which is made if it is not there.
fn is_usable(folder: &Path) -> bool {
    use rustix::fs::{Access, access};
    fs::create_dir_all(folder).is_ok() && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], system_is_usable: bool, expected: Option<&str>) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let folder = default_folder(variable, |_| system_is_usable).ok();
        assert_eq!(folder, expected.map(PathBuf::from), "{variables:?}");
    }

    #[test]
    fn the_default_directory_is_the_first_that_can_be_used() {
        let [ours, data, home] =
            [("LEVERET_DATA_DIR", "kept"), ("XDG_DATA_HOME", "/data"), ("HOME", "/home/anna")];
        check(&[ours, data, home], true, Some("kept"));
        check(&[data, home], true, Some("/var/lib/leveret"));
        check(&[data, home], false, Some("/data/leveret"));
        check(&[home], false, Some("/home/anna/.local/share/leveret"));
        check(&[("LEVERET_DATA_DIR", ""), home], true, Some("/var/lib/leveret"));
        check(&[("XDG_DATA_HOME", "data"), home], false, Some("/home/anna/.local/share/leveret"));
        check(&[], false, None);
    }

    #[test]
    fn flags_say_where_data_is_kept() {
        let config = |flags: &[&str]| {
            let arguments = Arguments::try_parse_from([&["leveret"], flags].concat());
            arguments.map(|arguments| arguments.serve.config().unwrap())
        };
        assert_eq!(config(&["--ephemeral"]).unwrap().data_dir, None);
        let kept = config(&["--data-dir", "d", "--recover"]).unwrap();
        assert_eq!((kept.data_dir, kept.recover), (Some(PathBuf::from("d")), true));
        assert!(config(&["--ephemeral", "--data-dir", "d"]).is_err());
        assert!(config(&["--ephemeral", "--recover"]).is_err());
    }
}
