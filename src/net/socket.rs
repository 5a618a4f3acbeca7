//! What a connection's task wants of its socket, beside reading and writing.

use std::{future::Future, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

/// How long a client may take to hear that TLS ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// A client's socket, in plain or under TLS.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket of the system.
    fn raw(&self) -> &TcpStream;

    /// Closes it as its protocol wants it closed.
    fn close(self) -> impl Future<Output = ()> + Send;
}

impl Socket for TcpStream {
    fn raw(&self) -> &TcpStream {
        self
    }

    async fn close(self) {}
}

impl Socket for TlsStream<TcpStream> {
    fn raw(&self) -> &TcpStream {
        self.get_ref().0
    }

    async fn close(mut self) {
        let _it_ends_in_any_case = timeout(GOODBYE, self.shutdown()).await;
    }
}
