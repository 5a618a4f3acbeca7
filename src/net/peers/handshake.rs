//! Two nodes get to know each other, before anything else is said.
//!
//! ```text
//! dialler                                     acceptor
//!    magic, hello  ─────────────────────────►
//!                  ◄─────────────────────────  magic, version and hello, or why not
//!    proof, or why not  ────────────────────►
//!                  ◄─────────────────────────  proof, or why not
//! ```
//! A proof is the HMAC-SHA-256 of both hellos, with a nonce of each side, under the secret; it is
//! empty when there is no secret. The dialler proves first: a listener can be asked by anybody.
//! What the dialler finds wrong at the end, it says in a frame of farewell.

use rustls::crypto::ring;

use super::{
    Credentials, Introduction,
    hello::{Hello, Nonce, Purpose, Side, Transcript, common_version},
    line::Line,
    refusal::Refusal,
};
use crate::cluster::NodeNumber;

/// Who is at the other end, proven but not judged.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) hello: Hello,
    /// The version that is spoken from here on.
    pub(super) version: u16,
}

/// Introduces `me` to whom was dialled.
pub(super) async fn dial(
    line: &mut Line,
    me: &Introduction,
    with: &Credentials,
    (purpose, wanted): (Purpose, NodeNumber),
) -> Result<Met, Refusal> {
    let hello = hello(me, with, purpose, wanted)?;
    let said = hello.encode();
    line.greet().await?;
    line.say(&[&said]).await?;
    line.expect_greeting().await?;
    let answer = line.expect().await?;
    let Some((version, heard)) = answer.split_first_chunk::<2>() else {
        return Err(line.refuse(Refusal::NotSpoken).await);
    };
    let (version, theirs) = match judge_answer(u16::from_le_bytes(*version), heard, me, with) {
        Ok(answer) => answer,
        Err(refusal) => return Err(line.refuse(refusal).await),
    };
    let exporter = line.exporter.clone();
    let transcript = Transcript { dialler: &said, acceptor: heard, exporter: &exporter };
    match &with.secret {
        Some(secret) => line.say(&[&transcript.proof(secret, Side::Dialler)]).await?,
        None => line.say(&[]).await?,
    }
    let proof = line.expect().await?;
    check_proof(&transcript, with, Side::Acceptor, &proof)?;
    Ok(Met { hello: theirs, version })
}

/// Introduces `me` to who has dialled. Nothing has been said about whether it may come in: that is
/// [`admit`]'s or [`Line::refuse`]'s.
pub(super) async fn meet(
    line: &mut Line,
    me: &Introduction,
    with: &Credentials,
) -> Result<(Met, Option<[u8; 32]>), Refusal> {
    line.expect_greeting().await?;
    let heard = line.expect().await?;
    line.greet().await?;
    let (version, theirs, answer) = match judge_hello(&heard, me, with) {
        Ok(judged) => judged,
        Err(refusal) => return Err(line.refuse(refusal).await),
    };
    let said = answer.encode();
    line.say(&[&version.to_le_bytes(), &said]).await?;
    let proof = line.expect().await?;
    let exporter = line.exporter.clone();
    let transcript = Transcript { dialler: &heard, acceptor: &said, exporter: &exporter };
    if let Err(refusal) = check_proof(&transcript, with, Side::Dialler, &proof) {
        return Err(line.refuse(refusal).await);
    }
    let proof = with.secret.as_ref().map(|secret| transcript.proof(secret, Side::Acceptor));
    Ok((Met { hello: theirs, version }, proof))
}

/// Lets in whom [`meet`] has met.
pub(super) async fn admit(line: &mut Line, proof: Option<[u8; 32]>) -> Result<(), Refusal> {
    let proof = proof.as_ref().map_or(&[][..], |proof| proof);
    Ok(line.say(&[proof]).await?)
}

fn hello(
    me: &Introduction,
    with: &Credentials,
    purpose: Purpose,
    wanted: NodeNumber,
) -> Result<Hello, Refusal> {
    let mut nonce = Nonce::default();
    let random = ring::default_provider().secure_random;
    random.fill(&mut nonce).map_err(|_| std::io::Error::other("there is no randomness"))?;
    Ok(Hello { purpose, who: me.clone(), wanted, nonce, has_secret: with.secret.is_some() })
}

fn judge_hello(
    heard: &[u8],
    me: &Introduction,
    with: &Credentials,
) -> Result<(u16, Hello, Hello), Refusal> {
    let theirs = Hello::decode(heard)?;
    let version = common_version(me.versions, theirs.who.versions)?;
    check_secrets(with, &theirs)?;
    let answer = hello(me, with, theirs.purpose, theirs.who.node)?;
    Ok((version, theirs, answer))
}

fn judge_answer(
    version: u16,
    heard: &[u8],
    me: &Introduction,
    with: &Credentials,
) -> Result<(u16, Hello), Refusal> {
    let theirs = Hello::decode(heard)?;
    if common_version(me.versions, theirs.who.versions)? != version {
        return Err(Refusal::NotSpoken);
    }
    check_secrets(with, &theirs)?;
    Ok((version, theirs))
}

fn check_secrets(with: &Credentials, theirs: &Hello) -> Result<(), Refusal> {
    match (&with.secret, theirs.has_secret) {
        (Some(_), false) => Err(Refusal::WithoutSecret),
        (None, true) => Err(Refusal::WithSecret),
        (Some(_), true) | (None, false) => Ok(()),
    }
}

fn check_proof(
    transcript: &Transcript<'_>,
    with: &Credentials,
    side: Side,
    proof: &[u8],
) -> Result<(), Refusal> {
    let is_proven = match &with.secret {
        Some(secret) => transcript.is_proven(secret, side, proof),
        None => proof.is_empty(),
    };
    if is_proven { Ok(()) } else { Err(Refusal::WrongSecret) }
}
