use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::*;
use crate::broker::course::Aim;
use crate::broker::job::{JobId, Priority};
use crate::broker::payload::{Answer, Close, Follow, HeaderLine, Outcome, Report, Request};
use crate::broker::time::Wall;

const JOB: JobId = JobId(0x0197_a3b0_6d1e_7c55_b1b2_6f5a_4f0c_9e11);
const CAME: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn line(name: &str, value: &str) -> HeaderLine {
    (name.to_owned(), Bytes::copy_from_slice(value.as_bytes()))
}

fn of(headers: &[(&str, &str)]) -> Context {
    let headers = headers.iter().map(|(name, value)| line(name, value)).collect();
    Context::of(JOB, &Request { headers, ..Request::default() })
}

#[test]
fn the_callers_trace_is_gone_on_with() {
    let context = of(&[("traceparent", CAME)]);
    assert_eq!(context.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(context.parent.unwrap().to_string(), "b7ad6b7169203331");
    assert_eq!(context.sampled, Some(true));
    assert_eq!(of(&[("traceparent", &CAME.replace("-01", "-00"))]).sampled, Some(false));
    // Of a later version what is known is read (section 3.2.3 of the recommendation).
    let later = format!("{}-what-comes", CAME.replacen("00", "01", 1));
    assert_eq!(of(&[("traceparent", &later)]).trace, context.trace);

    let amazon =
        "Self=1-x;Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=0";
    let by_amazon = of(&[("x-amzn-trace-id", amazon)]);
    assert_eq!((by_amazon.trace, by_amazon.parent), (context.trace, context.parent));
    assert_eq!(by_amazon.sampled, Some(false));
    let root = of(&[("x-amzn-trace-id", "Root=1-0af76519-16cd43dd8448eb211c80319c")]);
    assert_eq!((root.trace, root.parent, root.sampled), (context.trace, None, None));
    // The standard's own word counts first.
    let both = of(&[("x-amzn-trace-id", amazon), ("traceparent", CAME)]);
    assert_eq!(both, context);
}

#[test]
fn what_cannot_be_read_begins_a_trace_that_has_the_jobs_id() {
    let own = of(&[]);
    assert_eq!(own.trace.to_string(), "0197a3b06d1e7c55b1b26f5a4f0c9e11");
    assert_eq!((own.parent, own.sampled), (None, None));
    let id = "0af7651916cd43dd8448eb211c80319c";
    for bad in [
        String::new(),
        "00".into(),
        format!("00-{id}-b7ad6b7169203331"),
        format!("00-{id}-b7ad6b7169203331-01-"),
        format!("ff-{id}-b7ad6b7169203331-01"),
        format!("00-{}-b7ad6b7169203331-01", id.to_uppercase()),
        format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
        format!("00-{id}-{}-01", "0".repeat(16)),
        format!("00-{id}0-b7ad6b7169203331-01"),
        format!("00-+{}-b7ad6b7169203331-01", &id[1..]),
    ] {
        assert_eq!(of(&[("traceparent", &bad)]), own, "{bad}");
    }
    for bad in
        ["", "Root", "Root=2-0af76519-16cd43dd8448eb211c80319c", "Root=1-0af76519", "Parent=1"]
    {
        assert_eq!(of(&[("x-amzn-trace-id", bad)]), own, "{bad}");
    }
    // Of two nobody can say which holds.
    assert_eq!(of(&[("traceparent", CAME), ("traceparent", CAME)]), own);
}

#[test]
fn no_two_spans_of_a_job_share_an_id() {
    let context = of(&[]);
    let mut ids: Vec<u64> = (1..=1_000)
        .flat_map(|number| [context.attempt_span(JOB, number).0, context.wait_span(JOB, number).0])
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2_000);
    assert!(!ids.contains(&0));
}

#[test]
fn the_ratio_takes_that_part_of_the_traces_and_always_the_same() {
    assert!(
        Ratio::new(1.1).is_none() && Ratio::new(-0.1).is_none() && Ratio::new(f64::NAN).is_none()
    );
    let taken = |ratio: f64| {
        let ratio = Ratio::new(ratio).unwrap();
        // A UUID's random bits are its last.
        let traces = (0..1_000_u128).map(|n| TraceId(JOB.0 ^ (n * 0x9e37_79b9_7f4a_7c15)));
        traces.filter(|trace| ratio.takes(*trace)).count()
    };
    assert_eq!((taken(0.0), taken(1.0)), (0, 1_000));
    assert!((150..250).contains(&taken(0.2)), "{}", taken(0.2));
    // One that is taken by a ratio is taken by every larger one.
    let few = Ratio::new(0.1).unwrap();
    let more = Ratio::new(0.3).unwrap();
    let traces = || (0..1_000_u128).map(|n| TraceId(n * 0x9e37_79b9_7f4a_7c15_1234));
    assert!(traces().all(|trace| !few.takes(trace) || more.takes(trace)));
}

fn text(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

fn spans(context: Context, number: u32, report: &Report) -> [Span; 2] {
    let url = "https://user:hush@erp.example/api/".parse().unwrap();
    let attempt = Attempt {
        context,
        job: JOB,
        number,
        attempt: number,
        target: "erp",
        url: &url,
        method: "POST",
        path: "/orders?key=hush",
        priority: Priority::High,
        aim: &Aim::Work,
        waited_since: Wall::from_millis(1_000),
        began: UNIX_EPOCH + Duration::from_millis(3_500),
        report,
    };
    attempt.spans()
}

fn report(outcome: Outcome, status: Option<u16>) -> Report {
    Report {
        outcome,
        answer: status.map(|status| Answer { status, ..Answer::default() }),
        retry_after: None,
        hint: None,
        reason: Some("because".into()),
        took: Duration::from_millis(250),
        close: Close::Whole,
        follow: Follow::Nothing,
    }
}

#[test]
fn a_request_and_the_wait_before_it_are_children_of_the_callers_span() {
    let context = of(&[("traceparent", CAME)]);
    let [wait, request] = spans(context, 2, &report(Outcome::Unknown, Some(500)));
    let parent = context.parent.unwrap().0.to_be_bytes().to_vec();
    for span in [&wait, &request] {
        assert_eq!(span.trace_id, context.trace.0.to_be_bytes());
        assert_eq!(span.parent_span_id, parent);
    }
    assert_eq!(request.span_id, context.attempt_span(JOB, 2).0.to_be_bytes());
    assert_eq!((wait.name.as_str(), request.name.as_str()), ("wait erp", "POST erp"));
    assert_eq!(wait.start_time_unix_nano, 1_000_000_000);
    assert_eq!(wait.end_time_unix_nano, request.start_time_unix_nano);
    assert_eq!(request.start_time_unix_nano, 3_500_000_000);
    assert_eq!(request.end_time_unix_nano, 3_750_000_000);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "500"),
        ("http.request.resend_count", "1"),
        ("error.type", "500"),
        ("server.address", "erp.example"),
        ("server.port", "443"),
        ("url.full", "https://erp.example/api/orders"),
        ("messaging.destination.name", "erp"),
        ("messaging.message.id", "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11"),
        ("tollgate.priority", "HIGH"),
        ("tollgate.attempt", "2"),
        ("tollgate.outcome", "unknown"),
    ] {
        assert_eq!(text(&request, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(request.status.as_ref().unwrap().message, "because");
    assert!(!format!("{wait:?}{request:?}").contains("hush"));
}

#[test]
fn a_trace_that_begins_here_has_the_first_wait_as_its_root() {
    let context = of(&[]);
    let [wait, request] = spans(context, 1, &report(Outcome::Done, Some(200)));
    assert!(wait.parent_span_id.is_empty());
    assert_eq!(request.parent_span_id, wait.span_id);
    assert_eq!((request.status, text(&wait, "error.type")), (None, None));
    let [again, second] = spans(context, 2, &report(Outcome::Refused, None));
    assert_eq!((&again.parent_span_id, &second.parent_span_id), (&wait.span_id, &wait.span_id));
    assert_eq!(text(&second, "error.type").as_deref(), Some("_OTHER"));
}

#[test]
fn a_clock_that_was_set_back_makes_no_span_that_ends_before_it_begins() {
    let url = "http://erp/".parse().unwrap();
    let report = report(Outcome::Done, Some(200));
    let attempt = Attempt {
        context: of(&[]),
        job: JOB,
        number: 1,
        attempt: 1,
        target: "erp",
        url: &url,
        method: "GET",
        path: "/",
        priority: Priority::Batch,
        aim: &Aim::Verify,
        waited_since: Wall::NEVER,
        began: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        report: &report,
    };
    let [wait, request] = attempt.spans();
    assert_eq!(wait.start_time_unix_nano, wait.end_time_unix_nano);
    assert_eq!(request.name, "verify erp");
}

#[tokio::test]
async fn who_decides_whether_a_trace_is_recorded() {
    let metrics = Metrics::new();
    let endpoint = "http://127.0.0.1:9".parse().unwrap();
    let none = Tracer::start(&endpoint, Ratio::new(0.0).unwrap(), metrics.clone()).unwrap();
    let all = Tracer::start(&endpoint, Ratio::ALL, metrics).unwrap();
    let (own, theirs) = (of(&[]), of(&[("traceparent", CAME)]));
    let not_theirs = of(&[("traceparent", &CAME.replace("-01", "-00"))]);
    assert_eq!(Tracer::default().recording(&theirs), Recording::Off);
    assert_eq!(none.recording(&own), Recording::Unsampled);
    assert_eq!(none.recording(&theirs), Recording::On);
    assert_eq!(all.recording(&own), Recording::On);
    assert_eq!(all.recording(&not_theirs), Recording::Unsampled);
}
