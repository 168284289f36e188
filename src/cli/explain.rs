//! `tollgate check --explain TARGET`: what an answer would mean, and what would follow from it.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::args::{ExplainArgs, Question};
use super::error::CliError;
use super::submit::read_data;
use super::terminal::Terminal;
use super::values::written;
use crate::broker::course::{Aim, Delivery};
use crate::broker::payload::{Follow, Outcome};
use crate::config::{Config, Target};
use crate::dispatch::explain::{Imagined, Meaning, explain as means};

/// What follows for the job.
struct Follows {
    /// Its next state.
    state: &'static str,
    /// Where it is dead.
    code: Option<String>,
    text: String,
}

pub(super) fn explain(
    config: &Config,
    args: &ExplainArgs,
    json: bool,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let Some(name) = &args.explain else { return Ok(()) };
    let Some(target) = config.targets.get(name.as_str()) else {
        let known: Vec<&str> = config.targets.keys().map(String::as_str).collect();
        let known = known.join(", ");
        return Err(CliError::Failed(format!("there is no target {name}; there are {known}")));
    };
    let status = args.status.ok_or_else(|| {
        CliError::Usage("--explain needs the answer's --status, as in --status 200".into())
    })?;
    let status = StatusCode::from_u16(status)
        .map_err(|_| CliError::Usage(format!("{status} is no status")))?;
    let mut headers = HeaderMap::new();
    for header in &args.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value.as_bytes());
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(CliError::Usage(format!("{:?} is no header", header.name)));
        };
        headers.append(name, value);
    }
    let body = args.body.as_deref().map(read_data).transpose()?.unwrap_or_default();
    let aim = match args.question {
        None => Aim::Work,
        Some(Question::Verify) => Aim::Verify,
        Some(Question::Poll) => Aim::Poll { path: String::new() },
    };
    let answer = Imagined { status, headers: &headers, body: &body, path: &args.path };
    let Some(meaning) = means(target, &aim, &answer) else {
        let table = if aim == Aim::Verify { "verify" } else { "completion" };
        return Err(CliError::Failed(format!(
            "{name} has no [targets.{name}.{table}], so it is never asked this"
        )));
    };
    let delivery = args.delivery.unwrap_or(target.policy.outcomes.delivery);
    let follows = match aim {
        Aim::Work => after_work(target, delivery, status, &meaning),
        Aim::Verify => after_verify(target, &meaning),
        Aim::Poll { .. } => after_poll(target, delivery, status, &meaning),
    };
    if json {
        let report = json!({
            "target": name.as_str(),
            "status": status.as_u16(),
            "outcome": word(&meaning),
            "rule": meaning.rule,
            "reason": meaning.reason,
            "state": follows.state,
            "code": follows.code,
            "follows": follows.text,
        });
        return terminal.print(&report.to_string());
    }
    let because = match (meaning.rule, &meaning.reason) {
        (_, Some(reason)) => reason.clone(),
        (Some(rule), None) => format!("by rule {rule} of response.rules"),
        (None, None) if aim == Aim::Work => "by what every answer means".to_owned(),
        (None, None) => "by the rules of this question".to_owned(),
    };
    terminal.print(&format!(
        "{status} from {name} is {}: {because}\n{}",
        word(&meaning),
        follows.text
    ))
}

fn word(meaning: &Meaning) -> &'static str {
    match (&meaning.follow, meaning.outcome) {
        (Follow::Accepted { .. } | Follow::Astray { .. }, _) => "accepted",
        (Follow::NotDone, _) => "not_done",
        (Follow::Pending, _) => "pending",
        (Follow::Nothing, outcome) => outcome.as_str(),
    }
}

fn succeeds() -> Follows {
    let text = "The job succeeds, with this answer as its result.".to_owned();
    Follows { state: "succeeded", code: None, text }
}

fn dead(code: String, why: &str) -> Follows {
    let text = format!("The job is dead at once, with {code}: {why}.");
    Follows { state: "failed", code: Some(code), text }
}

fn refused(then: &'static str, state: &'static str) -> Follows {
    let text = format!(
        "The target did nothing. It is left alone as a whole, for as long as its Retry-After says or \
         its backoff takes, and then {then}. No attempt is spent."
    );
    Follows { state, code: None, text }
}

fn after_work(
    target: &Target,
    delivery: Delivery,
    status: StatusCode,
    meaning: &Meaning,
) -> Follows {
    let completion = target.policy.outcomes.completion;
    match (meaning.outcome, &meaning.follow) {
        (_, Follow::Accepted { path }) => Follows {
            state: "verifying",
            code: None,
            text: format!(
                "The target works on. It is asked at {path} every {}, for {} at most.",
                written(completion.every),
                written(completion.timeout)
            ),
        },
        (_, Follow::Astray { .. }) if delivery == Delivery::Verify => unknown(target, delivery),
        (_, Follow::Astray { reason }) => dead("Tollgate.OutcomeUnknown".into(), reason),
        (Outcome::Done, _) => succeeds(),
        (Outcome::Refused, _) => refused("the job is tried again", "waiting"),
        (Outcome::Rejected, _) => {
            dead(format!("Tollgate.Http.{}", status.as_u16()), "no retry would change the answer")
        }
        (Outcome::Unknown, _) => unknown(target, delivery),
    }
}

/// Nobody knows whether the work was done.
fn unknown(target: &Target, delivery: Delivery) -> Follows {
    let retry = &target.policy.retry;
    let within = written(retry.max_retry_duration);
    match delivery {
        Delivery::AtLeastOnce => Follows {
            state: "waiting",
            code: None,
            text: format!(
                "The work may have been done. The job is sent again with the same Idempotency-Key, \
                 {} times in all within {within} at most; then it is dead, with \
                 Tollgate.RetriesExhausted (delivery is at-least-once).",
                retry.max_attempts
            ),
        },
        Delivery::AtMostOnce => dead(
            "Tollgate.OutcomeUnknown".into(),
            "the work may have been done, and delivery is at-most-once",
        ),
        Delivery::Verify => Follows {
            state: "verifying",
            code: None,
            text: format!(
                "The work may have been done. The target is asked until it says done or not_done, \
                 within {within} of the first attempt; then the job is dead, with \
                 Tollgate.OutcomeUnknown (delivery is verify)."
            ),
        },
    }
}

fn after_verify(target: &Target, meaning: &Meaning) -> Follows {
    let retry = &target.policy.retry;
    match (meaning.outcome, &meaning.follow) {
        (_, Follow::NotDone) => Follows {
            state: "waiting",
            code: None,
            text: format!(
                "The work was not done. The job is sent again, unless its {} attempts are spent: then \
                 it is dead, with Tollgate.RetriesExhausted.",
                retry.max_attempts
            ),
        },
        (Outcome::Done, _) => succeeds(),
        (Outcome::Refused, _) => refused("it is asked again", "verifying"),
        (Outcome::Rejected | Outcome::Unknown, _) => Follows {
            state: "verifying",
            code: None,
            text: format!(
                "This says nothing of the work. The target is asked again, within {} of the first \
                 attempt; then the job is dead, with Tollgate.OutcomeUnknown.",
                written(retry.max_retry_duration)
            ),
        },
    }
}

fn after_poll(
    target: &Target,
    delivery: Delivery,
    status: StatusCode,
    meaning: &Meaning,
) -> Follows {
    let completion = target.policy.outcomes.completion;
    match (meaning.outcome, &meaning.follow) {
        (Outcome::Done, Follow::Nothing) => succeeds(),
        (Outcome::Rejected, _) => {
            dead(format!("Tollgate.Http.{}", status.as_u16()), "the target says that it failed")
        }
        (Outcome::Refused, _) => refused("it is asked again", "verifying"),
        (outcome, _) => {
            let goes_on = if outcome == Outcome::Unknown {
                "This says nothing of the work."
            } else {
                "The work goes on."
            };
            Follows {
                state: "verifying",
                code: None,
                text: format!(
                    "{goes_on} The target is asked again every {}, for {} in all; then the outcome \
                     is unknown, and delivery ({delivery}) decides.",
                    written(completion.every),
                    written(completion.timeout)
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests;
