//! One question to a node by somebody who is no member of its cluster, and the answer.
//!
//! Behind the handshake both are a length (u32, little-endian) and a payload; in front of the
//! answer stands an octet: 1 for an answer, 0 for a text that says why there is none.

use std::{io, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    Credentials, Introduction, VERSIONS, dialling,
    frames::TooLarge,
    handshake,
    hello::Purpose,
    incoming::HANDSHAKE,
    line::{Line, Stream},
    refusal::Refusal,
};
use crate::cluster::NodeNumber;

/// Octets of a question, and of an answer.
const LONGEST: usize = 1024 * 1024;
/// How long the one who is asked may think.
pub(super) const PATIENCE: Duration = Duration::from_secs(45);

/// Why a question to another node has no answer.
#[derive(Debug, Error)]
pub enum Unanswered {
    #[error("{address} cannot be reached: {cause}")]
    Unreachable { address: String, cause: io::Error },
    #[error("{address} did not answer in time")]
    TimedOut { address: String },
    /// The two do not trust each other, or do not speak the same language.
    #[error("{address} cannot be talked to: {why}")]
    Untrusted { address: String, why: String },
    #[error("{address} refuses: {why}")]
    Refused { address: String, why: String },
}

/// Asks the node at `address` (`host:port`) something, without being a member of its cluster; its
/// [`Handler::asked`](super::Handler::asked) answers. Both sides prove who they are first: under
/// TLS, the certificate must name the host of `name`. The question has 1 MiB at most, and so has
/// the answer.
///
/// # Errors
/// As [`Unanswered`] tells; after a minute and what connecting takes at the latest.
pub async fn ask(
    address: &str,
    name: &str,
    credentials: &Credentials,
    payload: Bytes,
) -> Result<Bytes, Unanswered> {
    let place = || address.to_owned();
    let stream = dialling::connect(address)
        .await
        .map_err(|cause| Unanswered::Unreachable { address: place(), cause })?;
    let meeting = async {
        let mut line = Line::dialled(stream, credentials).await?;
        let me = Introduction {
            cluster: 0,
            node: NodeNumber(0),
            name: name.to_owned(),
            incarnation: 0,
            versions: VERSIONS,
        };
        let purpose = (Purpose::Question, NodeNumber(0));
        let met = handshake::dial(&mut line, &me, credentials, purpose).await?;
        line.check_name(&met.hello.who.name, credentials)?;
        write(&mut line.stream, &[], &payload).await?;
        Ok(line)
    };
    let mut line = match timeout(HANDSHAKE, meeting).await {
        Ok(met) => met.map_err(|refusal| untrusted(address, refusal))?,
        Err(_) => return Err(Unanswered::TimedOut { address: place() }),
    };
    match timeout(PATIENCE + HANDSHAKE * 2, read_answer(&mut line.stream)).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(why))) => Err(Unanswered::Refused { address: place(), why }),
        Ok(Err(refusal)) => Err(untrusted(address, refusal)),
        Err(_) => Err(Unanswered::TimedOut { address: place() }),
    }
}

fn untrusted(address: &str, refusal: Refusal) -> Unanswered {
    let address = address.to_owned();
    match refusal {
        Refusal::Broken(cause) => Unanswered::Unreachable { address, cause },
        other => Unanswered::Untrusted { address, why: other.to_string() },
    }
}

/// What is asked.
pub(super) async fn read(stream: &mut (impl Stream + ?Sized)) -> Result<Bytes, Refusal> {
    let length = stream.read_u32_le().await? as usize;
    if length > LONGEST {
        return Err(TooLarge { length, limit: LONGEST }.into());
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(payload.into())
}

pub(super) async fn write_answer(
    stream: &mut (impl Stream + ?Sized),
    answer: Result<Bytes, String>,
) -> Result<(), Refusal> {
    match answer {
        Ok(payload) => write(stream, &[1], &payload).await,
        Err(text) => write(stream, &[0], text.as_bytes()).await,
    }
}

async fn read_answer(
    stream: &mut (impl Stream + ?Sized),
) -> Result<Result<Bytes, String>, Refusal> {
    let is_answer = stream.read_u8().await? == 1;
    let payload = read(stream).await?;
    if is_answer {
        return Ok(Ok(payload));
    }
    Ok(Err(String::from_utf8_lossy(&payload).into_owned()))
}

async fn write(
    stream: &mut (impl Stream + ?Sized),
    head: &[u8],
    payload: &[u8],
) -> Result<(), Refusal> {
    if payload.len() > LONGEST {
        return Err(TooLarge { length: payload.len(), limit: LONGEST }.into());
    }
    let mut octets = BytesMut::with_capacity(head.len() + 4 + payload.len());
    octets.put_slice(head);
    octets.put_u32_le(payload.len() as u32);
    octets.put_slice(payload);
    stream.write_all(&octets).await?;
    Ok(stream.flush().await?)
}
