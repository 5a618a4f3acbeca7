//! What another node sends: who is let in, and the frames that it brings.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Class, Question, Received,
    frames::{self, Kind},
    handler::Gate,
    handshake::{self, Met},
    hello::Purpose,
    hub::{Hub, Neighbour},
    line::Line,
    question,
    refusal::Refusal,
};
use crate::cluster::NodeNumber;

/// How long a handshake may take, from the first octet to the last.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);
/// How many may shake hands at the same time; when more come, the one that has taken longest
/// leaves.
const AT_THE_DOOR: usize = 256;
/// How long accepting pauses when the system has no socket to give.
const BACK_OFF: Duration = Duration::from_millis(100);
/// What a frame that is held costs beside its payload.
const OF_A_FRAME: usize = 64;
/// Room for what one read brings.
const READ: usize = 128 * 1024;

/// The place of the one connection on which a neighbour sends frames of a class. The newest
/// connection has it; the one before has stopped when it begins.
#[derive(Debug)]
pub(super) struct Seat {
    taken: Mutex<Option<(u64, CancellationToken)>>,
    reading: tokio::sync::Mutex<()>,
    /// Of all connections together: what an earlier one has brought is held as well.
    gate: Arc<Gate>,
}

impl Seat {
    /// For a handler that may hold so many octets.
    pub(super) fn new(held: usize) -> Self {
        let (taken, reading) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { taken, reading, gate: Gate::new(held) }
    }

    fn take(&self, incarnation: u64) -> CancellationToken {
        let cut = CancellationToken::new();
        let former = self.taken().replace((incarnation, cut.clone()));
        if let Some((_, former)) = former {
            former.cancel();
        }
        cut
    }

    pub(super) fn cut(&self) {
        self.cut_below(u64::MAX);
    }

    pub(super) fn cut_below(&self, incarnation: u64) {
        if let Some((_, cut)) = self.taken().take_if(|(theirs, _)| *theirs < incarnation) {
            cut.cancel();
        }
    }

    fn taken(&self) -> MutexGuard<'_, Option<(u64, CancellationToken)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that shake hands.
#[derive(Debug, Default)]
struct Door(Mutex<VecDeque<(u64, CancellationToken)>>);

impl Door {
    /// The token is cancelled when the newcomer has to make room.
    fn enter(&self, number: u64) -> CancellationToken {
        let leave = CancellationToken::new();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= AT_THE_DOOR
            && let Some((_, oldest)) = waiting.pop_front()
        {
            oldest.cancel();
        }
        waiting.push_back((number, leave.clone()));
        leave
    }

    fn leave(&self, number: u64) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(other, _)| *other != number);
    }
}

/// Accepts other nodes until everything stops.
pub(super) async fn listen(hub: Arc<Hub>, listener: TcpListener) {
    let door = Arc::new(Door::default());
    let mut number = 0;
    while let Some(accepted) = hub.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, remote)) => {
                number += 1;
                let visit = visit(Arc::clone(&hub), Arc::clone(&door), number, stream);
                let stop = hub.stop.clone();
                hub.tasks.spawn(async move {
                    stop.run_until_cancelled(visit).await;
                    debug!(%remote, "the other node's connection has ended");
                });
            }
            Err(error) => {
                warn!(%error, "could not accept a connection of another node");
                hub.stop.run_until_cancelled(tokio::time::sleep(BACK_OFF)).await;
            }
        }
    }
}

/// Shakes hands with whoever has come, and lets him do what he has come for.
async fn visit(hub: Arc<Hub>, door: Arc<Door>, number: u64, stream: TcpStream) {
    let Ok(remote) = stream.peer_addr() else { return };
    let leave = door.enter(number);
    let mut name = None;
    let meeting = timeout(HANDSHAKE, welcome(&hub, stream, &mut name));
    let met = leave.run_until_cancelled(meeting).await;
    door.leave(number);
    let guest = match met {
        Some(Ok(Ok(guest))) => guest,
        Some(Ok(Err(refusal))) => return complain(&hub, remote, name.as_deref(), &refusal),
        Some(Err(_)) | None => {
            return complain(&hub, remote, name.as_deref(), &Refusal::TimedOut);
        }
    };
    match guest {
        Guest::Asker(line, name) => {
            let address = line.remote;
            if let Err(refusal) = answer(&hub, line, &name).await {
                complain(&hub, address, Some(&name), &refusal);
            }
        }
        Guest::Neighbour(line, neighbour, class, met) => {
            host(&hub, line, (&neighbour, class), &met).await;
        }
    }
}

/// Whoever has been let in.
enum Guest {
    Asker(Line, String),
    Neighbour(Line, Arc<Neighbour>, Class, Met),
}

async fn welcome(
    hub: &Hub,
    stream: TcpStream,
    name: &mut Option<String>,
) -> Result<Guest, Refusal> {
    let mut line = Line::accepted(stream, &hub.credentials).await?;
    let (met, proof) = handshake::meet(&mut line, &hub.me, &hub.credentials).await?;
    *name = Some(met.hello.who.name.clone());
    let judged = line.check_name(&met.hello.who.name, &hub.credentials);
    match met.hello.purpose {
        Purpose::Question => {
            if let Err(refusal) = judged {
                return Err(line.refuse(refusal).await);
            }
            handshake::admit(&mut line, proof).await?;
            Ok(Guest::Asker(line, met.hello.who.name))
        }
        Purpose::Frames(class) => {
            let neighbour = match judged.and_then(|()| recognise(hub, &met)) {
                Ok(neighbour) => neighbour,
                Err(refusal) => return Err(line.refuse(refusal).await),
            };
            handshake::admit(&mut line, proof).await?;
            Ok(Guest::Neighbour(line, neighbour, class, met))
        }
    }
}

/// Finds the member that somebody has proven to be.
fn recognise(hub: &Hub, met: &Met) -> Result<Arc<Neighbour>, Refusal> {
    let (wanted, ours) = (met.hello.wanted, hub.me.node);
    let (theirs, cluster) = (met.hello.who.cluster, hub.me.cluster);
    if ours == NodeNumber(0) {
        return Err(Refusal::Nobody);
    }
    if theirs != cluster {
        return Err(Refusal::OtherCluster { theirs, ours: cluster });
    }
    if wanted != ours {
        return Err(Refusal::NotWanted { wanted, ours });
    }
    let node = met.hello.who.node;
    let neighbour = hub.neighbour(node).ok_or(Refusal::UnknownNode(node))?;
    hub.introduce(&neighbour, &met.hello.who)?;
    Ok(neighbour)
}

/// The port differs with every attempt, and is left out.
fn complain(hub: &Hub, remote: SocketAddr, name: Option<&str>, refusal: &Refusal) {
    let (name, address) = (name.unwrap_or_default().escape_debug(), remote.ip());
    hub.complain(&format!("nothing is taken from the node `{name}` at {address}: {refusal}"));
}

async fn answer(hub: &Hub, mut line: Line, name: &str) -> Result<(), Refusal> {
    let asked = timeout(HANDSHAKE, question::read(&mut line.stream)).await;
    let payload = asked.map_err(|_| Refusal::TimedOut)??;
    let question = Question { name: name.to_owned(), address: line.remote, payload };
    let answer = timeout(question::PATIENCE, hub.handler.asked(question)).await;
    let answer = answer.unwrap_or_else(|_| Err("the answer took too long".to_owned()));
    let written = timeout(HANDSHAKE, question::write_answer(&mut line.stream, answer)).await;
    written.map_err(|_| Refusal::TimedOut)??;
    Ok(())
}

/// Takes the frames of a neighbour until it leaves, or another connection takes the seat.
async fn host(hub: &Hub, mut line: Line, (neighbour, class): (&Neighbour, Class), met: &Met) {
    let (node, incarnation) = (neighbour.node, met.hello.who.incarnation);
    let seat = neighbour.seat(class);
    let cut = seat.take(incarnation);
    if neighbour.removed.is_cancelled() {
        return;
    }
    let reading = async {
        let _until_the_former_has_stopped = seat.reading.lock().await;
        debug!(%node, ?class, remote = %line.remote, version = met.version, "is heard");
        read(hub, &mut line, neighbour, (class, incarnation)).await
    };
    let Some(ended) = cut.run_until_cancelled(reading).await else { return };
    if class == Class::Control {
        hub.judge(|detector| detector.broken(node));
    }
    match ended {
        Ok(()) => debug!(%node, ?class, "has hung up"),
        Err(fault) => {
            let _it_may_be_gone = line.stream.shutdown().await;
            let name = neighbour.member().name;
            complain(hub, line.remote, Some(&name), &fault);
        }
    }
}

/// Until the other side hangs up.
async fn read(
    hub: &Hub,
    line: &mut Line,
    neighbour: &Neighbour,
    (class, incarnation): (Class, u64),
) -> Result<(), Refusal> {
    let (node, gate) = (neighbour.node, &neighbour.seat(class).gate);
    let limit = hub.limits.frame(class);
    let mut arrived = BytesMut::with_capacity(READ);
    loop {
        gate.open().await;
        if arrived.capacity() - arrived.len() < READ / 8 {
            arrived.reserve(READ);
        }
        match line.stream.read_buf(&mut arrived).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => {
                debug!(%node, ?class, %error, "the connection of the other node has broken");
                return Ok(());
            }
        }
        while let Some((kind, payload)) = frames::split(&mut arrived, limit)? {
            match kind {
                Kind::User(kind) => {
                    let hold = gate.hold(payload.len() + OF_A_FRAME);
                    let from = node;
                    hub.handler.received(Received { from, class, kind, payload, hold });
                }
                Kind::Heartbeat => hub.heard(node, incarnation, payload),
                Kind::Goodbye => return Err(Refusal::Told(farewell(&payload))),
                Kind::Unknown => {}
            }
        }
    }
}

fn farewell(payload: &Bytes) -> String {
    let end = payload.len().min(1024);
    String::from_utf8_lossy(&payload[..end]).into_owned()
}
