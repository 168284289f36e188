//! What one connection knows about whether a byte of the request on it has left.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use rustix::net::RecvFlags;
use tokio::net::TcpStream;

use super::departure::Departure;

/// A connected stream, after the TLS handshake where there is one.
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Something was handed down to be written since the request began.
const TOUCHED: u8 = 1;
/// Nothing may be written any more.
const KILLED: u8 = 2;
/// What was handed down was not flushed yet.
const DIRTY: u8 = 4;
/// A request was answered on this connection before.
const USED: u8 = 8;
/// The socket has taken a byte of the request that is on it.
const LEFT: u8 = 16;

/// Shared by a connection and the one request that is on it (HTTP/1.1 only).
///
/// `TOUCHED` is set before a byte is handed down, and never once `KILLED` is set. So whoever sets
/// `KILLED` learns for ever whether a byte may have left, though the connection's own task still
/// runs: it either was earlier, and is seen, or is later, and writes nothing.
#[derive(Debug, Default)]
pub(super) struct Wire {
    bits: AtomicU8,
    /// Of the request that is on it: to be told once its first bytes are with the socket.
    departure: Mutex<Departure>,
}

impl Wire {
    /// A request begins. Only for who holds the connection alone, with all before it answered.
    pub(super) fn begin(&self, departure: Departure) {
        *self.departure.lock().unwrap_or_else(PoisonError::into_inner) = departure;
        self.bits.fetch_and(!(TOUCHED | LEFT), Ordering::AcqRel);
    }

    /// Stops all writing. True: a byte of the request may have left. False: none has or will.
    pub(super) fn kill(&self) -> bool {
        self.bits.fetch_or(KILLED, Ordering::AcqRel) & TOUCHED != 0
    }

    /// The answer is whole; the connection may serve again.
    pub(super) fn mark_used(&self) {
        self.bits.fetch_or(USED, Ordering::AcqRel);
    }

    /// A part of the request, or of the one before it, still waits to be written.
    pub(super) fn is_dirty(&self) -> bool {
        self.bits.load(Ordering::Acquire) & DIRTY != 0
    }

    fn is_touched(&self) -> bool {
        self.bits.load(Ordering::Acquire) & TOUCHED != 0
    }

    fn is_used(&self) -> bool {
        self.bits.load(Ordering::Acquire) & USED != 0
    }

    /// To be asked before each write; false: do not write.
    fn touch(&self) -> bool {
        let touched = |bits| (bits & KILLED == 0).then_some(bits | TOUCHED | DIRTY);
        self.bits.fetch_update(Ordering::AcqRel, Ordering::Acquire, touched).is_ok()
    }

    /// To be told of each write. Only what the socket has taken counts as on its way: a thread that
    /// has to wait for a processor right before its write would else leave its token's time behind,
    /// and arrive together with the next.
    fn wrote(&self, wrote: &Poll<io::Result<usize>>) {
        if matches!(wrote, Poll::Ready(Ok(bytes)) if *bytes > 0)
            && self.bits.fetch_or(LEFT, Ordering::AcqRel) & LEFT == 0
        {
            self.departure.lock().unwrap_or_else(PoisonError::into_inner).tell();
        }
    }

    fn flushed(&self) {
        self.bits.fetch_and(!DIRTY, Ordering::AcqRel);
    }
}

/// A stream that keeps its [`Wire`] true. It sits above TLS: the handshake is no part of a
/// request, and what TLS buffers counts as gone.
pub(super) struct Watched {
    stream: Stream,
    wire: Arc<Wire>,
}

impl Watched {
    pub(super) fn new(stream: Stream, wire: Arc<Wire>) -> Watched {
        Watched { stream, wire }
    }

    /// To be asked before each write.
    fn permit(&self) -> io::Result<()> {
        // A kept connection that the target has closed takes one more write without complaint,
        // and then nobody can say whether it was read. So the socket itself is asked right
        // before the first byte; the runtime may not have heard of the end yet.
        if !self.wire.is_touched() && is_gone(self.socket(), self.wire.is_used()) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the target closed the connection before the request was sent",
            ));
        }
        if self.wire.touch() {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the attempt is over"))
        }
    }

    fn socket(&self) -> &TcpStream {
        match &self.stream {
            MaybeHttpsStream::Http(tcp) => tcp.inner(),
            MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner().inner(),
        }
    }
}

/// Whether the peer has closed `socket`, or, where it was `used` before, said something unasked:
/// a TLS alert, or a 408 that a later request must not take for its own answer.
fn is_gone(socket: &TcpStream, used: bool) -> bool {
    let mut byte = [0_u8; 1];
    match rustix::net::recv(socket.as_fd(), &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, 0)) => true,
        Ok(_) => used,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => false,
        Err(_) => true,
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.permit()?;
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wire.wrote(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.permit()?;
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wire.wrote(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes the stream only when its own buffers are empty.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.wire.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Watched, TcpStream, Arc<Wire>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let wire = Arc::new(Wire::default());
        (Watched::new(MaybeHttpsStream::Http(TokioIo::new(near)), wire.clone()), far, wire)
    }

    async fn write(watched: &mut Watched, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *watched).poll_write(cx, bytes)).await
    }

    #[tokio::test]
    async fn a_write_is_seen_and_a_flush_cleans() {
        let (mut watched, mut far, wire) = pair().await;
        assert_eq!(write(&mut watched, b"ab").await.unwrap(), 2);
        assert!(wire.is_dirty());
        poll_fn(|cx| Pin::new(&mut watched).poll_flush(cx)).await.unwrap();
        assert!(!wire.is_dirty());
        assert!(wire.kill());
        drop(watched);
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"ab");
    }

    #[tokio::test]
    async fn nothing_is_written_after_the_kill_and_the_kill_stays_true() {
        let (mut watched, mut far, wire) = pair().await;
        assert!(!wire.kill());
        assert!(write(&mut watched, b"ab").await.is_err());
        assert!(!wire.kill());
        drop(watched);
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        assert!(got.is_empty());
    }

    #[tokio::test]
    async fn a_request_has_left_once_the_socket_takes_it() {
        let (mut watched, mut far, wire) = pair().await;
        let chunk = vec![b'x'; 1 << 20];
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut stuffed = 0;
        while let Poll::Ready(wrote) = Pin::new(&mut watched).poll_write(&mut context, &chunk) {
            stuffed += wrote.unwrap();
        }
        let (tell, mut told) = tokio::sync::oneshot::channel();
        wire.begin(Departure::new(move || tell.send(()).unwrap()));
        assert!(Pin::new(&mut watched).poll_write(&mut context, b"ab").is_pending());
        assert!(told.try_recv().is_err());
        assert!(wire.is_touched(), "whether it leaves is not known any more");
        let mut read = vec![0; stuffed];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(write(&mut watched, b"ab").await.unwrap(), 2);
        told.await.unwrap();
        assert_eq!(write(&mut watched, b"cd").await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_closed_peer_is_noticed_before_the_first_byte() {
        let (mut watched, far, wire) = pair().await;
        drop(far);
        assert!(write(&mut watched, b"ab").await.is_err());
        assert!(!wire.kill());
    }

    #[tokio::test]
    async fn words_unasked_spoil_a_used_connection_but_not_a_fresh_one() {
        let (mut watched, mut far, wire) = pair().await;
        far.write_all(b"x").await.unwrap();
        watched.socket().readable().await.unwrap();
        assert!(write(&mut watched, b"ab").await.is_ok());
        wire.begin(Departure::default());
        wire.mark_used();
        assert!(write(&mut watched, b"ab").await.is_err());
        assert!(!wire.kill());
    }
}
