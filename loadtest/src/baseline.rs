//! What the daemon is compared with: the least that a server can do.
//!
//! - bare: hyper reads the request and answers 202. Nothing is stored.
//! - append: the same, but the body is appended to a file and synced before the answer. Requests
//!   that come while a sync is under way share the next one. It is the most that one
//!   acknowledgement a request can reach on this disk.
//!
//! Each runs in a process of its own, as the daemon does.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Serves on a free port of loopback until the process is ended; prints the address.
pub(crate) async fn serve(append: Option<PathBuf>) -> anyhow::Result<()> {
    let journal = append.as_deref().map(Journal::start).transpose()?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let mut out = io::stdout();
    writeln!(out, "listening on http://{}", listener.local_addr()?)?;
    out.flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        let journal = journal.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let answer = service_fn(|request| answer(request, journal.as_ref()));
            // The generator hangs up when it is done.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    journal: Option<&Journal>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = match (request.into_body().collect().await, journal) {
        (Err(_), _) => StatusCode::BAD_REQUEST,
        (Ok(_), None) => StatusCode::ACCEPTED,
        (Ok(body), Some(journal)) => match journal.append(body.to_bytes()).await {
            Some(()) => StatusCode::ACCEPTED,
            None => StatusCode::INSUFFICIENT_STORAGE,
        },
    };
    let mut response = Response::new(Full::from("{}"));
    *response.status_mut() = status;
    Ok(response)
}

struct Entry {
    bytes: Bytes,
    synced: oneshot::Sender<()>,
}

/// A file that a thread of its own appends to.
#[derive(Clone)]
struct Journal(mpsc::Sender<Entry>);

impl Journal {
    fn start(path: &Path) -> anyhow::Result<Journal> {
        let mut file = new_file(path)?;
        let (sender, inbox) = mpsc::channel::<Entry>();
        std::thread::spawn(move || {
            let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
            while let Ok(first) = inbox.recv() {
                for entry in std::iter::once(first).chain(inbox.try_iter()) {
                    bytes.extend_from_slice(&entry.bytes);
                    waiting.push(entry.synced);
                }
                if file.write_all(&bytes).and_then(|()| file.sync_data()).is_err() {
                    // Whoever waits sees the channel close.
                    return;
                }
                bytes.clear();
                for synced in waiting.drain(..) {
                    let _ = synced.send(());
                }
            }
        });
        Ok(Journal(sender))
    }

    /// `None`: it is not on disk.
    async fn append(&self, bytes: Bytes) -> Option<()> {
        let (synced, done) = oneshot::channel();
        self.0.send(Entry { bytes, synced }).ok()?;
        done.await.ok()
    }
}

fn new_file(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create_new(true).append(true).open(path);
    file.with_context(|| format!("cannot make {}", path.display()))
}

/// How many jobs a second the disk alone takes: `batch` jobs of `size` bytes are appended, then
/// synced, one batch after the other. Blocks.
pub(crate) fn disk(path: &Path, batch: usize, size: usize, time: Duration) -> anyhow::Result<f64> {
    let mut file = new_file(path)?;
    let bytes = vec![b'x'; batch * size];
    let start = Instant::now();
    let mut jobs = 0;
    while start.elapsed() < time {
        file.write_all(&bytes).and_then(|()| file.sync_data()).context("the disk failed")?;
        jobs += batch;
    }
    let rate = jobs as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_acknowledged_is_in_the_file() {
        let path = std::env::temp_dir().join(format!("loadtest-{}", uuid::Uuid::now_v7()));
        let journal = Journal::start(&path).unwrap();
        for n in 0..10 {
            journal.append(Bytes::from(format!("{n};"))).await.unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "0;1;2;3;4;5;6;7;8;9;");
        assert!(Journal::start(&path).is_err(), "it is not new");
        std::fs::remove_file(&path).unwrap();
    }
}
