//! The target of every peer: answers 200 at once and notes what arrived when.
//!
//! One file without dependencies, so that `rustc -O sink.rs` is all it takes. Paths:
//! - `POST /n/NAME`: a job. NAME is a letter of its class and its number.
//! - `GET /count`: how many came since the last reset.
//! - `GET /arrivals`: a line `nanoseconds-since-1970 NAME` for each.
//! - `POST /reset`: forgets them.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
const MAX_HEAD: usize = 64 << 10;

type Seen = Arc<Mutex<Vec<(u128, String)>>>;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on http://{}", listener.local_addr()?);
    let seen = Seen::default();
    for stream in listener.incoming() {
        let (stream, seen) = (stream?, seen.clone());
        // A client that hangs up ends its own thread only.
        thread::Builder::new().stack_size(256 << 10).spawn(move || serve(stream, &seen))?;
    }
    Ok(())
}

fn serve(mut stream: TcpStream, seen: &Seen) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 16 << 10]);
    loop {
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let read = stream.read(&mut chunk)?;
            if read == 0 || bytes.len() > MAX_HEAD {
                return Ok(());
            }
            bytes.extend_from_slice(&chunk[..read]);
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let length = head + body_length(&text);
        while bytes.len() < length {
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            bytes.extend_from_slice(&chunk[..read]);
        }
        bytes.drain(..length);
        let path = text.split(' ').nth(1).unwrap_or_default();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = path.strip_prefix("/n/") {
            seen.push((now, name.to_owned()));
            drop(seen);
            stream.write_all(OK)?;
            continue;
        }
        let answer = match path {
            "/count" => seen.len().to_string(),
            "/arrivals" => seen.iter().map(|(at, name)| format!("{at} {name}\n")).collect(),
            "/reset" => {
                seen.clear();
                String::new()
            }
            _ => "no such path\n".to_owned(),
        };
        drop(seen);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.write_all((head + &answer).as_bytes())?;
    }
}

/// Chunked bodies are not understood: none of the workers sends them.
fn body_length(head: &str) -> usize {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}
