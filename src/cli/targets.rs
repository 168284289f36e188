//! `tollgate targets`.

use std::fmt::Write;

use jiff::Timestamp;

use super::args::TargetsArgs;
use super::error::CliError;
use super::table::{Align, Cell, Table};
use super::terminal::{Paint, Tone, clean};
use super::wire::{Queue, StepFunctions, Target, Targets, When, one_line};
use super::{Outside, ages, callbacks};

pub(super) async fn targets(args: &TargetsArgs, outside: &mut Outside) -> Result<(), CliError> {
    let client = outside.client(&args.at.admin_url.0)?;
    let path = match &args.name {
        Some(name) => format!("/v1/targets/{}", name.encoded()),
        None => "/v1/targets".into(),
    };
    let answer = client.get(&path).await?;
    if args.format.json {
        return outside.terminal.print(&one_line(answer.text()));
    }
    let shown = match &args.name {
        Some(_) => Targets {
            targets: vec![answer.read::<Target>()?],
            step_functions: None,
            callbacks: Vec::new(),
        },
        None => answer.read::<Targets>()?,
    };
    let (now, paint) = (Timestamp::now(), outside.terminal.paint);
    let mut text = render(&shown.targets, now, paint);
    if let Some((line, tone)) = shown.step_functions.and_then(|known| workflows(&known, now)) {
        let _ = writeln!(text, "{}", paint.dress(&line, tone));
    }
    for (line, tone) in shown.callbacks.iter().filter_map(|one| callbacks::trouble(one, now)) {
        let _ = writeln!(text, "{}", paint.dress(&line, tone));
    }
    outside.terminal.print(&text)
}

fn render(targets: &[Target], now: Timestamp, paint: Paint) -> String {
    if targets.is_empty() {
        return "no targets: the configuration names none\n".into();
    }
    let mut table = Table::new(&[
        ("TARGET", Align::Left),
        ("STATE", Align::Left),
        ("RATE", Align::Right),
        ("IN FLIGHT", Align::Right),
        ("HIGH", Align::Right),
        ("NORMAL", Align::Right),
        ("BATCH", Align::Right),
        ("WAITING", Align::Right),
        ("SCHEDULED", Align::Right),
        ("DEAD", Align::Right),
        ("DRAINED IN", Align::Right),
    ]);
    for target in targets {
        let (state, tone) = state(target, now);
        let dead_tone = if target.dead > 0 { Tone::Bad } else { Tone::Plain };
        table.row(vec![
            Cell::new(&target.name),
            Cell::toned(state, tone),
            Cell::new(target.limit.as_ref().map_or("", |limit| &limit.rate)),
            Cell::new(in_flight(target)),
            Cell::new(queue(target, "HIGH")),
            Cell::new(queue(target, "NORMAL")),
            Cell::new(queue(target, "BATCH")),
            Cell::new(target.waiting.to_string()),
            Cell::new(target.scheduled.to_string()),
            Cell::toned(target.dead.to_string(), dead_tone),
            Cell::new(drained_in(target)),
        ]);
    }
    let mut text = table.take(paint);
    for target in targets {
        // That the rate holds it back is what the rate is for.
        if let Some(held) = target.held_back_by.as_ref().filter(|held| held.on != "rate") {
            let hint = if held.hint.is_empty() { &held.on } else { &held.hint };
            let share = (held.share * 100.0).clamp(0.0, 100.0);
            let line = format!(
                "{}: held back {share:.0} % of the time lately by {}",
                clean(&target.name),
                clean(hint)
            );
            let _ = writeln!(text, "{}", paint.dress(&line, Tone::Held));
        }
    }
    for target in targets.iter().filter(|target| target.held_groups > 0) {
        let (name, count) = (clean(&target.name), target.held_groups);
        let groups = if count == 1 { "group is" } else { "groups are" };
        let line = format!(
            "{name}: {count} {groups} held by a dead job until that is redriven or purged; \
             `tollgate dead list {name}` has them"
        );
        let _ = writeln!(text, "{}", paint.dress(&line, Tone::Bad));
    }
    text
}

/// How it stands with Step Functions, where there is something to say.
pub(super) fn workflows(known: &StepFunctions, now: Timestamp) -> Option<(String, Tone)> {
    let pending = match known.pending_answers {
        0 => "no answer is pending".to_owned(),
        1 => "1 answer is pending".to_owned(),
        many => format!("{many} answers are pending"),
    };
    let Some(trouble) = &known.trouble else {
        return match known.state.as_str() {
            "ok" if known.pending_answers == 0 => None,
            "ok" => Some((format!("Step Functions: {pending}"), Tone::Plain)),
            "off" => {
                let why = "the configuration has no [step_functions]";
                Some((format!("Step Functions: off, and {pending}: {why}"), Tone::Bad))
            }
            other => Some((format!("Step Functions: {}, {pending}", clean(other)), Tone::Held)),
        };
    };
    let with = match trouble.with.as_str() {
        "" | "answers" => String::new(),
        "some_answers" => " (some answers)".into(),
        other => format!(" ({})", clean(other)),
    };
    let since = match &trouble.since {
        Some(When::At(at)) => format!(" for {}", ages::age(ages::between(*at, now))),
        Some(When::Text(text)) => format!(" since {}", clean(text)),
        None => String::new(),
    };
    let tone = if known.state == "retrying" { Tone::Held } else { Tone::Bad };
    let (state, error) = (clean(&known.state), clean(&trouble.error));
    Some((format!("Step Functions: {state}{with}{since}, {pending}: {error}"), tone))
}

pub(super) fn state(target: &Target, now: Timestamp) -> (String, Tone) {
    if !target.configured {
        return ("not configured".into(), Tone::Bad);
    }
    if target.paused {
        return ("paused".into(), Tone::Held);
    }
    match &target.blocked {
        None => ("open".into(), Tone::Good),
        Some(blocked) => {
            let until = blocked.until.as_ref().map(|until| match until.at() {
                Some(at) if at > now => format!(" for {}", ages::short(ages::between(now, at))),
                Some(_) => String::new(),
                None => format!(" until {}", until.dated(now)),
            });
            // Rate and concurrency are the daily business of a gate.
            let tone = match blocked.on.as_str() {
                "rate" | "concurrency" => Tone::Plain,
                _ => Tone::Held,
            };
            let window = blocked.window.as_ref().map(|window| format!(" {window}"));
            let limit = blocked.limit.as_ref().map(|limit| format!(" of {limit}"));
            let state = format!(
                "blocked: {}{}{}{}",
                blocked.on,
                window.unwrap_or_default(),
                limit.unwrap_or_default(),
                until.unwrap_or_default()
            );
            (state, tone)
        }
    }
}

pub(super) fn in_flight(target: &Target) -> String {
    match target.limit.as_ref().and_then(|limit| limit.max_concurrent) {
        Some(most) => format!("{}/{most}", target.in_flight),
        None => target.in_flight.to_string(),
    }
}

/// How many could be sent now, and how old the oldest is.
fn queue(target: &Target, priority: &str) -> String {
    match target.priorities.get(priority) {
        None => String::new(),
        Some(Queue { depth, oldest_age_seconds, .. }) => {
            match oldest_age_seconds.and_then(ages::seconds) {
                Some(age) if *depth > 0 => format!("{depth} ({})", ages::age(age)),
                _ => depth.to_string(),
            }
        }
    }
}

/// The lowest priority is drained last.
pub(super) fn drained_in(target: &Target) -> String {
    let seconds = target
        .priorities
        .values()
        .map(|queue| queue.estimated_drain_seconds)
        .try_fold(0.0, |longest: f64, queue| queue.map(|queue| longest.max(queue)));
    match seconds.and_then(ages::seconds) {
        Some(time) if !target.priorities.is_empty() => ages::short(time),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-31T08:00:00Z";

    fn rendered(json: &str) -> String {
        let Targets { targets, .. } = serde_json::from_str(json).unwrap();
        render(&targets, NOW.parse().unwrap(), Paint::NONE)
    }

    #[test]
    fn one_line_a_target() {
        let text = rendered(
            r#"{"targets":[
            {"name":"crm","configured":true,"url":"http://x","paused":false,"blocked":
              {"on":"concurrency","until":null},"in_flight":8,"scheduled":2,"waiting":1,"dead":4,
             "priorities":{
               "HIGH":{"depth":0,"oldest_age_seconds":null,"estimated_drain_seconds":0.0},
               "NORMAL":{"depth":12,"oldest_age_seconds":192.4,"estimated_drain_seconds":1.2},
               "BATCH":{"depth":50000,"oldest_age_seconds":7500,"estimated_drain_seconds":1001}},
             "held_back_by":{"on":"concurrency","share":0.617,"over_seconds":60,
               "hint":"concurrency, not rate: 8 under way at a time"},
             "limit":{"rate":"50/s","rate_per_second":50,"burst":1,"max_concurrent":8}},
            {"name":"erp","configured":true,"paused":true,"blocked":{"on":"paused"},
             "priorities":{"HIGH":{"depth":1,"oldest_age_seconds":5.9,
                                   "estimated_drain_seconds":null}},
             "limit":{"rate":"10/s","max_concurrent":1}},
            {"name":"fax","blocked":{"on":"window","window":"100/min","limit":"big",
                                     "until":"2026-01-31T08:00:30Z"},
             "held_back_by":{"on":"rate","share":1.0,"hint":"its rate of 1/s"}},
            {"name":"old","configured":false,"dead":1,"held_groups":1}]}"#,
        );
        let expected = "\
TARGET  STATE                                   RATE  IN FLIGHT    HIGH      NORMAL          BATCH  WAITING  SCHEDULED  DEAD  DRAINED IN
crm     blocked: concurrency                    50/s        8/8       0  12 (3m12s)  50000 (2h05m)        1          2     4      16m41s
erp     paused                                  10/s        0/1  1 (5s)           -              -        0          0     0           -
fax     blocked: window 100/min of big for 30s     -          0       -           -              -        0          0     0           -
old     not configured                             -          0       -           -              -        0          0     1           -
crm: held back 62 % of the time lately by concurrency, not rate: 8 under way at a time
old: 1 group is held by a dead job until that is redriven or purged; `tollgate dead list old` has them
";
        assert_eq!(text, expected);
    }

    #[test]
    fn step_functions_get_a_line_when_something_is_wrong_or_pending() {
        for (json, line) in [
            (r#"{"state":"ok","pending_answers":0,"waiting_tasks":9,"trouble":null}"#, None),
            (
                r#"{"state":"ok","pending_answers":1,"trouble":null}"#,
                Some("Step Functions: 1 answer is pending"),
            ),
            (
                r#"{"state":"off","pending_answers":3}"#,
                Some(
                    "Step Functions: off, and 3 answers are pending: the configuration has no \
                     [step_functions]",
                ),
            ),
            (
                r#"{"state":"held","pending_answers":12,"trouble":{"with":"some_answers",
                    "since":"2026-01-31T07:47:55Z","error":"KmsAccessDeniedException"}}"#,
                Some(
                    "Step Functions: held (some answers) for 12m05s, 12 answers are pending: \
                     KmsAccessDeniedException",
                ),
            ),
            (
                r#"{"state":"retrying","trouble":{"with":"answers","since":"2026-01-31T09:00:00Z",
                    "error":"Rate\u001b[31m exceeded"}}"#,
                Some("Step Functions: retrying for 0s, no answer is pending: Rate"),
            ),
        ] {
            let known: StepFunctions = serde_json::from_str(json).unwrap();
            let told = workflows(&known, NOW.parse().unwrap()).map(|(line, _)| line);
            match (&told, line) {
                (None, None) => {}
                (Some(told), Some(line)) => assert!(told.starts_with(line), "{told}"),
                other => panic!("{other:?}"),
            }
            assert!(!told.unwrap_or_default().contains('\u{1b}'));
        }
    }

    #[test]
    fn none_and_odd_ones() {
        assert!(rendered(r#"{"targets":[]}"#).starts_with("no targets"));
        let text = rendered(
            r#"{"targets":[{"name":"a\u001b]0;x\u0007","blocked":{"on":"?","until":"late"},
            "priorities":{"HIGH":{"depth":1,"oldest_age_seconds":-3}}}]}"#,
        );
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text}");
        assert!(text.contains("blocked: ? until late"), "{text}");
    }
}
