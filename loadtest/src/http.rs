//! HTTP/1.1 on a bare socket: bytes that were built beforehand go out, and of the answer only what
//! is asked for is looked at. The generator shares two cores with what it measures, so a client
//! that builds requests and header maps would measure itself.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More headers than any answer here has.
const HEADERS: usize = 64;
/// What is read at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// One connection with one request under way at most.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    inbox: Inbox,
}

#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// The connection takes no other request.
    pub(crate) last: bool,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, inbox: Inbox::default() })
    }

    /// Sends a whole request and reads the whole answer. After an error the connection is of no
    /// more use. An answer must have a `Content-Length`.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.inbox.forget();
        self.stream.write_all(request).await?;
        let AnswerHead { status, last, head, body: length } = loop {
            match answer_head(self.inbox.bytes())? {
                Some(found) => break found,
                None => self.inbox.read(&mut self.stream).await?,
            }
        };
        while self.inbox.bytes().len() < head + length {
            self.inbox.read(&mut self.stream).await?;
        }
        self.inbox.taken = head + length;
        let body = &self.inbox.buffer[head..head + length];
        Ok(Answer { status, last, body })
    }
}

/// Bytes that came and are not done with.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    filled: usize,
    /// So many at the start are done with.
    taken: usize,
}

impl Inbox {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.taken..self.filled]
    }

    pub(crate) fn take(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.filled);
    }

    /// Moves what is left to the start.
    pub(crate) fn forget(&mut self) {
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
    }

    /// Waits for more. The end of the stream is an error.
    pub(crate) async fn read(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if self.buffer.len() - self.filled < CHUNK {
            self.buffer.resize((self.buffer.len() * 2).max(self.filled + CHUNK), 0);
        }
        match stream.read(&mut self.buffer[self.filled..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.filled += count;
                Ok(())
            }
        }
    }
}

fn nonsense(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[derive(Debug, PartialEq, Eq)]
struct AnswerHead {
    status: u16,
    last: bool,
    /// In bytes.
    head: usize,
    /// In bytes.
    body: usize,
}

/// `None` while the head is not all there.
fn answer_head(bytes: &[u8]) -> io::Result<Option<AnswerHead>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    match answer.parse(bytes).map_err(nonsense)? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(head) => {
            let body = content_length(answer.headers)?
                .ok_or_else(|| nonsense("an answer without Content-Length"))?;
            let connection = header(answer.headers, "connection").unwrap_or(b"");
            let last = connection.eq_ignore_ascii_case(b"close");
            Ok(Some(AnswerHead { status: answer.code.unwrap_or(0), last, head, body }))
        }
    }
}

/// What a target wants to know of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestHead<'a> {
    pub(crate) path: &'a str,
    pub(crate) priority: &'a [u8],
    /// In bytes.
    pub(crate) head: usize,
    /// In bytes.
    pub(crate) body: usize,
}

/// `None` while the head is not all there.
pub(crate) fn request_head(bytes: &[u8]) -> io::Result<Option<RequestHead<'_>>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes).map_err(nonsense)? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(head) => {
            let body = content_length(request.headers)?.unwrap_or(0);
            let path = request.path.unwrap_or("");
            let priority = header(request.headers, "tollgate-priority").unwrap_or(b"");
            Ok(Some(RequestHead { path, priority, head, body }))
        }
    }
}

fn header<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn content_length(headers: &[httparse::Header<'_>]) -> io::Result<Option<usize>> {
    let Some(text) = header(headers, "content-length") else { return Ok(None) };
    let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| nonsense("a Content-Length that is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_comes() {
        let whole = b"HTTP/1.1 202 Accepted\r\nContent-length: 2\r\n\r\n{}";
        for cut in 0..whole.len() - 2 {
            assert!(answer_head(&whole[..cut]).unwrap().is_none(), "{cut}");
        }
        let expected = AnswerHead { status: 202, last: false, head: whole.len() - 2, body: 2 };
        assert_eq!(answer_head(whole).unwrap(), Some(expected));
        let last = b"HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert!(answer_head(last).unwrap().unwrap().last);
        for wrong in [
            &b"HTTP/1.1 200 OK\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            b"SMTP\r\n\r\n",
        ] {
            assert!(answer_head(wrong).is_err());
        }
    }

    #[test]
    fn a_request_says_its_path_and_priority() {
        let whole =
            b"POST /n/7 HTTP/1.1\r\nTollgate-Priority: HIGH\r\nContent-Length: 3\r\n\r\nabc";
        let head = request_head(whole).unwrap().unwrap();
        let expected =
            RequestHead { path: "/n/7", priority: b"HIGH", head: whole.len() - 3, body: 3 };
        assert_eq!(head, expected);
        assert_eq!(request_head(&whole[..20]).unwrap(), None);
    }
}
