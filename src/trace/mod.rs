//! Traces (OpenTelemetry): which trace a job belongs to, the spans of its waiting and its attempts,
//! and their way to a collector (docs/tracing.md).
//!
//! A job's trace is not kept anywhere of its own: it follows from the job's id and from the headers
//! that it came with, which are stored with it, and so do the ids of all its spans. A span is made
//! when what it tells is over; nothing is held for a job that waits, and a restart changes nothing.

mod context;
mod export;
mod span;

use std::sync::Arc;

use tokio::sync::mpsc;

pub(crate) use context::{AMAZON, By, TRACEPARENT, TRACESTATE};
pub use context::{Context, Recording, SpanId, TraceId};
pub use export::{Endpoint, ExportError, Flushed};
pub(crate) use span::Attempt;

use crate::metrics::{Metrics, Spans};

/// Spans that wait for the collector at most; more are dropped and counted. About 2 MiB.
const WAITING: usize = 2_048;

/// Takes spans; cheap to clone. Never waits, and never grows.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<On>>);

struct On {
    ratio: Ratio,
    spans: mpsc::Sender<export::Item>,
    metrics: Metrics,
}

/// Of the traces that begin here, the part that is recorded: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    pub const ALL: Ratio = Ratio(1.0);

    /// `None` where it is none.
    pub fn new(ratio: f64) -> Option<Ratio> {
        (0.0..=1.0).contains(&ratio).then_some(Ratio(ratio))
    }

    /// By the trace's own random bits (W3C Trace Context level 2: the last 7 bytes), so that it is
    /// decided alike for every request of a job, before and after a restart.
    fn takes(self, trace: TraceId) -> bool {
        const BITS: u32 = 56;
        let random = trace.0 & ((1 << BITS) - 1);
        (random as f64) < self.0 * (1_u64 << BITS) as f64
    }
}

impl Tracer {
    /// Starts the task that brings spans to `endpoint`.
    ///
    /// # Errors
    /// Where TLS cannot be set up for it.
    pub fn start(
        endpoint: &Endpoint,
        ratio: Ratio,
        metrics: Metrics,
    ) -> Result<Tracer, ExportError> {
        let (spans, waiting) = mpsc::channel(WAITING);
        let exporter = export::Exporter::new(endpoint, metrics.clone())?;
        tokio::spawn(exporter.run(waiting));
        Ok(Tracer(Some(Arc::new(On { ratio, spans, metrics }))))
    }

    /// Whether the requests of a job in this trace are recorded. Whoever began the trace decides.
    pub fn recording(&self, context: &Context) -> Recording {
        match &self.0 {
            None => Recording::Off,
            Some(on) => match context.sampled {
                Some(true) => Recording::On,
                None if on.ratio.takes(context.trace) => Recording::On,
                Some(false) | None => Recording::Unsampled,
            },
        }
    }

    /// Records one request of a job, and how long it waited before. Where the collector does not
    /// keep up it is dropped.
    pub(crate) fn attempted(&self, attempt: &Attempt<'_>) {
        let Some(on) = &self.0 else { return };
        for span in attempt.spans() {
            if on.spans.try_send(export::Item::Span(Box::new(span))).is_err() {
                on.metrics.spans(Spans::Dropped, 1);
            }
        }
    }

    /// What is still here is brought away, or dropped where that takes longer than a moment.
    pub async fn flush(&self) -> Flushed {
        match &self.0 {
            None => Flushed,
            Some(on) => export::flush(&on.spans).await,
        }
    }
}

#[cfg(test)]
mod tests;
