//! A target whose every byte and every silence is written in the test, and the plain socket of a
//! caller that is no HTTP client.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a target got so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Got {
    pub(crate) connections: usize,
    /// Whole requests by their path.
    pub(crate) requests: BTreeMap<String, usize>,
    /// The last one's head, as it came.
    pub(crate) head: String,
    /// Bytes that it has written.
    pub(crate) said: u64,
    /// Connections whose script has ended.
    pub(crate) over: usize,
}

impl Got {
    pub(crate) fn of(&self, path: &str) -> usize {
        self.requests.get(path).copied().unwrap_or(0)
    }
}

#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) address: SocketAddr,
    got: watch::Receiver<Got>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Raw {
    /// Runs `script` for each connection, all at once.
    pub(crate) async fn start<F, Fut>(script: F) -> Raw
    where
        F: Fn(Peer) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Raw::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script).await
    }

    pub(crate) async fn start_at<F, Fut>(address: SocketAddr, script: F) -> Raw
    where
        F: Fn(Peer) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, got) = watch::channel(Got::default());
        let tell = Arc::new(tell);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Each write is a packet of its own.
                stream.set_nodelay(true).unwrap();
                tell.send_modify(|got| got.connections += 1);
                let peer = Peer { stream, read: Vec::new(), tell: tell.clone() };
                let (script, tell) = (script(peer), tell.clone());
                tokio::spawn(async move {
                    script.await;
                    tell.send_modify(|got| got.over += 1);
                });
            }
        });
        Raw { address, got, task }
    }

    pub(crate) fn got(&self) -> Got {
        self.got.borrow().clone()
    }

    pub(crate) async fn until(&self, enough: impl FnMut(&Got) -> bool) -> Got {
        self.got.clone().wait_for(enough).await.unwrap().clone()
    }
}

/// One connection of a target's.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
    tell: Arc<watch::Sender<Got>>,
}

impl Peer {
    /// The path of the next whole request; `None` once the daemon has hung up.
    pub(crate) async fn request(&mut self) -> Option<String> {
        loop {
            if let Some((path, head, length)) = whole(&self.read) {
                self.read.drain(..length);
                self.tell.send_modify(|got| {
                    *got.requests.entry(path.clone()).or_default() += 1;
                    got.head = head;
                });
                return Some(path);
            }
            if self.stream.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Whether all of it could be handed to the network.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        let said = self.stream.write_all(bytes).await.is_ok();
        if said {
            self.tell.send_modify(|got| got.said += bytes.len() as u64);
        }
        said
    }

    /// Returns once something was sent here, and takes none of it.
    pub(crate) async fn first_byte(&mut self) {
        let _ = self.stream.peek(&mut [0]).await;
    }

    /// Ends the connection with a reset in place of a goodbye.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// Path, head and length of the request that `bytes` begin with, once it is whole.
fn whole(bytes: &[u8]) -> Option<(String, String, usize)> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let length = head + length.unwrap_or(0);
    let path = text.split(' ').nth(1).unwrap().to_owned();
    (bytes.len() >= length).then_some((path, text, length))
}

/// All that comes back to `sent` until the daemon closes the connection, a reset included.
pub(crate) async fn exchange(address: SocketAddr, sent: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may have been refused before it was written whole.
    let _ = stream.write_all(sent.as_ref()).await;
    rest(&mut stream).await
}

pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut back = Vec::new();
    let _ = stream.read_to_end(&mut back).await;
    String::from_utf8_lossy(&back).into_owned()
}
