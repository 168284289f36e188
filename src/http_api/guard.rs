//! Bodies under guard: what comes in ends in time and within its size, what goes out keeps its
//! connection's place until it is gone.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::body::BodyError;
use super::budget::Held;
use super::slots::Slot;

/// A request's body.
#[derive(Debug)]
pub(super) struct Guarded {
    body: Incoming,
    limit: usize,
    left: usize,
    within: Duration,
    deadline: Instant,
    /// Armed once the body makes us wait, for the whole of it: a steady trickle does not put it off.
    alarm: Option<Pin<Box<Sleep>>>,
    ended: bool,
    /// Grows with what has come.
    held: Held,
    /// Raised where the body was not read to its end: its sender may still be sending.
    cut_off: Arc<AtomicBool>,
}

impl Guarded {
    pub(super) fn new(
        body: Incoming,
        limit: usize,
        within: Duration,
        held: Held,
        cut_off: Arc<AtomicBool>,
    ) -> Guarded {
        let ended = body.is_end_stream();
        let deadline = Instant::now() + within;
        Guarded { body, limit, left: limit, within, deadline, alarm: None, ended, held, cut_off }
    }
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (limit, within, deadline) = (self.limit, self.within, self.deadline);
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
                match alarm.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(BodyError::TooSlow { within }))),
                    Poll::Pending => Poll::Pending,
                }
            }
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(BodyError::Broken))),
            Poll::Ready(Some(Ok(frame))) => {
                let size = frame.data_ref().map_or(0, Bytes::len);
                match self.left.checked_sub(size) {
                    Some(_) if !self.held.grow(size) => Poll::Ready(Some(Err(BodyError::NoRoom))),
                    Some(left) => {
                        self.left = left;
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => Poll::Ready(Some(Err(BodyError::TooLarge { limit }))),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.cut_off.store(true, Ordering::Release);
        }
    }
}

/// Keeps its connection from being idle.
#[derive(Debug)]
pub(super) struct Busy(Arc<Slot>);

impl Busy {
    /// `None` where the connection is about to be closed.
    pub(super) fn new(slot: Arc<Slot>) -> Option<Busy> {
        let in_time = slot.busy();
        let busy = Busy(slot);
        in_time.then_some(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.done();
    }
}

/// An answer's body.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) body: axum::body::Body,
    pub(super) _busy: Option<Busy>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
