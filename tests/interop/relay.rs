//! A TCP relay on a free port whose connections can be cut, as a failing network would.

use std::sync::{Arc, Mutex};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

pub(crate) struct Relay {
    pub(crate) port: u16,
    accepting: JoinHandle<()>,
    pumps: Arc<Mutex<JoinSet<()>>>,
}

impl Relay {
    pub(crate) async fn open(host: String, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let relay_port = listener.local_addr().expect("it is bound").port();
        let pumps = Arc::new(Mutex::new(JoinSet::new()));
        let accepted = Arc::clone(&pumps);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = (host.clone(), port);
                accepted.lock().expect("nobody panics with it").spawn(pump(client, target));
            }
        });
        Self { port: relay_port, accepting, pumps }
    }

    /// Drops every connection that passes through; new ones are welcome.
    pub(crate) fn cut(&self) {
        self.pumps.lock().expect("nobody panics with it").abort_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn pump(mut client: TcpStream, target: (String, u16)) {
    if let Ok(mut server) = TcpStream::connect(target).await {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}
