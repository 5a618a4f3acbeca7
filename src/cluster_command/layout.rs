//! The files of a cluster on one machine: which node has which ports, and where its data is.

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
};

use leveret::config::{self, Config};

/// AMQP's own port.
const USUAL_PORT: u16 = 5672;
/// How far the control plane's port is from that for AMQP, and the port for other nodes
/// (RabbitMQ: 15672 and 25672).
const HTTP_OFFSET: u16 = 10_000;
const CLUSTER_OFFSET: u16 = 20_000;

/// Where Linux begins with the ports that it gives to connections, and where free ports are looked
/// for.
const CONNECTIONS_FROM: u16 = 32_768;
const FREE_FROM: u16 = 12_000;

/// Every node of the cluster, the first one first.
pub(super) struct Layout {
    pub(super) nodes: Vec<Node>,
}

/// Where a node is.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) amqp: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) data: PathBuf,
    pub(super) config: PathBuf,
    pub(super) log: PathBuf,
}

#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    http: u16,
    cluster: u16,
}

impl Layout {
    /// Goes on with what an earlier start has left in `directory`; writes the files of a new
    /// cluster of `count` nodes where there is none. The nodes' ports for AMQP begin with `port`; 0
    /// takes free ones.
    pub(super) fn find_or_make(
        directory: &Path,
        count: u8,
        port: Option<u16>,
    ) -> Result<Self, String> {
        let shown = directory.display();
        fs::create_dir_all(directory).map_err(|error| format!("cannot make {shown}: {error}"))?;
        let directory =
            directory.canonicalize().map_err(|error| format!("cannot find {shown}: {error}"))?;
        let count = usize::from(count);
        let there = (1..=9).take_while(|number| config_of(&directory, *number).exists()).count();
        if there == 0 {
            make(&directory, count, port)?;
        } else if there != count {
            return Err(format!("the cluster in {shown} has {there} node(s), and not {count}"));
        }
        let nodes: Vec<_> =
            (1..=count).map(|number| Node::read(&directory, number)).collect::<Result<_, _>>()?;
        let first = nodes[0].amqp.port();
        match port {
            Some(port) if port != 0 && port != first => Err(format!(
                "the cluster in {shown} has its ports already, from {first} on; they stand in each \
                 node's leveret.conf"
            )),
            _ => Ok(Self { nodes }),
        }
    }
}

impl Node {
    fn read(directory: &Path, number: usize) -> Result<Self, String> {
        let file = config_of(directory, number);
        let mut config = Config::default();
        config::read_file(&file, &mut config).map_err(|error| error.to_string())?;
        let missing = |what| format!("{} names no {what}", file.display());
        let amqp = *config.listen.first().ok_or_else(|| missing("listeners.tcp"))?;
        let http = *config.management.first().ok_or_else(|| missing("management.tcp.port"))?;
        let data = config.data_dir.ok_or_else(|| missing("data_dir"))?;
        let log = file.with_file_name("leveret.log");
        Ok(Self { name: config.node_name, amqp, http, data, config: file, log })
    }
}

fn config_of(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("node{number}")).join("leveret.conf")
}

fn name_of(number: usize) -> String {
    format!("rabbit{number}@localhost")
}

/// Writes the files of all nodes.
fn make(directory: &Path, count: usize, port: Option<u16>) -> Result<(), String> {
    let ports = match port {
        Some(0) => free_ports(count).map_err(|error| format!("there is no free port: {error}"))?,
        _ => usual_ports(count, port.unwrap_or(USUAL_PORT))?,
    };
    let secret = secret(&directory.join("secret"))?;
    // The first node's file says that there is a cluster, and is therefore written last.
    for number in (1..=count).rev() {
        let text = configuration(directory, number, &ports, &secret);
        let file = config_of(directory, number);
        let folder = file.parent().expect("a file of a node is in its directory");
        fs::create_dir_all(folder)
            .and_then(|()| write_secretly(&file, &text))
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    Ok(())
}

fn usual_ports(count: usize, first: u16) -> Result<Vec<Ports>, String> {
    let last = (u16::MAX - CLUSTER_OFFSET) - (count as u16 - 1);
    if first > last {
        return Err(format!("the ports of {count} node(s) can begin at {last} at most"));
    }
    let ports = |amqp| Ports { amqp, http: amqp + HTTP_OFFSET, cluster: amqp + CLUSTER_OFFSET };
    Ok((first..).take(count).map(ports).collect())
}

/// Ports that nobody uses, all different: they are held until the last one is found. They are below
/// those that the system gives to connections, which would take them again at any time.
fn free_ports(count: usize) -> io::Result<Vec<Ports>> {
    let begin = FREE_FROM + (process::id() % 1_000) as u16 * 20;
    let held: Vec<_> = (begin..CONNECTIONS_FROM)
        .chain(FREE_FROM..begin)
        .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .take(3 * count)
        .collect();
    if held.len() < 3 * count {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let ports: Vec<_> = held
        .iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect::<Result<_, _>>()?;
    let of_a_node = |three: &[u16]| Ports { amqp: three[0], http: three[1], cluster: three[2] };
    Ok(ports.chunks_exact(3).map(of_a_node).collect())
}

/// What the file holds, or 256 bits that nobody can guess, which are then in it.
fn secret(file: &Path) -> Result<String, String> {
    let fault = |error: io::Error| format!("{}: {error}", file.display());
    match fs::read_to_string(file) {
        Ok(known) if !known.trim().is_empty() => return Ok(known.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
        _ => {}
    }
    let mut octets = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut octets))
        .map_err(|error| format!("/dev/urandom: {error}"))?;
    let mut secret = String::new();
    for octet in octets {
        let _a_string_takes_everything = write!(secret, "{octet:02x}");
    }
    write_secretly(file, &format!("{secret}\n")).map_err(fault)?;
    Ok(secret)
}

/// Nobody but its owner may read it.
fn write_secretly(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut target = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    target.write_all(text.as_bytes())?;
    target.sync_all()
}

fn configuration(directory: &Path, number: usize, ports: &[Ports], secret: &str) -> String {
    let own = ports[number - 1];
    let data = directory.join(format!("node{number}")).join("data");
    let mut text = format!(
        "# Node {number} of a cluster that `leveret cluster start-local` has made.\n\
         nodename = {}\n\
         data_dir = {}\n\
         listeners.tcp.1 = 127.0.0.1:{}\n\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {}\n\
         cluster.listener = 127.0.0.1:{}\n\
         cluster.secret = {secret}\n",
        name_of(number),
        data.display(),
        own.amqp,
        own.http,
        own.cluster,
    );
    for (number, ports) in (1..).zip(ports) {
        let (name, port) = (name_of(number), ports.cluster);
        let _a_string_takes_everything =
            writeln!(text, "cluster_formation.classic_config.nodes.{number} = {name}:{port}");
    }
    text
}
