//! AMQP over TLS: other people's clients, certificates good and bad, and peers that speak no TLS.

mod broker;
mod peer;

use self::{
    broker::{Certificates, Secured},
    peer::{enter, shake_hands},
};
use crate::{
    broker::{fresh_directory, program},
    clients::{prepare, skip},
    lapin_words::{declare, publish, soon},
    process::Process,
};
use lapin::{
    Connection, ConnectionProperties, ErrorKind,
    options::BasicGetOptions,
    tcp::{OwnedIdentity, OwnedTLSConfig},
};
use leveret::net::tls::{Identity, Lifetime};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

const CASES: [&str; 4] =
    ["without-certificate", "with-certificate", "server-of-a-stranger", "client-of-a-stranger"];

#[test]
fn pika_speaks_tls() {
    let Some(directory) = prepare("pika") else { return };
    let mut command = Command::new(Path::new(&directory).join("venv/bin/python"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop");
    command.arg(root.join("pika/tls.py"));
    command.env("PYTHONPATH", root.join("shared")).env("PYTHONDONTWRITEBYTECODE", "1");
    check(command);
}

#[test]
fn amqp091_go_speaks_tls() {
    let Some(directory) = prepare("amqp091-go") else { return };
    let mut command = Command::new(Path::new(&directory).join("program"));
    command.arg("tls");
    check(command);
}

#[test]
fn the_java_client_speaks_tls() {
    let Some(directory) = prepare("java-client") else { return };
    let mut command = Command::new("java");
    // The compiler that makes long runs fast only makes short ones slow.
    command.args(["-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(format!("{directory}/target/classes:{directory}/target/libraries/*"));
    command.arg("interop.TlsProgram");
    check(command);
}

fn check(mut command: Command) {
    let (ours, strange) = (Certificates::new(), Certificates::new());
    if ![&ours, &strange].into_iter().all(Certificates::add_pkcs12) {
        return skip("openssl is not installed");
    }
    let broker = Secured::start(&ours, "ssl_options.verify = verify_peer\n");
    command.arg(broker.port.to_string()).args([&ours.directory, &strange.directory]);
    let mut process = Process::start(&mut command);
    let status = process.end(PATIENCE);
    let is_held = |case: &&str| process.said.lines().any(|line| line == format!("ok {case}"));
    assert!(status.success() && CASES.iter().all(is_held), "{status}\n{}", process.said);
}

#[tokio::test]
async fn lapin_speaks_tls() {
    let ours = Certificates::new();
    let broker = Secured::start(&ours, "ssl_options.verify = verify_peer\n");
    for with_certificate in [false, true] {
        let connection = soon(lapin(&broker, &ours, with_certificate)).await;
        let channel = soon(connection.create_channel()).await;
        let queue = declare(&channel).await;
        let body = b"0123456789abcdef".repeat(20_000);
        publish(&channel, &queue, &body).await;
        let options = BasicGetOptions { no_ack: true };
        let found = soon(channel.basic_get(queue, options)).await.expect("it is there");
        assert_eq!(found.data, body);
    }
    let strange = Certificates::new();
    assert!(lapin(&broker, &strange, false).await.is_err(), "the server is unknown");
}

/// Logs in as `CN=client,O=Leveret`, with the password or with the certificate.
async fn lapin(
    broker: &Secured,
    certificates: &Certificates,
    with_certificate: bool,
) -> lapin::Result<Connection> {
    let identity = with_certificate.then(|| OwnedIdentity::PKCS8 {
        pem: certificates.read("client_certificate.pem").into_bytes(),
        key: certificates.read("client_key.pem").into_bytes(),
    });
    let cert_chain = Some(certificates.read("ca_certificate.pem"));
    let way_in = if with_certificate {
        format!("localhost:{}/%2f?auth_mechanism=external", broker.port)
    } else {
        format!("CN%3Dclient%2CO%3DLeveret:secret@localhost:{}/%2f", broker.port)
    };
    let config = OwnedTLSConfig { identity, cert_chain };
    let properties = ConnectionProperties::default();
    let runtime = lapin::runtime::default_runtime()?;
    Connection::connect_with_config(&format!("amqps://{way_in}"), properties, config, runtime).await
}

#[tokio::test]
async fn the_user_is_the_part_of_the_certificate_that_is_chosen() {
    let ours = Certificates::new();
    ours.issue("client", Identity::Client("anna@example.com"), Lifetime::days(1));
    let by_email = "ssl_cert_login_from = subject_alternative_name\n\
                    ssl_cert_login_san_type = email\ndefault_user = anna@example.com\n";
    let by_missing_part = "ssl_cert_login_from = subject_alternative_name\n\
                           ssl_cert_login_san_type = uri\ndefault_user = anna@example.com\n";
    for (settings, is_let_in) in [
        ("default_user = CN=anna@example.com,O=Leveret\n", true),
        ("ssl_cert_login_from = common_name\ndefault_user = anna@example.com\n", true),
        (by_email, true),
        (by_missing_part, false),
        ("default_user = O=Leveret,CN=anna@example.com\n", false),
    ] {
        let settings = format!("ssl_options.verify = verify_peer\n{settings}");
        let broker = Secured::start(&ours, &settings);
        let outcome = lapin(&broker, &ours, true).await;
        assert_eq!(outcome.is_ok(), is_let_in, "{settings}");
        if let Err(error) = outcome {
            assert_eq!(refusal(&error), REFUSED, "{settings}");
        }
    }
}

const REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. \
                       For details see the broker logfile.";

fn refusal(error: &lapin::Error) -> &str {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => refusal.get_message().as_str(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_without_a_good_certificate_is_refused() {
    let (ours, strange) = (Certificates::new(), Certificates::new());
    let settings = "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n";
    let broker = Secured::start(&ours, settings);
    let roots = ours.read("ca_certificate.pem");
    assert!(enter(broker.port, &roots, Some(&ours)).await.is_ok());
    assert!(enter(broker.port, &roots, None).await.is_err(), "no certificate");
    assert!(enter(broker.port, &roots, Some(&strange)).await.is_err(), "a stranger's certificate");
    let (from, day) = (SystemTime::UNIX_EPOCH, Duration::from_secs(24 * 3600));
    let over = Lifetime { from, until: from + day };
    ours.issue("client", Identity::Client("client"), over);
    assert!(enter(broker.port, &roots, Some(&ours)).await.is_err(), "an expired certificate");
    ours.issue("client", Identity::Server(&["client".to_owned()]), Lifetime::days(1));
    assert!(enter(broker.port, &roots, Some(&ours)).await.is_err(), "a server's certificate");
}

#[tokio::test]
async fn who_does_not_finish_a_handshake_is_cut_off_and_holds_nobody_up() {
    let ours = Certificates::new();
    let broker = Secured::start(&ours, "ssl_handshake_timeout = 1500\n");
    let mut peers = Vec::new();
    let half_a_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let garbage = [0xFF; 300];
    for said in [b"".as_slice(), half_a_hello, &garbage, b"AMQP\0\0\x09\x01"] {
        for _ in 0..20 {
            let mut peer = TcpStream::connect(("127.0.0.1", broker.port)).await.unwrap();
            peer.write_all(said).await.unwrap();
            peers.push(peer);
        }
    }
    let roots = ours.read("ca_certificate.pem");
    timeout(Duration::from_secs(1), enter(broker.port, &roots, None))
        .await
        .expect("nobody is in the way")
        .unwrap();
    for mut peer in peers {
        // An alert may come first, and a reset instead of an end.
        let _ = timeout(PATIENCE, peer.read_to_end(&mut Vec::new())).await.expect("it is cut off");
    }
    enter(broker.port, &roots, None).await.unwrap();
}

#[tokio::test]
async fn new_certificates_are_served_while_old_connections_go_on() {
    let ours = Certificates::new();
    let mut broker = Secured::start(&ours, "");
    let roots = ours.read("ca_certificate.pem");
    let old = soon(lapin(&broker, &ours, false)).await;
    let served = async |port| served(("localhost", port), &roots).await;
    let first = served(broker.port).await;
    ours.issue("server", Identity::Server(&["localhost".to_owned()]), Lifetime::days(3));
    broker.process.signal("HUP");
    broker.process.line(PATIENCE, |line| line.contains("have been read again"));
    let second = served(broker.port).await;
    assert_ne!(first, second);
    fs::write(Path::new(&ours.directory).join("server_key.pem"), "half a k").unwrap();
    broker.process.signal("HUP");
    broker.process.line(PATIENCE, |line| line.contains("stay as they were: there is no private"));
    assert_eq!(served(broker.port).await, second);
    soon(old.create_channel()).await;
}

/// The certificate that a client meets who asks for this host.
async fn served(host: (&str, u16), roots: &str) -> Vec<u8> {
    let stream = shake_hands(host, roots, None).await.unwrap();
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    certificates[0].to_vec()
}

#[tokio::test]
async fn who_asks_for_another_host_meets_its_certificate() {
    let ours = Certificates::new();
    let other = Identity::Server(&["other.example".to_owned()]);
    ours.issue("other", other, Lifetime::days(1));
    let directory = &ours.directory;
    let settings = format!(
        "ssl_options.sni.1.hostname = other.example\n\
         ssl_options.sni.1.certfile = {directory}/other_certificate.pem\n\
         ssl_options.sni.1.keyfile = {directory}/other_key.pem\n"
    );
    let broker = Secured::start(&ours, &settings);
    let roots = ours.read("ca_certificate.pem");
    let usual = served(("localhost", broker.port), &roots).await;
    assert_ne!(served(("other.example", broker.port), &roots).await, usual);
    assert_eq!(served(("127.0.0.1", broker.port), &roots).await, usual);
    let stranger = shake_hands(("nobody.example", broker.port), &roots, None).await.unwrap_err();
    assert!(stranger.to_string().contains("not valid for name"), "it is served: {stranger}");
}

#[test]
fn openssl_talks_to_what_the_generator_made() {
    let directory = fresh_directory();
    let place = directory.join("certificates");
    let generate = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(["tls", "generate"]).arg(&place).args(["--host", "broker.example"]);
        command.output().unwrap()
    };
    let made = generate();
    assert!(made.status.success(), "{made:?}");
    let again = generate();
    assert!(!again.status.success(), "it overwrites");
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(place.join("server_key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let settings = String::from_utf8(made.stdout).unwrap();
    let settings = settings.replace("default = 5671", "default = 127.0.0.1:0");
    // It ends the conversation, which openssl does not.
    let broker = Secured::start_with(&format!("{settings}handshake_timeout = 300\n"));
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-verify_return_error", version]);
        command.args(["-connect", &format!("127.0.0.1:{}", broker.port)]);
        command.args(["-verify_hostname", "broker.example", "-servername", "broker.example"]);
        command.arg("-CAfile").arg(place.join("ca_certificate.pem"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut client) = command.spawn() else { return skip("openssl is not installed") };
        client.stdin.take().unwrap().write_all(b"AMQP\0\0\x09\x01").unwrap();
        let output = client.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("publisher_confirms"), "{version}: {output:?}");
    }
}

#[test]
fn a_start_with_files_that_do_not_fit_says_which() {
    let (ours, strange) = (Certificates::new(), Certificates::new());
    fs::write(Path::new(&ours.directory).join("server_key.pem"), strange.read("server_key.pem"))
        .unwrap();
    let file = ours.settings("");
    let mut command = Command::new(program());
    let output = command.args(["--ephemeral", "--config"]).arg(file).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("server_key.pem (`ssl_options.keyfile`) is not the key of"), "{said}");
}
