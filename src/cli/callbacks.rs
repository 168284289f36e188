//! `tollgate callbacks …`, and what `tollgate targets` says of callbacks.

use std::fmt::Write;

use jiff::Timestamp;

use super::args::{CallbacksArgs, CallbacksCommand};
use super::error::CliError;
use super::table::{Align, Cell, Table};
use super::terminal::{Paint, Tone, clean};
use super::values::encode;
use super::wire::{Callback, CallbackList, Swept, When, one_line};
use super::{Outside, ages, jobs};
use crate::broker::job::JobId;

pub(super) async fn callbacks(args: &CallbacksArgs, outside: &mut Outside) -> Result<(), CliError> {
    let json = args.format.json;
    let client = outside.client(&args.admin.admin_url.0)?;
    match &args.command {
        CallbacksCommand::List => {
            let answer = client.get("/v1/callbacks").await?;
            if json {
                return outside.terminal.print(&one_line(answer.text()));
            }
            let list: CallbackList = answer.read()?;
            let text = render(&list.callbacks, Timestamp::now(), outside.terminal.paint);
            outside.terminal.print(&text)
        }
        CallbacksCommand::Undelivered(args) => {
            let path = format!("/v1/callbacks/{}/undelivered", encode(&args.name));
            jobs::list(&client, &path, &[], args.paging, json, outside).await
        }
        CallbacksCommand::Redrive(args) => {
            let ids: Vec<JobId> = args.which.iter().filter_map(|word| word.parse().ok()).collect();
            if ids.len() == args.which.len() {
                for id in ids {
                    let answer = client.post(&format!("/v1/jobs/{id}/callback"), None).await?;
                    jobs::changed(&answer, json, outside)?;
                }
                return Ok(());
            }
            let [name] = args.which.as_slice() else {
                return Err(CliError::Usage(
                    "either ids of jobs, or one callback; these are several words that are not \
                     all ids"
                        .into(),
                ));
            };
            let path = format!("/v1/callbacks/{}/redrive", encode(name));
            let answer = client.post(&path, None).await?;
            if json {
                return outside.terminal.print(&one_line(answer.text()));
            }
            let Swept { count } = answer.read()?;
            let results = if count == 1 { "result is" } else { "results are" };
            outside.terminal.print(&format!("{count} {results} told to {} again", clean(name)))
        }
    }
}

fn render(callbacks: &[Callback], now: Timestamp, paint: Paint) -> String {
    if callbacks.is_empty() {
        return "no callbacks: the configuration names none\n".into();
    }
    let mut table = Table::new(&[
        ("CALLBACK", Align::Left),
        ("STATE", Align::Left),
        ("PENDING", Align::Right),
        ("UNDELIVERED", Align::Right),
        ("URL", Align::Left),
    ]);
    for callback in callbacks {
        let undelivered = if callback.undelivered > 0 { Tone::Bad } else { Tone::Plain };
        table.row(vec![
            Cell::new(&callback.name),
            Cell::toned(&callback.state, tone(callback)),
            Cell::new(callback.pending.to_string()),
            Cell::toned(callback.undelivered.to_string(), undelivered),
            Cell::new(callback.url.as_deref().unwrap_or("(not in the configuration)")),
        ]);
    }
    let mut text = table.take(paint);
    for callback in callbacks {
        if let Some((line, tone)) = trouble(callback, now) {
            let _ = writeln!(text, "{}", paint.dress(&line, tone));
        }
    }
    text
}

fn tone(callback: &Callback) -> Tone {
    match callback.state.as_str() {
        "ok" => Tone::Good,
        "retrying" => Tone::Held,
        _ => Tone::Bad,
    }
}

/// Where there is something to say; for `tollgate targets` too.
pub(super) fn trouble(callback: &Callback, now: Timestamp) -> Option<(String, Tone)> {
    let Callback { state, pending, undelivered, .. } = callback;
    let name = clean(&callback.name);
    let mut said = match &callback.trouble {
        _ if state == "off" && *pending > 0 => {
            format!("callback {name}: {pending} pending, and the configuration does not name it")
        }
        Some(known) => {
            let since = match &known.since {
                Some(When::At(at)) => format!(" for {}", ages::age(ages::between(*at, now))),
                Some(When::Text(text)) => format!(" since {}", clean(text)),
                None => String::new(),
            };
            let (state, error) = (clean(state), clean(&known.error));
            format!("callback {name}: {state}{since}, {pending} pending: {error}")
        }
        None if *undelivered > 0 => format!("callback {name}"),
        None => return None,
    };
    let tone = if *undelivered > 0 { Tone::Bad } else { tone(callback) };
    if *undelivered > 0 {
        let _ = write!(
            said,
            "; {undelivered} not told, and not tried any more: `tollgate callbacks redrive {name}`"
        );
    }
    Some((said, tone))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-31T08:10:00Z";

    #[test]
    fn callbacks_and_what_keeps_them() {
        let list: CallbackList = serde_json::from_str(
            r#"{"callbacks":[
            {"name":"audit","state":"off","pending":2,"undelivered":0,"url":null,"trouble":null},
            {"name":"fine","state":"ok","pending":0,"undelivered":0,"url":"https://a/b"},
            {"name":"orders","state":"retrying","pending":7,"undelivered":1,"url":"https://a/c",
             "trouble":{"since":"2026-01-31T08:00:00Z","error":"the receiver answered 503"}}]}"#,
        )
        .unwrap();
        let text = render(&list.callbacks, NOW.parse().unwrap(), Paint::NONE);
        let expected = "\
CALLBACK  STATE     PENDING  UNDELIVERED  URL
audit     off             2            0  (not in the configuration)
fine      ok              0            0  https://a/b
orders    retrying        7            1  https://a/c
callback audit: 2 pending, and the configuration does not name it
callback orders: retrying for 10m00s, 7 pending: the receiver answered 503; 1 not told, and not \
tried any more: `tollgate callbacks redrive orders`
";
        assert_eq!(text, expected);
        assert!(render(&[], NOW.parse().unwrap(), Paint::NONE).contains("names none"));
    }
}
