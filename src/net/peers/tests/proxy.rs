//! A network between two nodes that can be cut, and stopped in one direction.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// From who has dialled.
    pub(super) forth: bool,
    pub(super) back: bool,
    /// Connections before the last cut have another number.
    cuts: u32,
    /// How many connections there have been.
    accepted: u32,
}

/// Stands at an address of its own for somebody else's.
pub(super) struct Proxy {
    pub(super) address: String,
    flow: Arc<watch::Sender<Flow>>,
    _gone_with_it: DropGuard,
    _accepting: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let target: SocketAddr = target.parse().unwrap();
        let flow = Flow { forth: true, back: true, cuts: 0, accepted: 0 };
        let flow = Arc::new(watch::Sender::new(flow));
        let stop = CancellationToken::new();
        let (watched, stopped) = (Arc::clone(&flow), stop.clone());
        let accepting = tokio::spawn(async move {
            while let Some(Ok((client, _))) = stopped.run_until_cancelled(listener.accept()).await {
                watched.send_modify(|flow| flow.accepted += 1);
                let forwarding = forward(client, target, watched.subscribe());
                tokio::spawn(stopped.clone().run_until_cancelled_owned(forwarding));
            }
        });
        Self { address, flow, _gone_with_it: stop.drop_guard(), _accepting: accepting }
    }

    /// Breaks all connections; new ones are welcome.
    pub(super) fn cut(&self) {
        self.flow.send_modify(|flow| flow.cuts += 1);
    }

    /// Waits until so many connections have been tried.
    pub(super) async fn until_tried(&self, count: u32) {
        let mut watched = self.flow.subscribe();
        watched.wait_for(|flow| flow.accepted >= count).await.unwrap();
    }

    /// Lets nothing through in a direction, as if it were on its way for ever.
    pub(super) fn set(&self, forth: bool, back: bool) {
        self.flow.send_modify(|flow| (flow.forth, flow.back) = (forth, back));
    }
}

async fn forward(client: TcpStream, target: SocketAddr, flow: watch::Receiver<Flow>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let born = flow.borrow().cuts;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut watched = flow.clone();
    tokio::select! {
        () = pump(from_client, to_server, flow.clone(), |flow| flow.forth) => {}
        () = pump(from_server, to_client, flow, |flow| flow.back) => {}
        _ = watched.wait_for(|flow| flow.cuts != born) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flow: watch::Receiver<Flow>,
    passes: impl Fn(&Flow) -> bool,
) {
    let mut octets = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut octets).await {
        if flow.wait_for(|flow| passes(flow)).await.is_err() {
            return;
        }
        if to.write_all(&octets[..count]).await.is_err() {
            return;
        }
    }
}
