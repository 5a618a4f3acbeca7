//! What is sent to another node: dials it, again and again, and writes what waits for it.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tracing::debug;

use super::{
    Class, Member,
    frames::{Chain, Kind},
    handshake,
    hello::Purpose,
    hub::{Hub, Neighbour},
    incoming::HANDSHAKE,
    line::Line,
    refusal::Refusal,
};

/// Between two attempts, at first and at most.
const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(1);
/// An attempt that was over sooner has failed; one that took longer ended otherwise, or by a
/// time-out that was a pause of its own.
const STEADY: Duration = Duration::from_secs(2);
/// For each of the addresses that a name stands for.
const CONNECT: Duration = Duration::from_secs(5);

/// Keeps a connection to a neighbour, until it is no member any more or everything stops.
pub(super) async fn keep(hub: Arc<Hub>, neighbour: Arc<Neighbour>, class: Class) {
    let keeping = async {
        let mut pause = SOON;
        while !neighbour.removed.is_cancelled() {
            let began = Instant::now();
            if let Err(refusal) = attempt(&hub, &neighbour, class).await {
                complain(&hub, &neighbour, class, &refusal);
            }
            // A connection that broke at once might as well not have come about.
            pause = if began.elapsed() > STEADY { SOON } else { pause };
            neighbour.removed.run_until_cancelled(tokio::time::sleep(pause)).await;
            pause = LATE.min(pause * 2);
        }
    };
    hub.stop.run_until_cancelled(keeping).await;
    neighbour.outgoing(class).close();
}

/// Dials, and carries what is sent for as long as that goes well.
async fn attempt(hub: &Hub, neighbour: &Neighbour, class: Class) -> Result<(), Refusal> {
    let dialling = neighbour.removed.run_until_cancelled(dial(hub, neighbour, class));
    let Some(dialled) = dialling.await else { return Ok(()) };
    carry(hub, neighbour, class, dialled?).await
}

/// What is wrong with one class is wrong with the others, but for how much is sent.
fn complain(hub: &Hub, neighbour: &Neighbour, class: Class, refusal: &Refusal) {
    let (node, Member { name, address }) = (neighbour.node, neighbour.member());
    let line = match (refusal, class) {
        (Refusal::Overflow, _) => format!("node {node} (`{name}`, {class:?}): {refusal}"),
        (_, Class::Control) => format!("no way to node {node} (`{name}`) at {address}: {refusal}"),
        (_, Class::Data | Class::Bulk) => {
            debug!(%node, ?class, %refusal, "no way to the node");
            return;
        }
    };
    hub.complain(&line);
}

/// A connection on which this node is welcome, and the incarnation that it leads to.
async fn dial(hub: &Hub, neighbour: &Neighbour, class: Class) -> Result<(Line, u64), Refusal> {
    let address = neighbour.member().address;
    let stream = match connect(&address).await {
        Ok(stream) => stream,
        Err(error) => {
            if error.kind() == io::ErrorKind::ConnectionRefused {
                hub.judge(|detector| detector.refused(neighbour.node));
            }
            return Err(error.into());
        }
    };
    let shaking = shake_hands(hub, neighbour, class, stream);
    timeout(HANDSHAKE, shaking).await.unwrap_or(Err(Refusal::TimedOut))
}

/// Resolves an address and tries what it stands for, one after the other.
pub(super) async fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
    for place in tokio::net::lookup_host(address).await? {
        match timeout(CONNECT, TcpStream::connect(place)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

async fn shake_hands(
    hub: &Hub,
    neighbour: &Neighbour,
    class: Class,
    stream: TcpStream,
) -> Result<(Line, u64), Refusal> {
    let mut line = Line::dialled(stream, &hub.credentials).await?;
    let (wanted, with) = (neighbour.node, &hub.credentials);
    let purpose = (Purpose::Frames(class), wanted);
    let met = handshake::dial(&mut line, &hub.me, with, purpose).await?;
    let found = &met.hello.who;
    let judged = if found.node == wanted {
        line.check_name(&found.name, with).and_then(|()| hub.introduce(neighbour, found))
    } else {
        Err(Refusal::NotFound { wanted, found: found.node })
    };
    if let Err(refusal) = judged {
        take_leave(&mut line, &refusal).await;
        return Err(refusal);
    }
    debug!(node = %wanted, ?class, remote = %line.remote, version = met.version, "is connected");
    Ok((line, found.incarnation))
}

/// The other side believes that frames come: it is told in one why none do.
async fn take_leave(line: &mut Line, refusal: &Refusal) {
    let Some(text) = refusal.text() else { return };
    let mut chain = Chain::default();
    chain.push_frame(Kind::Goodbye, &[Bytes::from(text)]);
    while chain.has_remaining() {
        if line.stream.write_buf(&mut chain).await.is_err() {
            return;
        }
    }
    let _it_may_be_gone = line.stream.shutdown().await;
}

/// Writes what is sent, for as long as the connection holds.
async fn carry(
    hub: &Hub,
    neighbour: &Neighbour,
    class: Class,
    (line, incarnation): (Line, u64),
) -> Result<(), Refusal> {
    let (node, outgoing) = (neighbour.node, neighbour.outgoing(class));
    let cut = outgoing.open(incarnation);
    if neighbour.removed.is_cancelled() {
        outgoing.close();
        return Ok(());
    }
    hub.handler.connected(node, class);
    if class == Class::Control {
        hub.beat_for(neighbour, &hub.handler.heartbeat());
    }
    let (mut reader, mut writer) = tokio::io::split(line.stream);
    let mut octet = [0];
    let ended = tokio::select! {
        error = outgoing.write(&mut writer) => Some(error),
        // The other side says nothing on this connection: what comes is its end.
        read = reader.read(&mut octet) => {
            Some(read.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
        }
        () = cut.cancelled() => None,
    };
    let has_overflown = outgoing.close();
    hub.handler.broken(node, class);
    match ended {
        None if has_overflown => Err(Refusal::Overflow),
        None => Ok(()),
        Some(error) => {
            hub.judge(|detector| detector.broken(node));
            Err(error.into())
        }
    }
}
