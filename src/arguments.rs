//! The command line: what can be asked of the `leveret` binary.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use leveret::{
    config::{self, Config},
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
    Perf(Perf),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Address and port to listen on; may be given several times; port 0 takes a free port and
    /// prints it [default: 127.0.0.1:5672 and [::1]:5672]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,

    /// Directory for what must survive a restart; made if it is not there
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// File of `key = value` settings, as rabbitmq.conf; flags go before it
    #[arg(long, value_name = "FILE", env = "RABBITMQ_CONFIG_FILE")]
    config: Option<PathBuf>,

    /// Least severe level to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

impl ServeArguments {
    /// The configuration: defaults, then the file, then the flags.
    pub(crate) fn config(&self) -> Result<Config, String> {
        let mut config = Config::default();
        if let Some(file) = &self.config {
            config::read_file(file, &mut config).map_err(|error| error.to_string())?;
        }
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        if let Some(folder) = &self.data_dir {
            config.data_dir = Some(folder.clone());
        }
        if let Some(level) = &self.log {
            config.log.clone_from(level);
        }
        Ok(config)
    }
}
