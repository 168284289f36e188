//! Which trace a job belongs to: W3C Trace Context (<https://www.w3.org/TR/trace-context/>), and
//! AWS's `X-Amzn-Trace-Id`
//! (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>).

use std::fmt;

use crate::broker::job::JobId;
use crate::broker::payload::{HeaderLine, Request};

pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const TRACESTATE: &str = "tracestate";
pub(crate) const AMAZON: &str = "x-amzn-trace-id";

/// Never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub u64);

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Traceparent,
    Amazon,
    /// Nothing: the trace begins here.
    Ourselves,
}

/// The trace that a job belongs to, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace: TraceId,
    /// The span that the job was handed in by.
    pub parent: Option<SpanId>,
    /// What whoever began the trace decided; `None` where that is left to us.
    pub sampled: Option<bool>,
    pub(crate) by: By,
}

/// Whether a request's span is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// There are no traces here: what came is passed on as it is.
    #[default]
    Off,
    /// Not this trace.
    Unsampled,
    /// The target hears of the request's span as its parent.
    On,
}

impl Context {
    /// `traceparent` counts before `X-Amzn-Trace-Id`. Where there is neither, or only one that
    /// cannot be read, a trace begins here: its id is the job's, so that it can be looked up.
    pub fn of(job: JobId, request: &Request) -> Context {
        Context::in_headers(&request.headers).unwrap_or(Context {
            // A UUID of version 7 is never all zeros; one of another version could be.
            trace: TraceId(job.0.max(1)),
            parent: None,
            sampled: None,
            by: By::Ourselves,
        })
    }

    pub(crate) fn in_headers(headers: &[HeaderLine]) -> Option<Context> {
        let sole = |wanted: &str| {
            let mut all = headers.iter().filter(|(name, _)| name == wanted);
            let first = all.next()?;
            // Of two nobody can say which holds.
            all.next().is_none().then_some(())?;
            std::str::from_utf8(&first.1).ok()
        };
        sole(TRACEPARENT).and_then(traceparent).or_else(|| sole(AMAZON).and_then(amazon))
    }

    /// Of the request with this number, from 1.
    pub fn attempt_span(&self, job: JobId, number: u32) -> SpanId {
        span(job, u64::from(number))
    }

    /// Of the time before that request.
    pub(crate) fn wait_span(&self, job: JobId, number: u32) -> SpanId {
        span(job, u64::from(number) | 1 << 32)
    }

    /// What the waiting and the requests of the job are children of: the caller's span; and where
    /// there is none, the first waiting, which has no parent itself.
    pub(crate) fn root(&self, job: JobId) -> SpanId {
        self.parent.unwrap_or_else(|| self.wait_span(job, 1))
    }

    /// The `traceparent` that a target gets where the caller's own is not passed on.
    pub(crate) fn onward(&self, job: JobId, number: u32, recording: Recording) -> String {
        let span = match (recording, self.parent) {
            // Nobody would find a span that is not recorded.
            (Recording::Off | Recording::Unsampled, Some(parent)) => parent,
            _ => self.attempt_span(job, number),
        };
        let sampled = match recording {
            Recording::On => true,
            Recording::Unsampled => false,
            Recording::Off => self.sampled.unwrap_or(true),
        };
        format!("00-{}-{span}-{:02x}", self.trace, u8::from(sampled))
    }

    /// The same in AWS's words.
    pub(crate) fn onward_amazon(&self, job: JobId, number: u32) -> String {
        let id = self.trace.to_string();
        let (epoch, rest) = id.split_at(8);
        format!("Root=1-{epoch}-{rest};Parent={};Sampled=1", self.attempt_span(job, number))
    }
}

/// The finalizer of splitmix64 over the job and what of it: one to one, so no two spans of a job
/// meet.
fn span(job: JobId, what: u64) -> SpanId {
    let mut span = (job.0 as u64) ^ (job.0 >> 64) as u64;
    span = span.wrapping_add(what.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    span = (span ^ (span >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    span = (span ^ (span >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    span ^= span >> 31;
    SpanId(span.max(1))
}

/// Section 3.2: version, trace id, parent id, flags. A later version may have more after that.
fn traceparent(text: &str) -> Option<Context> {
    let mut parts = text.trim_matches([' ', '\t']).splitn(5, '-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let version = u8::try_from(hex(version, 2)?).ok()?;
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    Some(Context {
        trace: TraceId(hex(trace, 32).filter(|id| *id != 0)?),
        parent: Some(SpanId(u64::try_from(hex(parent, 16)?).ok().filter(|id| *id != 0)?)),
        sampled: Some(hex(flags, 2)? & 1 == 1),
        by: By::Traceparent,
    })
}

/// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`, of which only the
/// root must be there; load balancers add fields of their own.
fn amazon(text: &str) -> Option<Context> {
    let (mut trace, mut parent, mut sampled) = (None, None, None);
    for field in text.split(';') {
        let (name, value) = field.trim().split_once('=')?;
        match name {
            "Root" => {
                let mut parts = value.split('-');
                let (version, epoch, rest) = (parts.next()?, parts.next()?, parts.next()?);
                if version != "1" || parts.next().is_some() {
                    return None;
                }
                trace = Some(hex(epoch, 8)? << 96 | hex(rest, 24)?);
            }
            "Parent" => parent = u64::try_from(hex(value, 16)?).ok().filter(|id| *id != 0),
            "Sampled" => {
                sampled = match value {
                    "1" => Some(true),
                    "0" => Some(false),
                    // `?` leaves it to who gets it.
                    _ => None,
                }
            }
            _ => {}
        }
    }
    let trace = TraceId(trace.filter(|id| *id != 0)?);
    Some(Context { trace, parent: parent.map(SpanId), sampled, by: By::Amazon })
}

/// So many digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let fits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(fits) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}
