//! `GET /v1/events`: how all targets stand, once a second, as server-sent events (WHATWG HTML,
//! section 9.2).
//!
//! One task asks the loop once an interval and writes the answer down once; every stream sends the
//! same bytes. The task is there only while somebody listens. A reader that is slow misses events,
//! and is told everything again with the next one that it takes; nothing is kept for it.

mod hub;
mod snapshot;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http_body::Frame;
use tokio::sync::watch;
use tokio::time::Instant;

use super::AdminState;
use super::params::{Nothing, Strict};
use crate::auth::{Access, Rules};
use crate::http_api::server::Closing;

pub(super) use hub::Events;
use hub::Listener;

/// After so long a stream ends and its reader comes again. It ends, too, when others may read.
const LONGEST: Duration = Duration::from_secs(600);

/// One of the events (the fields of WHATWG HTML, 9.2, server-sent events).
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "says what is written as text")]
pub(super) struct TargetsEvent {
    /// `targets`.
    event: String,
    /// Its number.
    id: String,
    /// A JSON object.
    data: String,
}

#[utoipa::path(
    get, path = "/v1/events", tag = "targets", operation_id = "events",
    summary = "How the targets stand, once a second, as server-sent events",
    description = "Events are named `targets`; their data is a JSON object. With `full` true, \
        `targets` holds every target as `GET /v1/targets` shows it, and `recent` for each that was \
        sent something the requests in each of the last seconds. Without, `targets` holds those \
        that look different now, and `gone` the names of those that are there no more. The stream \
        ends now and then; come again.",
    responses((status = 200, content_type = "text/event-stream", body = TargetsEvent)),
)]
pub(super) async fn stream(
    State(state): State<AdminState>,
    _: Strict<Nothing>,
    closing: Option<axum::Extension<Closing>>,
    axum::Extension(access): axum::Extension<Access>,
) -> Response {
    let listener = state.events.clone().listen(state);
    let closing = closing.map(|axum::Extension(closing)| closing);
    let until = Instant::now() + LONGEST;
    let reader = Reader { listener, closing, access: access.changes(), until };
    let body = axum::body::Body::new(Stream { next: Box::pin(next(reader)) });
    // A proxy in between that gathers the answer before it passes it on would show nothing.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), "no");
    ([(CONTENT_TYPE, "text/event-stream"), unbuffered], body).into_response()
}

/// Whoever is told, and what ends that.
struct Reader {
    listener: Listener,
    closing: Option<Closing>,
    access: watch::Receiver<Arc<Rules>>,
    until: Instant,
}

/// What comes next, and whoever waits for what comes after it.
type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Reader)>> + Send>>;

async fn next(mut reader: Reader) -> Option<(Bytes, Reader)> {
    let closed = async {
        match &mut reader.closing {
            Some(closing) => closing.begun().await,
            None => std::future::pending().await,
        }
    };
    let event = tokio::select! {
        event = reader.listener.next() => event,
        () = tokio::time::sleep_until(reader.until) => None,
        // Changed, or all is over.
        _ = reader.access.changed() => None,
        () = closed => None,
    };
    event.map(|event| (event, reader))
}

/// A body that has one event after the other.
struct Stream {
    next: Next,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((event, reader)) = ready!(self.next.as_mut().poll(cx)) else {
            return Poll::Ready(None);
        };
        self.next = Box::pin(next(reader));
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}
