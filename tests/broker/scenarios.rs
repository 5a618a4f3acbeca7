//! Plays every file of `tests/scenarios` three ways: on the broker in this process with a virtual
//! clock, on a server over TCP, and on a real RabbitMQ, which is what makes the expectations true.

#![expect(clippy::print_stdout, reason = "says what is left out")]

use crate::player::{
    Peer, Script, Server, clean_up, play, tcp::TcpPeer, virtual_node::VirtualPeer,
};
use leveret::config::Config;
use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const FOLDER: &str = "tests/scenarios";
const ORACLE: &str = "LEVERET_ORACLE_URL";
/// Names a running Leveret to play against over TCP, such as a node of a cluster.
const SUBJECT: &str = "LEVERET_SCENARIO_URL";
/// Narrows the oracle's run to the files whose name contains the text.
const FILTER: &str = "LEVERET_SCENARIO";
/// In real time, longer waits are left out.
const LONGEST_WAIT: Duration = Duration::from_secs(11);
/// How many scenarios that leave nothing behind are played at a time.
const LANES: usize = 6;

#[test]
fn every_scenario_can_be_read() {
    let faults: Vec<_> = scenarios().into_iter().filter_map(|(_, script)| script.err()).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_scenario_is_there() {
    assert!(scenarios().len() >= 170, "{} scenarios", scenarios().len());
}

#[test]
fn scenarios_hold_in_this_process() {
    let faults: Vec<_> = chosen()
        .into_iter()
        .filter_map(|(path, script)| {
            let why =
                play(&script, &mut VirtualPeer::new(&script.settings.configuration)).0.err()?;
            Some(format!("{}:{why}", path.display()))
        })
        .collect();
    assert!(faults.is_empty(), "\n{} fail\n{}\n", faults.len(), faults.join("\n"));
}

#[test]
fn scenarios_hold_over_tcp() {
    if let Ok(url) = std::env::var(SUBJECT) {
        let faults = play_over_tcp(short_enough(chosen()), address_in(&url), Server::Leveret);
        assert!(faults.is_empty(), "\n{} fail\n{}\n", faults.len(), faults.join("\n"));
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { listen: vec![any_port], ..Config::default() };
    let server = leveret::server::Server::start(&config);
    let server = runtime.block_on(server).expect("a free port of this machine");
    let played = short_enough(chosen());
    let faults = play_over_tcp(played, server.addresses()[0], Server::Leveret);
    runtime.block_on(server.stop());
    assert!(faults.is_empty(), "\n{} fail\n{}\n", faults.len(), faults.join("\n"));
}

#[test]
fn scenarios_hold_on_the_oracle() {
    let Some(oracle) = Oracle::found() else {
        println!("skipped: no RabbitMQ; set {ORACLE}=amqp://host:port to play the scenarios there");
        return;
    };
    let chosen = short_enough(chosen());
    let played = chosen.len();
    let deviating = chosen.iter().filter(|(_, script)| script.settings.deviation.is_some()).count();
    let faults = play_over_tcp(chosen, oracle.address, Server::Oracle);
    println!("{played} scenarios played on the oracle, {deviating} deviate from it on purpose");
    assert!(faults.is_empty(), "\n{} of {played} fail\n{}\n", faults.len(), faults.join("\n"));
}

/// The scenarios that can be read and are asked for.
fn chosen() -> Vec<(PathBuf, Script)> {
    let filter = std::env::var(FILTER).unwrap_or_default();
    scenarios()
        .into_iter()
        .filter(|(path, _)| path.display().to_string().contains(&filter))
        .filter_map(|(path, script)| Some((path, script.ok()?)))
        .collect()
}

/// Those that do not wait too long where time is real, and want no broker of their own.
fn short_enough(mut scenarios: Vec<(PathBuf, Script)>) -> Vec<(PathBuf, Script)> {
    scenarios.retain(|(_, script)| script.settings.configuration.is_empty());
    scenarios.retain(|(path, script)| {
        let is_short = script.waiting() <= LONGEST_WAIT;
        if !is_short {
            println!("skipped: {} waits {:?}", path.display(), script.waiting());
        }
        is_short
    });
    scenarios
}

/// Plays scenarios against one lasting broker, those that share its names one after the other.
fn play_over_tcp(
    scenarios: Vec<(PathBuf, Script)>,
    address: SocketAddr,
    server: Server,
) -> Vec<String> {
    let (alone, sharing): (Vec<_>, Vec<_>) =
        scenarios.into_iter().partition(|(_, script)| script.is_alone());
    let mut lanes: Vec<Vec<_>> = (0..LANES).map(|_| Vec::new()).collect();
    for (index, scenario) in alone.into_iter().enumerate() {
        lanes[index % LANES].push(scenario);
    }
    lanes.push(sharing);
    std::thread::scope(|scope| {
        let lanes: Vec<_> = lanes
            .iter()
            .map(|lane| scope.spawn(move || play_in_turn(lane, address, server)))
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("the player does not panic")).collect()
    })
}

fn play_in_turn(
    scenarios: &[(PathBuf, Script)],
    address: SocketAddr,
    server: Server,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, script) in scenarios {
        let mut peer = TcpPeer::new(address, server);
        if let Err(why) = play_and_clean_up(script, &mut peer) {
            faults.push(format!("{}:{why}", path.display()));
        }
    }
    faults
}

fn play_and_clean_up(script: &Script, peer: &mut dyn Peer) -> Result<(), String> {
    let (result, leftovers) = play(script, peer);
    let cleaned = if script.is_alone() { Ok(()) } else { clean_up(&leftovers, peer) };
    result?;
    cleaned.map_err(|why| format!("while cleaning up: {why}"))
}

/// Every scenario with its path, in the order of their names; what cannot be read says why.
fn scenarios() -> Vec<(PathBuf, Result<Script, String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let entries = fs::read_dir(folder).expect("the folder of scenarios");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "amqp"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a scenario is text");
            let shown = Path::new(FOLDER).join(path.file_name().expect("a file has a name"));
            let script = Script::read(&text).map_err(|why| format!("{}:{why}", shown.display()));
            (shown, script)
        })
        .collect()
}

/// A RabbitMQ to play against, ended with the test if the test has started it.
struct Oracle {
    address: SocketAddr,
    node: Option<(Child, PathBuf)>,
}

impl Oracle {
    /// The one that is named, or under CI one of our own.
    fn found() -> Option<Self> {
        if let Ok(url) = std::env::var(ORACLE) {
            return Some(Self { address: address_in(&url), node: None });
        }
        let under_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        let is_installed = Path::new("/usr/sbin/rabbitmq-server").exists();
        (under_ci && is_installed).then(Self::start)
    }

    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("leveret-oracle-{}", std::process::id()));
        let mut node = oracle_command("start", &folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("interop/oracle/rabbitmq starts");
        let output = node.stdout.take().expect("its output is ours");
        let port = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_whitespace().last()?.parse().ok())
            .expect("the node prints its port");
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), node: Some((node, folder)) }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        if let Some((mut node, folder)) = self.node.take() {
            let _it_may_have_ended = oracle_command("stop", &folder).status();
            let _it_is_over = node.wait();
            let _only_space_is_lost = fs::remove_dir_all(folder);
        }
    }
}

fn oracle_command(verb: &str, folder: &Path) -> Command {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/oracle/rabbitmq");
    let mut command = Command::new(program);
    command.arg(verb).arg(folder);
    command
}

fn address_in(url: &str) -> SocketAddr {
    let authority = url.trim_start_matches("amqp://").split('/').next().unwrap_or(url);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:5672") };
    let mut addresses = host.to_socket_addrs().expect("the URL names a host and a port");
    addresses.next().expect("the host has an address")
}
