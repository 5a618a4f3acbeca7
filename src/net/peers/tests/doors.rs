//! Who is let in and who is not, and what both sides hear of it.

use std::{
    env, fs,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    super::{handshake, hello::Purpose, line::Line, refusal::Refusal},
    proxy::Proxy,
    *,
};
use crate::net::tls::{Authority, Identity, Lifetime, NodeFiles};

fn secret(text: &str) -> Credentials {
    Credentials { secret: Some(Secret::new(text.as_bytes())), tls: None }
}

/// Dials `node` as somebody, and returns what comes of it.
async fn dial(
    node: &Node,
    me: &Introduction,
    with: &Credentials,
    wanted: NodeNumber,
) -> Result<u16, Refusal> {
    let stream = TcpStream::connect(&node.address).await.unwrap();
    let mut line = Line::dialled(stream, with).await?;
    let purpose = (Purpose::Frames(Class::Bulk), wanted);
    Ok(handshake::dial(&mut line, me, with, purpose).await?.version)
}

/// A node B that expects A at an address where nobody is.
async fn lone(credentials: Credentials) -> Node {
    let mut plan = Plan::new(B).await;
    plan.credentials = credentials;
    plan.start([member(A, "127.0.0.1:1")])
}

async fn refusal(node: &Node, me: &Introduction, with: &Credentials, wanted: NodeNumber) -> String {
    dial(node, me, with, wanted).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_node_that_knows_the_secret_is_let_in() {
    let (mut a, mut b) = pair(|plan| plan.credentials = secret("drawn at random")).await;
    a.until_up(B).await;
    b.until_up(A).await;
}

#[tokio::test]
async fn who_is_somebody_else_hears_why_he_is_refused() {
    let with = secret("ours");
    let node = lone(with.clone()).await;
    let me = introduction(A);
    assert_eq!(dial(&node, &me, &with, B).await.unwrap(), 1);

    let text = refusal(&node, &me, &secret("theirs"), B).await;
    assert_eq!(text, "it refuses this node: it has another `cluster.secret`");
    let other = Introduction { cluster: 0xC2, ..me.clone() };
    let expected = "it refuses this node: it belongs to another cluster: \
                    000000000000000000000000000000c2, and not 000000000000000000000000000000c1";
    assert_eq!(refusal(&node, &other, &with, B).await, expected);
    let other = Introduction { node: C, ..me.clone() };
    let expected =
        "it refuses this node: it says that it is node 3, and there is no such member here";
    assert_eq!(refusal(&node, &other, &with, B).await, expected);
    let other = Introduction { name: "rabbit@host9".to_owned(), ..me.clone() };
    let said = "it says that it is `rabbit@host9`, and node 1 is `rabbit@host1` here";
    let expected = format!("it refuses this node: {said}");
    assert_eq!(refusal(&node, &other, &with, B).await, expected);
    let expected = "it refuses this node: it looks for node 3, and this is node 2";
    assert_eq!(refusal(&node, &me, &with, C).await, expected);
}

#[tokio::test]
async fn who_speaks_other_versions_hears_which_are_spoken() {
    let node = lone(Credentials::default()).await;
    let newer = Introduction { versions: (2, 3), ..introduction(A) };
    let expected = "it refuses this node: it speaks the versions 2 to 3 of the protocol between \
                    nodes, and here 1 to 1 are spoken";
    assert_eq!(refusal(&node, &newer, &Credentials::default(), B).await, expected);
    let both = Introduction { versions: (1, 3), ..introduction(A) };
    assert_eq!(dial(&node, &both, &Credentials::default(), B).await.unwrap(), 1);
}

#[tokio::test]
async fn an_incarnation_that_is_over_does_not_come_back() {
    let node = lone(Credentials::default()).await;
    let with = Credentials::default();
    let newer = Introduction { incarnation: 9, ..introduction(A) };
    assert_eq!(dial(&node, &newer, &with, B).await.unwrap(), 1);
    let expected = "it refuses this node: it is incarnation 1 of itself, and a newer one is known";
    assert_eq!(refusal(&node, &introduction(A), &with, B).await, expected);
}

#[tokio::test]
async fn a_secret_on_one_side_alone_is_no_secret() {
    let (with, without) = (secret("s"), Credentials::default());
    let node = lone(with.clone()).await;
    let expected = "it refuses this node: it has no `cluster.secret`, and here one is set";
    assert_eq!(refusal(&node, &introduction(A), &without, B).await, expected);
    let node = lone(without).await;
    let expected = "it refuses this node: it has a `cluster.secret`, and here none is set";
    assert_eq!(refusal(&node, &introduction(A), &with, B).await, expected);
}

#[tokio::test]
async fn a_dialler_demands_a_proof_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let impostor = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let with = secret("s");
        let mut line = Line::accepted(stream, &with).await.unwrap();
        let _met = handshake::meet(&mut line, &introduction(B), &with).await.unwrap();
        handshake::admit(&mut line, Some([0; 32])).await.unwrap();
    });
    let with = secret("s");
    let stream = TcpStream::connect(address).await.unwrap();
    let mut line = Line::dialled(stream, &with).await.unwrap();
    let purpose = (Purpose::Frames(Class::Data), B);
    let met = handshake::dial(&mut line, &introduction(A), &with, purpose).await;
    assert!(matches!(met, Err(Refusal::WrongSecret)), "{met:?}");
    impostor.await.unwrap();
}

/// Reads until the other side closes.
async fn until_closed(stream: &mut TcpStream) {
    let mut octets = Vec::new();
    let closed = timeout(PATIENCE, stream.read_to_end(&mut octets)).await;
    let _reset_or_closed = closed.expect("it is closed in time");
    assert!(octets.len() < 4096, "little is said to strangers");
}

#[tokio::test]
async fn speakers_of_other_protocols_are_not_waited_for() {
    let (mut a, mut b) = pair(|_| {}).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"AMQP\0\0\x09\x01", b"LEVERET\n\xff\xff", &[0]]
    {
        let mut stream = TcpStream::connect(&b.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        until_closed(&mut stream).await;
    }
    a.until_up(B).await;
    b.until_up(A).await;
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_out_and_leaves_in_time() {
    let mut b = Plan::new(B).await.start([member(A, "127.0.0.1:1")]);
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(&b.address).await.unwrap());
    }
    let a = Plan::new(A).await;
    b.peers.set_members([member(A, &a.address)].into());
    let mut a = a.start([member(B, &b.address)]);
    a.until_up(B).await;
    b.until_up(A).await;
    for stream in &mut silent {
        until_closed(stream).await;
    }
}

#[tokio::test]
async fn somebody_who_may_not_join_yet_may_ask() {
    let with = secret("s");
    let node = lone(with.clone()).await;
    let ask = |with: Credentials, payload: &'static [u8]| {
        let address = node.address.clone();
        async move { ask(&address, "rabbit@new", &with, Bytes::from_static(payload)).await }
    };
    assert_eq!(ask(with.clone(), b"may I").await.unwrap(), &b"may I!"[..]);
    let refused = ask(with.clone(), b"no").await.unwrap_err().to_string();
    assert_eq!(refused, format!("{} refuses: not for rabbit@new", node.address));
    let untrusted = ask(secret("t"), b"may I").await.unwrap_err().to_string();
    let why = "it refuses this node: it has another `cluster.secret`";
    assert_eq!(untrusted, format!("{} cannot be talked to: {why}", node.address));
    let long = vec![0; (1 << 20) + 1].leak();
    assert!(matches!(ask(with, long).await, Err(Unanswered::Untrusted { .. })));
    node.peers.stop().await;
    let gone = ask(Credentials::default(), b"may I").await;
    assert!(matches!(gone, Err(Unanswered::Unreachable { .. })));
}

/// Certificates of nodes, in a directory that is gone with its owner.
struct Certificates {
    directory: PathBuf,
    authority: Authority,
}

impl Certificates {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("leveret-nodes-{}-{number}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        let authority = Authority::new(Lifetime::days(2)).unwrap();
        fs::write(directory.join("ca"), authority.pair().certificate).unwrap();
        Self { directory, authority }
    }

    fn of(&self, identity: Identity<'_>) -> Credentials {
        let pair = self.authority.issue(identity, Lifetime::days(2)).unwrap();
        let place = |name| self.directory.join(name);
        fs::write(place("certificate"), pair.certificate).unwrap();
        fs::write(place("key"), pair.key).unwrap();
        let files = NodeFiles {
            authorities: place("ca"),
            certificate: place("certificate"),
            key: place("key"),
        };
        Credentials { tls: Some(Arc::new(NodeTls::new(files).unwrap())), secret: None }
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _it_is_a_temporary_directory = fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn nodes_with_good_certificates_meet_under_tls() {
    let certificates = Certificates::new();
    let secret = secret("both").secret;
    let (mut a, mut b) = pair(|plan| {
        let host = format!("host{}", plan.me.node);
        plan.credentials = certificates.of(Identity::Node(&host));
        plan.credentials.secret = secret.clone();
    })
    .await;
    a.until_open(&[B]).await;
    b.until_up(A).await;
    let payload = Bytes::from(vec![7; 4 << 20]);
    a.peers.send(B, Class::Data, 1, std::slice::from_ref(&payload)).unwrap();
    assert!(b.next_frame().await.payload == payload);
}

#[tokio::test]
async fn certificates_that_say_too_little_are_refused() {
    let certificates = Certificates::new();
    let node = lone(certificates.of(Identity::Node("host2"))).await;
    let me = introduction(A);
    let good = certificates.of(Identity::Node("host1"));
    assert_eq!(dial(&node, &me, &good, B).await.unwrap(), 1);

    let other_host = certificates.of(Identity::Node("host3"));
    let expected = "it refuses this node: its certificate does not name `host1`";
    assert_eq!(refusal(&node, &me, &other_host, B).await, expected);
    let server_alone = certificates.of(Identity::Server(&["host1".to_owned()]));
    assert!(dial(&node, &me, &server_alone, B).await.is_err());
    let stranger = Certificates::new().of(Identity::Node("host1"));
    assert!(dial(&node, &me, &stranger, B).await.is_err());
    assert!(dial(&node, &me, &secret("plain"), B).await.is_err());
    assert!(dial(&lone(secret("plain")).await, &me, &good, B).await.is_err());

    let asked = ask(&node.address, "rabbit@host1", &good, Bytes::new()).await;
    assert_eq!(asked.unwrap(), &b"!"[..]);
    let wrong = ask(&node.address, "rabbit@host3", &good, Bytes::new()).await;
    assert!(wrong.unwrap_err().to_string().ends_with("does not name `host3`"));
}

#[tokio::test]
async fn a_dialler_wants_the_certificate_of_whom_he_dials() {
    let certificates = Certificates::new();
    let (mut a, mut b) = (Plan::new(A).await, Plan::new(B).await);
    a.credentials = certificates.of(Identity::Node("host1"));
    b.credentials = certificates.of(Identity::Node("host3"));
    let proxy = Proxy::to(&b.address).await;
    let (to_a, to_b) = (member(A, &a.address), member(B, &proxy.address));
    let (mut a, mut b) = (a.start([to_b]), b.start([to_a]));
    timeout(PATIENCE, proxy.until_tried(9)).await.unwrap();
    for events in [&mut a.events, &mut b.events] {
        assert!(events.try_recv().is_err());
    }
    assert_eq!(a.peers.send(B, Class::Data, 1, &[]), Err(Unsent::NotConnected));
}
