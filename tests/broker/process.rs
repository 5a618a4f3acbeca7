//! The binary as an operator meets it: what it prints, how it ends, what it says when it cannot
//! start.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running `leveret`, killed when the test is over.
pub struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Process {
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut leveret(arguments))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _the_test_is_over = sender.send(line);
            }
        });
        Self { child, lines }
    }

    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line on standard output")
    }

    /// The addresses that the ready line names.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let line = self.line();
        let (_, addresses) = line.split_once("is ready: amqp on ").expect(&line);
        let (addresses, _where_data_is_kept) = addresses.split_once("; ").expect(&line);
        addresses.split(", ").map(|address| address.parse().unwrap()).collect()
    }

    /// An open connection.
    fn open(&self) -> TcpStream {
        open(self.addresses()[0])
    }

    /// The number by which the system knows it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        // Standard output ends when the process does.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _it_may_have_ended = self.child.wait();
    }
}

pub fn leveret(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(arguments).env_remove("RABBITMQ_CONFIG_FILE").env_remove("LEVERET_DATA_DIR");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn run(arguments: &[&str]) -> Output {
    leveret(arguments).output().unwrap()
}

/// It could not start: an exit code, one line that says why, nothing else.
pub fn check_refused(arguments: &[&str], reason: &str) {
    let output = run(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    assert!(error.contains(reason), "{arguments:?}: {error}");
    assert!(output.stdout.is_empty());
}

#[test]
fn it_says_where_it_listens_and_then_what_tools_wait_for() {
    let process =
        Process::start(&["--ephemeral", "--listen", "127.0.0.1:0", "--listen", "[::1]:0"]);
    let addresses = process.addresses();
    assert_eq!(addresses.len(), 2);
    assert!(process.line().contains("Server startup complete; 0 plugins started."));
    for address in addresses {
        TcpStream::connect(address).unwrap();
    }
}

#[test]
fn serve_is_what_happens_without_a_command() {
    let process = Process::start(&["serve", "--ephemeral", "--listen", "127.0.0.1:0"]);
    TcpStream::connect(process.addresses()[0]).unwrap();
}

#[test]
fn a_signal_ends_it_with_code_0() {
    for signal in ["TERM", "INT"] {
        let mut process = Process::start(&["--ephemeral", "--listen", "127.0.0.1:0"]);
        process.addresses();
        process.signal(signal);
        assert_eq!(process.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_client_is_told_that_the_broker_stops() {
    let mut process = Process::start(&["--ephemeral", "--listen", "127.0.0.1:0"]);
    let mut stream = process.open();
    process.signal("TERM");
    let text = b"CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    read_until(&mut stream, text);
    stream.write_all(&frame(&[0, 10, 0, 51])).unwrap();
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut process = Process::start(&["--ephemeral", "--listen", "127.0.0.1:0"]);
    let mut stream = process.open();
    process.signal("TERM");
    read_until(&mut stream, b"CONNECTION_FORCED");
    // The client does not answer, so the broker still waits for it.
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check_refused(
        &["--ephemeral", "--listen", &address],
        &format!("leveret: cannot listen on {address}: "),
    );
}

#[test]
fn a_taken_port_leaves_nothing_half_started() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check_refused(
        &["--ephemeral", "--listen", "127.0.0.1:0", "--listen", &address],
        "cannot listen on",
    );
}

#[test]
fn a_bad_flag_is_named() {
    check_refused(&["--ephemeral", "--lisen", "127.0.0.1:0"], "unexpected argument '--lisen'");
    check_refused(&["--ephemeral", "--listen", "nowhere"], "invalid value 'nowhere'");
    check_refused(
        &["--ephemeral", "--listen", "127.0.0.1:0", "--log", "info=loudly"],
        "is no log level",
    );
}

#[test]
fn an_unreadable_configuration_is_named() {
    check_refused(
        &["--ephemeral", "--config", "/no/such.conf"],
        "cannot read the configuration file /no/such.conf",
    );
}

#[test]
fn a_wrong_line_of_the_configuration_is_named() {
    let path = std::env::temp_dir().join(format!("leveret-{}.conf", std::process::id()));
    fs::write(&path, "heartbeat = 5\nheartbeet = 5\n").unwrap();
    let path_text = path.display().to_string();
    check_refused(
        &["--ephemeral", "--config", &path_text],
        &format!("{path_text}:2: there is no setting"),
    );
    fs::remove_file(path).unwrap();
}

#[test]
fn a_data_directory_that_cannot_be_is_named() {
    let file = env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml/data";
    check_refused(
        &["--listen", "127.0.0.1:0", "--data-dir", &file],
        "cannot use the data directory",
    );
}

#[test]
fn scarce_memory_and_a_disk_without_room_block_who_publishes() {
    let folder = std::env::temp_dir().join(format!("leveret-alarm-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let shown = |name: &str| folder.join(name).display().to_string();
    let check = |setting: &str, reason: &str| {
        fs::write(folder.join("conf"), setting).unwrap();
        let (file, kept) = (shown("conf"), shown("data"));
        let (listen, config) = (["--listen", "127.0.0.1:0"], ["--config", &file]);
        let process = Process::start(&[&listen[..], &config, &["--data-dir", &kept]].concat());
        let mut stream = process.open();
        let publish = [0, 60, 0, 40, 0, 0, 0, 1, b'x', 0];
        let header = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let contents = [on_channel(1, &publish), on_channel(2, &header)].concat();
        let octets = [on_channel(1, &[0, 20, 0, 10, 0]), contents].concat();
        stream.write_all(&octets).unwrap();
        read_until(&mut stream, reason.as_bytes());
    };
    check("vm_memory_high_watermark.absolute = 1", "\0\x0a\0\x3c\x0dlow on memory");
    check("vm_memory_high_watermark.relative = 0.000001", "\0\x0a\0\x3c\x0dlow on memory");
    check("disk_free_limit.absolute = 1000PB", "\0\x0a\0\x3c\x0blow on disk");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_default_configuration_file_says_what_the_defaults_are() {
    let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/default.conf"));
    let mut config = leveret::config::Config::default();
    config.listen.clear();
    config.heartbeat = 1;
    config.frame_max = 5000;
    config.loopback_users.clear();
    config.memory_watermark = leveret::config::Limit::Absolute(1);
    config.memory_paging_ratio = 0.0;
    config.memory_monitor_interval_ms = 1;
    config.disk_free_limit = leveret::config::Limit::Relative(1.0);
    leveret::config::read_file(path, &mut config).unwrap();
    assert_eq!(config, leveret::config::Config::default());
}

/// An open connection.
pub fn open(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&opening()).unwrap();
    read_until(&mut stream, &[0, 10, 0, 41]);
    stream
}

/// Protocol header and the client's whole side of the handshake, in one write.
fn opening() -> Vec<u8> {
    let mut start_ok = vec![0, 10, 0, 11, 0, 0, 0, 39];
    start_ok.extend(b"\x0ccapabilitiesF\0\0\0\x15\x12connection.blockedt\x01");
    start_ok.extend(b"\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US");
    let tune_ok = [0, 10, 0, 31, 0, 100, 0, 2, 0, 0, 0, 0];
    let open = [0, 10, 0, 40, 1, b'/', 0, 0];
    [b"AMQP\0\0\x09\x01".to_vec(), frame(&start_ok), frame(&tune_ok), frame(&open)].concat()
}

/// A method frame of channel 0.
fn frame(payload: &[u8]) -> Vec<u8> {
    framed([1, 0, 0], payload)
}

/// A frame of channel 1.
fn on_channel(kind: u8, payload: &[u8]) -> Vec<u8> {
    framed([kind, 0, 1], payload)
}

fn framed(start: [u8; 3], payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&start[..], &size, payload, &[0xCE]].concat()
}

fn read_until(stream: &mut TcpStream, wanted: &[u8]) {
    let mut read = Vec::new();
    let mut octet = [0];
    while !read.ends_with(wanted) {
        let arrived = stream.read(&mut octet).unwrap();
        assert_eq!(arrived, 1, "the broker hung up after {:?}", String::from_utf8_lossy(&read));
        read.extend(octet);
    }
}
