//! Every metric: its name, unit, labels and buckets (CONTRACT §8). Nothing else records one by
//! name.
//!
//! What happens is counted when it happens, by [`Books`]; what is so (depths, ages, rates) is
//! taken from a [`View`] when somebody asks, so that it costs nothing in between.

mod page;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::broker::callback::CallbackName;
use crate::broker::job::{JobState, Priority, Source, TargetId};
use crate::broker::payload::Outcome;
use crate::handle::View;
use crate::store::{CallbackCount, Space};

const ENQUEUED: &str = "tollgate_jobs_enqueued_total";
const ATTEMPTS: &str = "tollgate_attempts_total";
const FINISHED: &str = "tollgate_jobs_finished_total";
const QUEUE_WAIT: &str = "tollgate_queue_wait_seconds";
const ATTEMPT_DURATION: &str = "tollgate_attempt_duration_seconds";
const DEAD_DROPPED: &str = "tollgate_dead_jobs_dropped_total";
const DEFERRALS: &str = "tollgate_deferrals_total";
const COMMIT_SECONDS: &str = "tollgate_store_commit_seconds";
const COMMIT_JOBS: &str = "tollgate_store_commit_jobs";
const RELOAD_OK: &str = "tollgate_config_last_reload_successful";
const RELOAD_AT: &str = "tollgate_config_last_reload_success_timestamp_seconds";
const CALLBACKS: &str = "tollgate_callbacks_total";
const SPANS: &str = "tollgate_trace_spans_total";
const BUILD_INFO: &str = "tollgate_build_info";

/// From a token at a thousand a second to a backlog of days.
const WAITS: [f64; 16] = [
    0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0,
    86_400.0,
];
const ATTEMPTS_TAKE: [f64; 13] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
const COMMITS_TAKE: [f64; 11] =
    [0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];
const COMMITS_HOLD: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0];

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Histogram(Unit),
}

/// What is counted: the name, what it is, what it says.
const DESCRIBED: [(&str, Kind, &str); 11] = [
    (ENQUEUED, Kind::Counter, "Jobs taken in and durable."),
    (ATTEMPTS, Kind::Counter, "Requests sent to a target, by what each taught us."),
    (FINISHED, Kind::Counter, "Jobs that ended, by how."),
    (DEFERRALS, Kind::Counter, "Times the head of a queue was passed over by a higher job."),
    (DEAD_DROPPED, Kind::Counter, "Dead jobs that were forgotten for `dead_retention`."),
    (CALLBACKS, Kind::Counter, "Answers to task tokens, and webhooks, by what became of them."),
    (SPANS, Kind::Counter, "Spans of traces, by whether the collector took them."),
    (
        QUEUE_WAIT,
        Kind::Histogram(Unit::Seconds),
        "From when a job could be sent to its first start.",
    ),
    (
        ATTEMPT_DURATION,
        Kind::Histogram(Unit::Seconds),
        "From the sending to the end of the answer.",
    ),
    (COMMIT_SECONDS, Kind::Histogram(Unit::Seconds), "How long a commit to disk took."),
    (COMMIT_JOBS, Kind::Histogram(Unit::Count), "Changes of jobs in one commit."),
];

const META: Metadata<'static> = Metadata::new("tollgate", Level::INFO, None);

/// What became of one call that answers a task token, or tells a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callback {
    Accepted,
    /// The task is over, or the token is none: it will never be accepted.
    Late,
    /// The result did not fit: the task was failed with `Tollgate.ResultTooLarge` instead.
    TooLarge,
    /// To be tried again soon: throttled, no connection, an error of the service.
    Retried,
    /// To be tried again when somebody has put something right: permissions, credentials, keys.
    Held,
    /// Of a webhook: the receiver is gone, or time is up. Nobody tries any more.
    GivenUp,
}

impl Callback {
    /// Of a callback of the configuration.
    pub const OF_WEBHOOKS: [Callback; 4] =
        [Callback::Accepted, Callback::Retried, Callback::Held, Callback::GivenUp];

    /// Of task tokens.
    pub const ALL: [Callback; 5] =
        [Callback::Accepted, Callback::Late, Callback::TooLarge, Callback::Retried, Callback::Held];

    pub fn as_str(self) -> &'static str {
        match self {
            Callback::Accepted => "accepted",
            Callback::Late => "late",
            Callback::TooLarge => "too_large",
            Callback::Retried => "retried",
            Callback::Held => "held",
            Callback::GivenUp => "given_up",
        }
    }
}

/// What became of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spans {
    Exported,
    /// The collector was away, or did not want them.
    Dropped,
}

impl Spans {
    pub fn as_str(self) -> &'static str {
        match self {
            Spans::Exported => "exported",
            Spans::Dropped => "dropped",
        }
    }
}

/// Says how many jobs ended whose task token is still to be answered; `None` if it cannot tell.
type Pending = Box<dyn Fn() -> Option<u64> + Send + Sync>;
/// The same of each callback, by name, with how many were given up.
type PendingWebhooks = Box<dyn Fn() -> Vec<CallbackCount> + Send + Sync>;

/// All that was recorded; cheap to clone. Each daemon has its own, also two in one process.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    reload_ok: Gauge,
    reload_at: Gauge,
    pending: OnceLock<Pending>,
    webhooks: OnceLock<PendingWebhooks>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// # Panics
    /// Never: the buckets are constants and not empty.
    pub fn new() -> Metrics {
        let buckets: [(&str, &[f64]); 4] = [
            (QUEUE_WAIT, &WAITS),
            (ATTEMPT_DURATION, &ATTEMPTS_TAKE),
            (COMMIT_SECONDS, &COMMITS_TAKE),
            (COMMIT_JOBS, &COMMITS_HOLD),
        ];
        let mut builder = PrometheusBuilder::new();
        for (name, bounds) in buckets {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(name.into()), bounds)
                .expect("buckets are not empty");
        }
        let recorder = builder.build_recorder();
        for (name, kind, text) in DESCRIBED {
            let name = KeyName::from_const_str(name);
            match kind {
                Kind::Counter => recorder.describe_counter(name, Some(Unit::Count), text.into()),
                Kind::Histogram(unit) => {
                    recorder.describe_histogram(name, Some(unit), text.into());
                }
            }
        }
        for (name, text) in [
            (RELOAD_OK, "1 where the last reload of the configuration worked, 0 where it failed."),
            (RELOAD_AT, "When a configuration last came into force, in seconds since the epoch."),
            (BUILD_INFO, "Always 1; says which version this is."),
        ] {
            recorder.describe_gauge(KeyName::from_const_str(name), None, text.into());
        }
        let reload_ok = recorder.register_gauge(&Key::from_static_name(RELOAD_OK), &META);
        let reload_at = recorder.register_gauge(&Key::from_static_name(RELOAD_AT), &META);
        let version = vec![Label::from_static_parts("version", env!("CARGO_PKG_VERSION"))];
        recorder.register_gauge(&Key::from_parts(BUILD_INFO, version), &META).set(1.0);
        let handle = recorder.handle();
        let metrics = Metrics(Arc::new(Inner {
            recorder,
            handle,
            reload_ok,
            reload_at,
            pending: OnceLock::new(),
            webhooks: OnceLock::new(),
        }));
        metrics.reloaded(Ok(crate::handle::Handle::wall_now().as_millis()));
        for result in Callback::ALL {
            metrics.callbacks(result).increment(0);
        }
        metrics
    }

    /// A configuration came into force at so many milliseconds since the epoch, or was refused.
    pub fn reloaded(&self, result: Result<u64, ()>) {
        self.0.reload_ok.set(f64::from(u8::from(result.is_ok())));
        if let Ok(millis) = result {
            self.0.reload_at.set(millis as f64 / 1_000.0);
        }
    }

    /// A task token was answered, or could not be.
    pub fn callback(&self, result: Callback) {
        self.callbacks(result).increment(1);
    }

    /// So many spans were brought to the collector, or were not.
    pub fn spans(&self, result: Spans, count: u64) {
        let labels = vec![Label::from_static_parts("result", result.as_str())];
        self.0.recorder.register_counter(&Key::from_parts(SPANS, labels), &META).increment(count);
    }

    /// Where to ask how many jobs have ended whose task token is still to be answered; `None` where
    /// it cannot be told.
    pub fn callbacks_pending_from(
        &self,
        pending: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) {
        // Only the first counts: a daemon has one store.
        let _ = self.0.pending.set(Box::new(pending));
    }

    /// Counted for a callback from now on, if at nought.
    pub fn webhooks_begin(&self, name: &CallbackName) {
        for result in Callback::OF_WEBHOOKS {
            self.webhooks(name, result).increment(0);
        }
    }

    /// A webhook was sent, or given up.
    pub fn webhook(&self, name: &CallbackName, result: Callback) {
        self.webhooks(name, result).increment(1);
    }

    pub fn webhooks_pending_from(
        &self,
        pending: impl Fn() -> Vec<CallbackCount> + Send + Sync + 'static,
    ) {
        // Only the first counts: a daemon has one set of callbacks.
        let _ = self.0.webhooks.set(Box::new(pending));
    }

    fn webhooks(&self, name: &CallbackName, result: Callback) -> Counter {
        let labels = vec![
            Label::new("callback", name.as_str().to_owned()),
            Label::from_static_parts("result", result.as_str()),
        ];
        self.0.recorder.register_counter(&Key::from_parts(CALLBACKS, labels), &META)
    }

    fn callbacks(&self, result: Callback) -> Counter {
        let labels = vec![Label::from_static_parts("result", result.as_str())];
        self.0.recorder.register_counter(&Key::from_parts(CALLBACKS, labels), &META)
    }

    /// Histograms gather samples until somebody asks or this is called: call it now and then.
    pub fn upkeep(&self) {
        self.0.handle.run_upkeep();
    }

    /// The Prometheus text format, version 0.0.4.
    pub fn render(&self, view: &View, space: &Space) -> String {
        let mut text = self.0.handle.render();
        // What cannot be written to a `String` does not exist: the results mean nothing.
        let _ = write_what_never_happened(&mut text);
        let _ = page::write_view(&mut text, view, space);
        let tokens = self.0.pending.get().and_then(|pending| pending());
        let webhooks = self.0.webhooks.get().map(|pending| pending()).unwrap_or_default();
        let _ = page::write_pending(&mut text, tokens, &webhooks);
        text
    }
}

/// Handles to what the loop counts, found once for each set of labels.
pub(crate) struct Books {
    metrics: Metrics,
    enqueued: HashMap<(TargetId, Priority, Source), Counter>,
    attempts: HashMap<(TargetId, Priority, Outcome), Counter>,
    durations: HashMap<(TargetId, Outcome), Histogram>,
    finished: HashMap<(TargetId, Priority, JobState), Counter>,
    waits: HashMap<(TargetId, Priority), Histogram>,
    deferrals: HashMap<(TargetId, Priority), Counter>,
    commit_seconds: Histogram,
    commit_jobs: Histogram,
}

impl Books {
    pub(crate) fn new(metrics: Metrics) -> Books {
        let recorder = &metrics.0.recorder;
        let commit_seconds =
            recorder.register_histogram(&Key::from_static_name(COMMIT_SECONDS), &META);
        let commit_jobs = recorder.register_histogram(&Key::from_static_name(COMMIT_JOBS), &META);
        Books {
            metrics,
            enqueued: HashMap::new(),
            attempts: HashMap::new(),
            durations: HashMap::new(),
            finished: HashMap::new(),
            waits: HashMap::new(),
            deferrals: HashMap::new(),
            commit_seconds,
            commit_jobs,
        }
    }

    pub(crate) fn committed(&self, took: Duration, changes: usize) {
        self.commit_seconds.record(took.as_secs_f64());
        self.commit_jobs.record(changes as f64);
    }

    /// A job was taken in and is durable.
    pub(crate) fn enqueued(
        &mut self,
        target: (TargetId, &str),
        priority: Priority,
        source: Source,
    ) {
        let recorder = &self.metrics.0.recorder;
        let counter = self.enqueued.entry((target.0, priority, source)).or_insert_with(|| {
            let key = key(ENQUEUED, target.1, Some(priority), Some(("source", source.as_str())));
            recorder.register_counter(&key, &META)
        });
        counter.increment(1);
    }

    pub(crate) fn attempt(
        &mut self,
        target: (TargetId, &str),
        priority: Priority,
        outcome: Outcome,
        took: Duration,
    ) {
        let recorder = &self.metrics.0.recorder;
        let (id, name) = target;
        let counter = self.attempts.entry((id, priority, outcome)).or_insert_with(|| {
            let key = key(ATTEMPTS, name, Some(priority), Some(("outcome", outcome.as_str())));
            recorder.register_counter(&key, &META)
        });
        counter.increment(1);
        let histogram = self.durations.entry((id, outcome)).or_insert_with(|| {
            let key = key(ATTEMPT_DURATION, name, None, Some(("outcome", outcome.as_str())));
            recorder.register_histogram(&key, &META)
        });
        histogram.record(took.as_secs_f64());
    }

    pub(crate) fn finished(
        &mut self,
        target: (TargetId, &str),
        priority: Priority,
        state: JobState,
    ) {
        let recorder = &self.metrics.0.recorder;
        let counter = self.finished.entry((target.0, priority, state)).or_insert_with(|| {
            let key = key(FINISHED, target.1, Some(priority), Some(("state", state.as_str())));
            recorder.register_counter(&key, &META)
        });
        counter.increment(1);
    }

    pub(crate) fn waited(&mut self, target: (TargetId, &str), priority: Priority, wait: Duration) {
        let recorder = &self.metrics.0.recorder;
        let histogram = self.waits.entry((target.0, priority)).or_insert_with(|| {
            recorder.register_histogram(&key(QUEUE_WAIT, target.1, Some(priority), None), &META)
        });
        histogram.record(wait.as_secs_f64());
    }

    pub(crate) fn dropped(&mut self, target: (TargetId, &str), jobs: u64) {
        let key = key(DEAD_DROPPED, target.1, None, None);
        self.metrics.0.recorder.register_counter(&key, &META).increment(jobs);
    }

    pub(crate) fn passed_over(&mut self, target: (TargetId, &str), of: Priority) {
        let recorder = &self.metrics.0.recorder;
        let counter = self.deferrals.entry((target.0, of)).or_insert_with(|| {
            recorder.register_counter(&key(DEFERRALS, target.1, Some(of), None), &META)
        });
        counter.increment(1);
    }
}

fn key(
    name: &'static str,
    target: &str,
    priority: Option<Priority>,
    more: Option<(&'static str, &'static str)>,
) -> Key {
    let mut labels = vec![Label::new("target", target.to_owned())];
    labels.extend(priority.map(|p| Label::from_static_parts("priority", p.as_str())));
    labels.extend(more.map(|(name, value)| Label::from_static_parts(name, value)));
    Key::from_parts(name, labels)
}

/// What has not happened yet has no sample; its name is there all the same, for whoever looks what
/// there is.
fn write_what_never_happened(text: &mut String) -> std::fmt::Result {
    for (name, kind, help) in DESCRIBED {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Histogram(_) => "histogram",
        };
        if !text.contains(&format!("# TYPE {name} ")) {
            page::family(text, name, kind, help)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(metrics: &Metrics) -> String {
        let view = View { now: Default::default(), targets: Vec::new(), limits: Vec::new() };
        metrics.render(&view, &Space { bytes: 4_096, ..Space::default() })
    }

    #[test]
    fn what_has_not_happened_yet_has_its_name_once() {
        let metrics = Metrics::new();
        let mut books = Books::new(metrics.clone());
        metrics.callbacks_pending_from(|| Some(0));
        let before = rendered(&metrics);
        assert!(before.contains("tollgate_callbacks_pending 0\n"), "{before}");
        assert!(before.contains("tollgate_callbacks_total{result=\"accepted\"} 0\n"), "{before}");
        books.passed_over((TargetId(1), "erp"), Priority::Batch);
        let after = rendered(&metrics);
        for text in [before, after] {
            for (name, ..) in DESCRIBED {
                let lines =
                    text.lines().filter(|line| line.starts_with(&format!("# TYPE {name} ")));
                assert_eq!(lines.count(), 1, "{name} in\n{text}");
            }
        }
    }

    #[test]
    fn what_was_counted_is_rendered() {
        let metrics = Metrics::new();
        let mut books = Books::new(metrics.clone());
        let target = (TargetId(1), "erp");
        books.attempt(target, Priority::High, Outcome::Done, Duration::from_millis(3));
        books.finished(target, Priority::High, JobState::Succeeded);
        books.committed(Duration::from_millis(1), 3);
        books.enqueued(target, Priority::Batch, Source::Proxy);
        metrics.callbacks_pending_from(|| Some(12));
        metrics.callback(Callback::Late);
        let orders = CallbackName::new("orders").unwrap();
        metrics.webhook(&orders, Callback::GivenUp);
        let count = CallbackCount { name: orders, owed: 3, undelivered: 1 };
        metrics.webhooks_pending_from(move || vec![count.clone()]);
        let text = rendered(&metrics);
        for line in [
            r#"tollgate_attempts_total{target="erp",priority="HIGH",outcome="done"} 1"#,
            r#"tollgate_jobs_finished_total{target="erp",priority="HIGH",state="succeeded"} 1"#,
            r#"tollgate_jobs_enqueued_total{target="erp",priority="BATCH",source="proxy"} 1"#,
            r#"tollgate_attempt_duration_seconds_bucket{target="erp",outcome="done",le="0.005"} 1"#,
            "tollgate_store_commit_jobs_count 1",
            "tollgate_store_bytes 4096",
            "tollgate_callbacks_pending 12",
            r#"tollgate_callbacks_pending{callback="orders"} 3"#,
            r#"tollgate_callbacks_undelivered{callback="orders"} 1"#,
            r#"tollgate_callbacks_total{callback="orders",result="given_up"} 1"#,
            r#"tollgate_callbacks_total{result="late"} 1"#,
            r#"tollgate_callbacks_total{result="accepted"} 0"#,
            "tollgate_config_last_reload_successful 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
