//! A connection to another node before frames flow on it: plain or under TLS, and short messages.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Credentials, hello::MAGIC, refusal::Refusal};
use crate::net::tls::node::names_host;

/// Anything that octets go through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The longest message of a handshake.
const LONGEST: usize = 1024;
/// How long somebody who is refused may take to hear why.
const FAREWELL: Duration = Duration::from_secs(1);
/// What binds the proof of a secret to a connection of TLS.
const LABEL: &[u8] = b"EXPORTER-leveret-nodes";

/// A message of a handshake.
#[derive(Debug)]
pub(super) enum Said {
    Octets(Bytes),
    /// The other side does not want to, and why.
    No(String),
}

/// A connection to somebody.
pub(super) struct Line {
    pub(super) stream: Box<dyn Stream>,
    pub(super) remote: SocketAddr,
    /// As in [`super::hello::Transcript`].
    pub(super) exporter: Vec<u8>,
    /// What the other side has shown, found good.
    certificate: Option<CertificateDer<'static>>,
}

impl Line {
    /// For the side that has dialled.
    pub(super) async fn dialled(stream: TcpStream, with: &Credentials) -> Result<Self, Refusal> {
        let remote = ready(&stream, with)?;
        let Some(tls) = &with.tls else { return Ok(Self::plain(stream, remote)) };
        let nobody = ServerName::try_from("node").expect("it is a name");
        let stream = TlsConnector::from(tls.dialling()).connect(nobody, stream).await?;
        let mut exporter = vec![0; 32];
        let (_, session) = stream.get_ref();
        session.export_keying_material(&mut exporter, LABEL, None).map_err(io::Error::other)?;
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.cloned().map(CertificateDer::into_owned);
        Ok(Self { stream: Box::new(stream), remote, exporter, certificate })
    }

    /// For the side that was dialled.
    pub(super) async fn accepted(stream: TcpStream, with: &Credentials) -> Result<Self, Refusal> {
        let remote = ready(&stream, with);
        let Some(tls) = &with.tls else {
            return match remote {
                Ok(remote) => Ok(Self::plain(stream, remote)),
                Err(refusal) => Err(turn_away(stream, refusal).await),
            };
        };
        let remote = remote?;
        let stream = TlsAcceptor::from(tls.accepting()).accept(stream).await?;
        let mut exporter = vec![0; 32];
        let (_, session) = stream.get_ref();
        session.export_keying_material(&mut exporter, LABEL, None).map_err(io::Error::other)?;
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.cloned().map(CertificateDer::into_owned);
        Ok(Self { stream: Box::new(stream), remote, exporter, certificate })
    }

    fn plain(stream: TcpStream, remote: SocketAddr) -> Self {
        Self { stream: Box::new(stream), remote, exporter: Vec::new(), certificate: None }
    }

    /// Under TLS, the certificate must name the host of the node's name.
    pub(super) fn check_name(&self, node: &str, with: &Credentials) -> Result<(), Refusal> {
        let host = node.rsplit_once('@').map_or(node, |(_, host)| host);
        let is_named = self.certificate.as_ref().is_some_and(|der| names_host(der, host));
        if with.tls.is_some() && !is_named {
            return Err(Refusal::Certificate(host.to_owned()));
        }
        Ok(())
    }

    pub(super) async fn greet(&mut self) -> io::Result<()> {
        self.stream.write_all(&MAGIC).await
    }

    /// The other side speaks the same protocol.
    pub(super) async fn expect_greeting(&mut self) -> Result<(), Refusal> {
        let mut octets = [0; MAGIC.len()];
        // Octet for octet, so that a speaker of another protocol is not waited for.
        for at in 0..octets.len() {
            octets[at] = self.stream.read_u8().await?;
            if octets[at] != MAGIC[at] {
                return Err(Refusal::NotSpoken);
            }
        }
        Ok(())
    }

    pub(super) async fn say(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.write(1, parts).await
    }

    /// Tells the other side why not, as far as it listens, and returns what it was told.
    pub(super) async fn refuse(&mut self, refusal: Refusal) -> Refusal {
        if let Some(text) = refusal.text() {
            let octets = &text.as_bytes()[..text.len().min(LONGEST - 1)];
            let _it_may_be_gone = self.write(0, &[octets]).await;
            let _it_may_be_gone = self.stream.shutdown().await;
            let _it_may_stay = timeout(FAREWELL, self.drain()).await;
        }
        refusal
    }

    /// Reads until the other side has left: what lies unread when a socket closes makes the
    /// system drop what was written last.
    async fn drain(&mut self) -> io::Result<()> {
        let mut octets = [0; LONGEST];
        for _ in 0..16 {
            if self.stream.read(&mut octets).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    pub(super) async fn listen(&mut self) -> Result<Said, Refusal> {
        let length = usize::from(self.stream.read_u16_le().await?);
        if length == 0 || length > LONGEST {
            return Err(Refusal::NotSpoken);
        }
        let mut octets = vec![0; length];
        self.stream.read_exact(&mut octets).await?;
        let octets = Bytes::from(octets);
        let rest = octets.slice(1..);
        Ok(match octets[0] {
            0 => Said::No(String::from_utf8_lossy(&rest).into_owned()),
            _ => Said::Octets(rest),
        })
    }

    /// A message that is no refusal.
    pub(super) async fn expect(&mut self) -> Result<Bytes, Refusal> {
        match self.listen().await? {
            Said::Octets(octets) => Ok(octets),
            Said::No(text) => Err(Refusal::Told(text)),
        }
    }

    async fn write(&mut self, tag: u8, parts: &[&[u8]]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut octets = BytesMut::with_capacity(length + 3);
        octets.put_u16_le((length + 1) as u16);
        octets.put_u8(tag);
        for part in parts {
            octets.put_slice(part);
        }
        self.stream.write_all(&octets).await?;
        self.stream.flush().await
    }
}

/// Who is at the other end, if it may be talked to.
fn ready(stream: &TcpStream, with: &Credentials) -> Result<SocketAddr, Refusal> {
    stream.set_nodelay(true)?;
    let remote = stream.peer_addr()?;
    if !is_trusted(remote.ip(), with) {
        return Err(Refusal::Unprotected);
    }
    Ok(remote)
}

/// Who can prove nothing must be of this machine.
fn is_trusted(address: IpAddr, with: &Credentials) -> bool {
    with.tls.is_some() || with.secret.is_some() || address.to_canonical().is_loopback()
}

/// Says why to somebody who is not listened to at all.
async fn turn_away(stream: TcpStream, refusal: Refusal) -> Refusal {
    let Ok(remote) = stream.peer_addr() else { return refusal };
    let mut line = Line::plain(stream, remote);
    let _it_may_be_gone = line.greet().await;
    line.refuse(refusal).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::peers::Secret;

    #[test]
    fn without_credentials_only_this_machine_is_trusted() {
        let check = |address: &str, expected| {
            let none = Credentials::default();
            assert_eq!(is_trusted(address.parse().unwrap(), &none), expected, "{address}");
            let secret = Credentials { secret: Some(Secret::new(b"s")), tls: None };
            assert!(is_trusted(address.parse().unwrap(), &secret));
        };
        check("127.0.0.1", true);
        check("127.8.9.1", true);
        check("::1", true);
        check("::ffff:127.0.0.1", true);
        check("10.0.0.1", false);
        check("::ffff:10.0.0.1", false);
        check("fe80::1", false);
    }
}
