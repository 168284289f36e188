//! Sees the bytes of a connection before hyper does.
//!
//! hyper drops `Content-Length` where `Transfer-Encoding` is too, takes any transfer codings that end
//! with `chunked` for `chunked`, cuts a request target at `#`, and takes a lone LF for the end of a
//! line, all without a trace. A request with any of these is refused, because two readers could take
//! it for two different requests (RFC 9112, sections 2.2, 6.1, 6.3 and 11.2). A lone LF among the chunks of a body, which is found when the request has begun
//! already, ends the connection: what comes after it is no request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Why a request is refused for its raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ambiguity {
    LengthAndEncoding = 1,
    Fragment = 2,
    LoneLineFeed = 3,
    /// Another one than `chunked`, or more than that.
    TransferCoding = 4,
}

/// What is known of the requests on one connection.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The number of the first ambiguous request; those before it are fine.
    first: AtomicU64,
    why: AtomicU8,
}

impl Default for Verdict {
    fn default() -> Verdict {
        Verdict { first: AtomicU64::new(u64::MAX), why: AtomicU8::new(0) }
    }
}

impl Verdict {
    /// On request `number`, from 0; nothing is served from the first ambiguous one on.
    pub(super) fn on(&self, number: u64) -> Option<Ambiguity> {
        if number < self.first.load(Ordering::Acquire) {
            return None;
        }
        Some(match self.why.load(Ordering::Relaxed) {
            2 => Ambiguity::Fragment,
            3 => Ambiguity::LoneLineFeed,
            4 => Ambiguity::TransferCoding,
            _ => Ambiguity::LengthAndEncoding,
        })
    }

    fn set(&self, number: u64, why: Ambiguity) {
        self.why.store(why as u8, Ordering::Relaxed);
        self.first.store(number, Ordering::Release);
    }
}

/// Follows the requests of a connection, just closely enough to know where each head is.
#[derive(Debug)]
struct Follower {
    at: At,
    /// The head, or the line, so far.
    held: Vec<u8>,
    /// Heads that ended.
    heads: u64,
    longest_head: usize,
    verdict: Arc<Verdict>,
}

#[derive(Debug, PartialEq, Eq)]
enum At {
    Head,
    Body {
        left: u64,
    },
    ChunkSize,
    Chunk {
        left: u64,
    },
    ChunkEnd,
    Trailers,
    /// hyper will refuse this, or it is beyond us: no more to be said.
    Lost,
    /// Nothing of what follows may be read.
    Broken,
}

impl Follower {
    /// How many of the bytes may be read.
    fn feed(&mut self, all: &[u8]) -> usize {
        let mut bytes = all;
        while let Some(first) = bytes.first().copied() {
            match self.at {
                At::Lost => break,
                At::Broken => return all.len() - bytes.len(),
                At::Body { left } => {
                    let left = skip(&mut bytes, left);
                    self.at = if left == 0 { At::Head } else { At::Body { left } };
                    continue;
                }
                At::Chunk { left } => {
                    let left = skip(&mut bytes, left);
                    self.at = if left == 0 { At::ChunkEnd } else { At::Chunk { left } };
                    continue;
                }
                // Empty lines before a request line do not count (RFC 9112, section 2.2).
                At::Head if self.held.is_empty() && matches!(first, b'\r' | b'\n') => {}
                _ => {
                    self.held.push(first);
                    if self.held.len() > self.longest_head {
                        self.at = At::Lost;
                    } else if first == b'\n' {
                        self.line();
                    }
                }
            }
            bytes = &bytes[1..];
        }
        all.len()
    }

    /// A line has ended.
    fn line(&mut self) {
        if self.at != At::Head && !self.held.ends_with(b"\r\n") {
            self.at = At::Broken;
            return;
        }
        match self.at {
            At::Head => {
                if self.held.ends_with(b"\n\r\n") || self.held.ends_with(b"\n\n") {
                    let head = std::mem::take(&mut self.held);
                    self.at = self.head(&head);
                    self.heads += 1;
                }
            }
            At::ChunkSize => {
                let digits = self.held.split(|b| !b.is_ascii_hexdigit()).next().unwrap_or_default();
                let size = std::str::from_utf8(digits).ok().map(|d| u64::from_str_radix(d, 16));
                self.at = match size {
                    Some(Ok(0)) => At::Trailers,
                    Some(Ok(left)) => At::Chunk { left },
                    _ => At::Lost,
                };
                self.held.clear();
            }
            At::ChunkEnd => {
                self.held.clear();
                self.at = At::ChunkSize;
            }
            At::Trailers => {
                let last = self.held == b"\r\n";
                self.held.clear();
                if last {
                    self.at = At::Head;
                }
            }
            At::Body { .. } | At::Chunk { .. } | At::Lost | At::Broken => {}
        }
    }

    /// Where a request goes on after this head.
    fn head(&mut self, head: &[u8]) -> At {
        let mut lines = head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii_end);
        let request_line = lines.next().unwrap_or_default();
        let (mut length, mut codings) = (None, Vec::new());
        for line in lines {
            let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                length = Some(std::str::from_utf8(value).ok().and_then(|v| v.parse::<u64>().ok()));
            }
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                codings.push(value);
            }
        }
        let encoded = !codings.is_empty();
        let ambiguity = if length.is_some() && encoded {
            Some(Ambiguity::LengthAndEncoding)
        } else if encoded && !is_chunked(&codings) {
            Some(Ambiguity::TransferCoding)
        } else if request_line.contains(&b'#') {
            Some(Ambiguity::Fragment)
        } else if !head.split_inclusive(|b| *b == b'\n').all(|line| line.ends_with(b"\r\n")) {
            Some(Ambiguity::LoneLineFeed)
        } else {
            None
        };
        if let Some(why) = ambiguity {
            self.verdict.set(self.heads, why);
            return At::Lost;
        }
        match length {
            _ if encoded => At::ChunkSize,
            Some(Some(0)) | None => At::Head,
            Some(Some(left)) => At::Body { left },
            Some(None) => At::Lost,
        }
    }
}

/// The one coding that is understood here, said once: what else stands before it, or in a line of
/// its own, is skipped by one reader and decoded by another (RFC 9112, sections 6.1 and 7).
fn is_chunked(codings: &[&[u8]]) -> bool {
    matches!(codings, [only] if only.eq_ignore_ascii_case(b"chunked"))
}

fn framing() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a line among the chunks ends with a lone LF")
}

/// Takes up to `left` bytes off; says how many of them are yet to come.
fn skip(bytes: &mut &[u8], left: u64) -> u64 {
    let step = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *bytes = &bytes[step..];
    left - step as u64
}

/// A connection that is watched, and that fails where its peer does not take what it is sent.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    follower: Follower,
    write_patience: Duration,
    /// Armed while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    pub(super) fn new(
        stream: S,
        longest_head: usize,
        write_patience: Duration,
        verdict: Arc<Verdict>,
    ) -> Wire<S> {
        let follower = Follower { at: At::Head, held: Vec::new(), heads: 0, longest_head, verdict };
        Wire { stream, follower, write_patience, stalled: None }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn wait_no_longer<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let until = Instant::now() + self.write_patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(until)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.follower.at == At::Broken {
            return Poll::Ready(Err(framing()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let came = buf.filled().len() - before;
        let good = self.follower.feed(&buf.filled()[before..]);
        buf.set_filled(before + good);
        // None at all would mean the end of the stream.
        if good == 0 && came > 0 { Poll::Ready(Err(framing())) } else { read }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wait_no_longer(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wait_no_longer(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.wait_no_longer(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The verdict on each of the first three requests in `bytes`, which come in pieces of this size.
pub(super) fn judged(bytes: &[u8], piece: usize) -> [Option<Ambiguity>; 3] {
    let verdict = Arc::new(Verdict::default());
    let mut wire = Wire::new((), 200, Duration::ZERO, verdict.clone());
    for piece in bytes.chunks(piece) {
        if wire.follower.feed(piece) < piece.len() {
            break;
        }
    }
    [0, 1, 2].map(|number| verdict.on(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict on each of three requests, however the bytes are cut.
    fn verdicts(bytes: &[u8]) -> [Option<Ambiguity>; 3] {
        let whole = judged(bytes, bytes.len());
        for piece in 1..bytes.len() {
            assert_eq!(judged(bytes, piece), whole, "in pieces of {piece}");
        }
        whole
    }

    const BOTH: Option<Ambiguity> = Some(Ambiguity::LengthAndEncoding);

    #[test]
    fn length_with_encoding_is_ambiguous_in_any_order_and_case() {
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\r\nPOST / HTTP/1.1\r\ntransfer-encoding:chunked\r\nx: y\r\ncontent-length:5\r\n\r\n",
            "POST / HTTP/1.1\nCONTENT-LENGTH: 5\nTRANSFER-ENCODING: chunked\n\n",
        ] {
            assert_eq!(verdicts(head.as_bytes()), [BOTH; 3], "{head}");
        }
    }

    #[test]
    fn chunked_said_once_is_the_only_transfer_coding() {
        let head = |lines: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n");
        for lines in [
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: , chunked",
            "Transfer-Encoding: chunked,",
            "Transfer-Encoding: \"a, chunked",
            "Transfer-Encoding: chunked;q=1",
            "Transfer-Encoding: identity",
            "Transfer-Encoding:",
            "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked",
            "Transfer-Encoding:\r\nX: y\r\nTRANSFER-ENCODING: chunked",
        ] {
            let coding = Some(Ambiguity::TransferCoding);
            assert_eq!(verdicts(head(lines).as_bytes()), [coding; 3], "{lines}");
        }
        for lines in [
            "Transfer-Encoding: chunked",
            "transfer-encoding:CHUNKED",
            "Transfer-Encoding: \t Chunked \t",
            "X-Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        ] {
            let head = head(lines);
            assert_eq!(verdicts(head.as_bytes()), [None; 3], "{lines}");
            // It is followed to its end.
            let two = format!("{head}0\r\n\r\nGET /#a HTTP/1.1\r\n\r\n");
            let fragment = Some(Ambiguity::Fragment);
            assert_eq!(verdicts(two.as_bytes()), [None, fragment, fragment], "{lines}");
        }
    }

    #[test]
    fn a_fragment_in_the_request_line_is_seen() {
        let fragment = Some(Ambiguity::Fragment);
        assert_eq!(verdicts(b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"), [fragment; 3]);
        assert_eq!(verdicts(b"GET /a HTTP/1.1\r\nX: a#b\r\n\r\n"), [None; 3]);
    }

    #[test]
    fn a_lone_line_feed_in_a_head_is_seen() {
        let lone = Some(Ambiguity::LoneLineFeed);
        for head in [
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "GET / HTTP/1.1\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\n\n",
        ] {
            assert_eq!(verdicts(head.as_bytes()), [lone; 3], "{head:?}");
        }
        // Before a request there may be empty lines of any kind.
        assert_eq!(verdicts(b"\n\r\nGET / HTTP/1.1\r\n\r\n"), [None; 3]);
    }

    #[test]
    fn nothing_is_read_after_a_lone_line_feed_among_chunks() {
        const HEAD: &str = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for good in ["0\n", "0\r\n\n", "0\r\nX: y\n", "1\n", "1;a=b\n", "1\r\nx\n", "1\r\nx\r\n0\n"]
        {
            let bytes = format!("{HEAD}{good}GET / HTTP/1.1\r\n\r\n");
            let read = HEAD.len() + good.len();
            for piece in 1..bytes.len() {
                let verdict = Arc::new(Verdict::default());
                let mut wire = Wire::new((), 200, Duration::ZERO, verdict);
                let pieces = bytes.as_bytes().chunks(piece);
                let fed: usize = pieces.map(|piece| wire.follower.feed(piece)).sum();
                assert_eq!(fed, read, "{good:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn bodies_are_passed_over_whatever_they_look_like() {
        const BAD: &str = "P / HTTP/1.1\r\nContent-Length:1\r\nTransfer-Encoding:chunked\r\n\r\n";
        let sized = format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{BAD}", BAD.len());
        assert_eq!(verdicts(sized.as_bytes()), [None; 3]);
        assert_eq!(
            verdicts(format!("{sized}GET / HTTP/1.1\r\n\r\n{BAD}").as_bytes()),
            [None, None, BOTH]
        );
        let chunked = format!(
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x};a=b\r\n{BAD}\r\n2\r\nab\r\n\
             0\r\nX-Trailer: 1\r\n\r\n",
            BAD.len()
        );
        assert_eq!(verdicts(chunked.as_bytes()), [None; 3]);
        assert_eq!(verdicts(format!("{chunked}{BAD}").as_bytes()), [None, BOTH, BOTH]);
    }

    #[test]
    fn what_hyper_refuses_is_left_to_it() {
        for odd in [
            "PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            &format!("GET /{} HTTP/1.1\r\n", "a".repeat(300)),
        ] {
            assert_eq!(verdicts(odd.as_bytes()), [None; 3]);
        }
    }
}
