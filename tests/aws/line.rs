//! A line between the daemon and AWS that can be cut: what is on it is reset, what comes is
//! refused, as when AWS is away. (MiniStack itself cannot be stopped for this: with `PERSIST_STATE`
//! it comes back with every execution that ran failed, `States.ServiceRestart`.)

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    to: SocketAddr,
    cut: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

impl Line {
    pub(crate) async fn start(to: SocketAddr) -> Line {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = listener.local_addr().unwrap();
        let cut = watch::channel(false).0;
        let listening = tokio::spawn(listen(listener, to, cut.subscribe()));
        Line { address, to, cut, listening }
    }

    /// From when this returns nothing passes.
    pub(crate) async fn cut(&mut self) {
        self.cut.send_replace(true);
        (&mut self.listening).await.unwrap();
    }

    pub(crate) fn mend(&mut self) {
        self.cut.send_replace(false);
        self.listening = tokio::spawn(listen(bind(self.address), self.to, self.cut.subscribe()));
    }
}

async fn listen(listener: TcpListener, to: SocketAddr, cut: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut over = cut.clone();
    loop {
        tokio::select! {
            client = listener.accept() => {
                connections.spawn(pass(client.unwrap().0, to, cut.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = over.wait_for(|cut| *cut) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

impl Drop for Line {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn bind(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(1_024).unwrap()
}

async fn pass(mut client: TcpStream, to: SocketAddr, mut cut: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    tokio::select! {
        // A peer that went away is no fault of the line.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = cut.wait_for(|cut| *cut) => {
            // A reset to both sides.
            client.set_zero_linger().unwrap();
            server.set_zero_linger().unwrap();
        }
    }
}
