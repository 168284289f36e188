//! What came back: the parts of an answer as they arrive, and what they mean.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::hop::{Named, is_hop_by_hop};
use super::live::Room;
use super::meaning::Seen;
use super::reason;
use crate::broker::payload::{Answer, HeaderLine, Outcome};

/// How the body of an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    Whole,
    /// It goes on, but no more of it is kept.
    Capped,
    /// The connection broke, or time ran out; for people.
    Broken(String),
}

/// An answer whose head arrived whole.
#[derive(Debug)]
pub(super) struct Arriving {
    status: StatusCode,
    headers: HeaderMap,
    to_head: bool,
    body: Vec<u8>,
    room: Room,
}

impl Arriving {
    pub(super) fn new(parts: http::response::Parts, method: &Method, room: Room) -> Arriving {
        Arriving {
            status: parts.status,
            headers: parts.headers,
            to_head: method == Method::HEAD,
            body: Vec::new(),
            room,
        }
    }

    /// What rules see of it: `most` bytes of the body.
    pub(super) fn seen<'a>(&'a self, end: &'a BodyEnd, most: usize) -> Seen<'a> {
        let body = &self.body[..self.body.len().min(most)];
        let cut = body.len() < self.body.len() || *end == BodyEnd::Capped;
        Seen { status: self.status, headers: &self.headers, body, end, cut }
    }

    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Reads as much of `body` as there is room for, and copies it: a `Bytes` of hyper's keeps its whole
    /// read buffer alive. What was read stays if this is dropped half-way.
    pub(super) async fn read(&mut self, mut body: Incoming, version: Version) -> BodyEnd {
        while let Some(frame) = body.frame().await {
            let data = match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => data,
                // Trailers are not kept.
                Ok(Err(_)) => continue,
                Err(error) => return BodyEnd::Broken(reason::of(&error)),
            };
            let room = self.room.after(self.body.len(), data.len());
            if data.len() > room {
                self.body.extend_from_slice(&data[..room]);
                return BodyEnd::Capped;
            }
            self.body.extend_from_slice(&data);
        }
        // hyper takes a stream that was reset with NO_ERROR for one that ended.
        if version == Version::HTTP_2 && !body.is_end_stream() {
            return BodyEnd::Broken("the stream was reset".to_owned());
        }
        BodyEnd::Whole
    }

    /// `truncated` where the body is not whole. `keep`: how much of it the store keeps, in bytes.
    pub(super) fn into_answer(self, end: &BodyEnd, keep: usize) -> Answer {
        let named = Named::of(&self.headers);
        // True of the body that is here, or, to HEAD and with 304, of the one that would be
        // (RFC 9110 §8.6); else it would lie to whoever passes the answer on.
        let of_another = self.to_head || self.status == StatusCode::NOT_MODIFIED;
        let length = self.body.len().to_string();
        let headers = self
            .headers
            .iter()
            .filter(|(name, value)| {
                let name = name.as_str();
                if is_hop_by_hop(name) || named.has(name) {
                    return false;
                }
                name != CONTENT_LENGTH || of_another || value.as_bytes() == length.as_bytes()
            })
            .map(|(name, value)| -> HeaderLine {
                (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes()))
            })
            .collect();
        Answer {
            status: self.status.as_u16(),
            headers,
            body: self.room.hold(self.body),
            truncated: *end != BodyEnd::Whole,
            keep,
        }
    }
}

/// What an answer means (CONTRACT §1). Only a success needs its whole body: where the target says
/// that it did nothing, or never will, the missing rest of its explanation changes neither.
pub(super) fn outcome(status: StatusCode, end: &BodyEnd) -> Outcome {
    match (status.as_u16(), end) {
        (429 | 503, _) => Outcome::Refused,
        (200..=299, BodyEnd::Whole | BodyEnd::Capped) => Outcome::Done,
        (200..=299, BodyEnd::Broken(_)) | (500..=599, _) => Outcome::Unknown,
        // Redirects are not followed; 101 was not asked for; the rest is no HTTP status.
        _ => Outcome::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_outcome() {
        let broken = BodyEnd::Broken(String::new());
        for status in 100..1000_u16 {
            let expected = match status {
                200..300 => Outcome::Done,
                429 | 503 => Outcome::Refused,
                500..600 => Outcome::Unknown,
                _ => Outcome::Rejected,
            };
            let code = StatusCode::from_u16(status).unwrap();
            assert_eq!(outcome(code, &BodyEnd::Whole), expected, "{status}");
            assert_eq!(outcome(code, &BodyEnd::Capped), expected, "{status}");
            let expected = if expected == Outcome::Done { Outcome::Unknown } else { expected };
            assert_eq!(outcome(code, &broken), expected, "{status}");
        }
    }
}
