//! A job for people: what it is, what happened to it when, and what came of it.

use std::fmt::Write;

use base64::Engine;
use jiff::Timestamp;
use serde_json::Value;

use super::ages;
use super::terminal::{Paint, Tone, clean, clean_lines, tone_of_state};
use super::wire::{Event, Job, JobCallback, JobResult, Plain, Requested, When};

/// Of an answer's body, in characters; `--json` has it all.
const BODY_SHOWN: usize = 4_000;

/// One line for a job that was taken.
pub(super) fn accepted(job: &Job) -> String {
    let again = if job.duplicate { " (it was there already)" } else { "" };
    let place = match job.position {
        Some(position) => format!(", position {position}"),
        None => String::new(),
    };
    format!("job {} is {}{place}{again}", clean(&job.id), clean(&job.state))
}

pub(super) fn show(job: &Job, now: Timestamp, paint: Paint) -> String {
    let state = paint.dress(&clean(&job.state), tone_of_state(&job.state));
    let mut text = format!("{} {state}\n", paint.dress(&clean(&job.id), Tone::Heading));
    let dated = |when: &Option<When>| when.as_ref().map(|when| when.dated(now));
    let finished = job.finished_at.as_ref().map(|finished| {
        let took = job.enqueued_at.as_ref().and_then(When::at).zip(finished.at());
        let took =
            took.map(|(from, to)| format!(", after {}", ages::short(ages::between(from, to))));
        format!("{}{}", finished.dated(now), took.unwrap_or_default())
    });
    let facts = [
        ("target", Some(job.target.clone())),
        ("priority", Some(job.priority.clone())),
        ("request", job.request_line()),
        ("attempts", Some(job.attempts.to_string())),
        ("questions", job.questions.map(|questions| questions.to_string())),
        ("delivery", job.delivery.clone()),
        ("enqueued", dated(&job.enqueued_at)),
        ("not before", dated(&job.not_before)),
        ("next attempt", dated(&job.next_attempt_at)),
        ("asked next", dated(&job.next_question_at)),
        ("deadline", dated(&job.deadline)),
        ("position", job.position.map(|position| position.to_string())),
        ("starts about", dated(&job.estimated_start)),
        ("finished", finished),
        ("callback", job.callback.as_ref().map(callback)),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact.filter(|fact| !fact.is_empty()) {
            let _ = writeln!(text, "  {name:<12}  {}", clean(&fact));
        }
    }
    history(&mut text, &job.history, now, paint);
    if let Some(error) = &job.error {
        let code = paint.dress(&clean(&error.code), Tone::Bad);
        let _ = writeln!(text, "{} {code}", paint.dress("error", Tone::Heading));
        indented(&mut text, &error.message);
    }
    // The last one follows with more of its body.
    for earlier in job.answers.iter().rev().skip(1).rev() {
        let about = match earlier.question {
            Some(question) => format!("to question {question} about attempt {}", earlier.attempt),
            None => format!("to attempt {}", earlier.attempt),
        };
        answer(&mut text, &about, &earlier.answer, paint);
    }
    if let Some(result) = &job.result {
        answer(&mut text, "", result, paint);
    }
    if let Some(original) = job.original_request.as_ref().and_then(Requested::line) {
        let _ = writeln!(text, "{} {}", paint.dress("original", Tone::Heading), clean(&original));
    }
    text
}

fn callback(callback: &JobCallback) -> String {
    let reason = callback.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    format!("{}, {}{reason}", callback.name, callback.state)
}

/// One line each, with the time since the first.
fn history(text: &mut String, events: &[Event], now: Timestamp, paint: Paint) {
    if events.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}", paint.dress("history", Tone::Heading));
    let first = events.iter().find_map(|event| event.at.as_ref()?.at());
    for event in events {
        let at = event.at.as_ref();
        let since = match (first, at.and_then(When::at)) {
            (Some(first), Some(at)) => format!("+{}", ages::short(ages::between(first, at))),
            _ => at.map_or_else(|| "?".into(), |at| clean(&at.dated(now))),
        };
        let name = clean(&event.event);
        let pad = " ".repeat(16_usize.saturating_sub(name.chars().count()));
        let name = paint.dress(&name, tone_of_event(&event.event));
        let line = format!("  {since:>9}  {name}{pad}  {}", details(event));
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn tone_of_event(event: &str) -> Tone {
    match event {
        "done" | "callback_delivered" => Tone::Good,
        "rejected" | "unknown" | "failed" | "expired" | "callback_undelivered" => Tone::Bad,
        "refused" | "waiting" | "verifying" | "cancelled" => Tone::Held,
        _ => Tone::Plain,
    }
}

/// `attempt 1, status 503, until 2026-…`; whatever the daemon tells, in words of its own.
fn details(event: &Event) -> String {
    // What belongs to most events comes first; the rest follows by name.
    let first = ["attempt", "question", "says", "status", "code", "from", "to"];
    let known = first.iter().filter_map(|name| event.rest.get_key_value(*name));
    let others = event.rest.iter().filter(|(name, _)| !first.contains(&name.as_str()));
    let told: Vec<String> = known
        .chain(others)
        .filter(|(_, value)| !value.is_null() && value.as_str() != Some(""))
        .filter(|(name, value)| !(*name == "passed_over" && value.as_u64() == Some(0)))
        .map(|(name, value)| {
            let name = name.replace('_', " ");
            format!("{} {}", clean(&name), clean(&Plain(value).to_string()))
        })
        .collect();
    told.join(", ")
}

fn answer(text: &mut String, about: &str, result: &JobResult, paint: Paint) {
    let heading = paint.dress("answer", Tone::Heading);
    let status = format!("{} {}", result.status_code, clean(&result.status_text));
    let line = format!("{heading} {} {about}", status.trim_end());
    let _ = writeln!(text, "{}", line.trim_end());
    for (name, value) in &result.headers {
        let values = match value {
            Value::Array(values) => values.clone(),
            one => vec![one.clone()],
        };
        for value in &values {
            let _ = writeln!(text, "  {}: {}", clean(name), clean(&Plain(value).to_string()));
        }
    }
    let Some(body) = &result.response_body else { return };
    let _ = writeln!(text);
    match serde_json::from_str(body.get()) {
        Ok(Value::String(encoded)) if result.response_body_base64 => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(&encoded);
            let length = bytes.map_or(encoded.len() / 4 * 3, |bytes| bytes.len());
            let _ = writeln!(text, "  ({length} bytes that are not text; --json has them)");
        }
        Ok(Value::String(body)) => indented(text, &body),
        // As it came, so that long numbers and the order of keys stay as they are.
        _ => indented(text, body.get()),
    }
    if result.response_body_truncated {
        let _ = writeln!(text, "  (the daemon kept no more of it)");
    }
}

fn indented(text: &mut String, body: &str) {
    let shown: String = body.chars().take(BODY_SHOWN).collect();
    for line in clean_lines(&shown).lines() {
        let _ = writeln!(text, "  {line}");
    }
    if shown.len() < body.len() {
        let _ = writeln!(text, "  … (--json has all of it)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-31T08:10:00Z";

    fn shown(json: &str) -> String {
        let job: Job = serde_json::from_str(json).unwrap();
        show(&job, NOW.parse().unwrap(), Paint::NONE)
    }

    #[test]
    fn a_job_that_had_a_hard_time() {
        let text = shown(
            r#"{"id":"0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11","target":"erp","priority":"HIGH",
            "state":"succeeded","attempts":2,"enqueued_at":"2026-01-31T08:00:00.000Z",
            "finished_at":"2026-01-31T08:00:31.250Z",
            "result":{"StatusCode":200,"StatusText":"OK","Headers":{"x-a":["1"]},
                      "ResponseBody":{"b":1e2,"a":2}},
            "history":[{"at":"2026-01-31T08:00:00.000Z","event":"enqueued"},
            {"at":"2026-01-31T08:00:00.120Z","event":"sent","attempt":1,"passed_over":0},
            {"at":"2026-01-31T08:00:01.000Z","event":"refused","attempt":1,"status":503,
             "reason":null,"until":"2026-01-31T08:00:31Z"},
            {"at":"2026-01-31T08:00:31.000Z","event":"sent","attempt":2,"passed_over":3},
            {"at":"2026-01-31T08:00:31.250Z","event":"done","attempt":2,"status":200}]}"#,
        );
        let expected = "\
0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11 succeeded
  target        erp
  priority      HIGH
  attempts      2
  enqueued      2026-01-31T08:00:00Z (10m00s ago)
  finished      2026-01-31T08:00:31Z (9m28s ago), after 31s
history
        +0s  enqueued
     +120ms  sent              attempt 1
        +1s  refused           attempt 1, status 503, until 2026-01-31T08:00:31Z
       +31s  sent              attempt 2, passed over 3
       +31s  done              attempt 2, status 200
answer 200 OK
  x-a: 1

  {\"b\":1e2,\"a\":2}
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_dead_job_says_why() {
        let text = shown(
            r#"{"id":"x","state":"failed","request":{"method":"PUT","path":"/a"},
            "error":{"code":"Tollgate.Http.400","message":"no\u001b[31m\nsuch order"},
            "result":{"StatusCode":400,"ResponseBody":"/w==","ResponseBodyBase64":true,
                      "ResponseBodyTruncated":true}}"#,
        );
        let expected = "\
x failed
  request       PUT /a
  attempts      0
error Tollgate.Http.400
  no\\u{1b}[31m
  such order
answer 400

  (1 bytes that are not text; --json has them)
  (the daemon kept no more of it)
";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_answer_in_text_is_shown_as_text_and_not_for_ever() {
        let long = "x".repeat(BODY_SHOWN + 1);
        let text = shown(&format!(
            r#"{{"id":"x","state":"succeeded",
            "result":{{"StatusCode":200,"ResponseBody":"a\nb{long}"}}}}"#
        ));
        assert!(text.contains("\n  a\n  bxx"), "{text}");
        assert!(text.ends_with("x\n  … (--json has all of it)\n"), "{text}");
    }

    #[test]
    fn a_daemon_that_tells_more_or_less_is_understood() {
        let text = shown(
            r#"{"id":"x","state":"verifying","new":[1],"deadline":"soon",
            "history":[{"event":"asked","by":{"a":1}},{"at":"?","event":"\u001b"}]}"#,
        );
        assert!(text.contains("deadline      soon"), "{text}");
        assert!(text.contains("asked             by {\"a\":1}\n"), "{text}");
        assert!(text.contains("\\u{1b}"), "{text}");
    }

    #[test]
    fn acceptance_in_one_line() {
        let said = |json: &str| accepted(&serde_json::from_str(json).unwrap());
        assert_eq!(
            said(r#"{"id":"a","state":"queued","position":3}"#),
            "job a is queued, position 3"
        );
        let again = said(r#"{"id":"a","state":"running","duplicate":true}"#);
        assert_eq!(again, "job a is running (it was there already)");
    }
}
