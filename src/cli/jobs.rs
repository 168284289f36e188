//! `tollgate jobs …`, and what `tollgate dead …` shares with it.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;

use super::args::{JobsArgs, JobsCommand, JobsListArgs, Paging};
use super::client::{Answer, Client};
use super::error::CliError;
use super::table::{Align, Cell, Table};
use super::terminal::{clean, complain, tone_of_state};
use super::values::encode;
use super::wire::{Job, Page, When, one_line};
use super::{Outside, ages, timeline};

/// The daemon gives no more on one page.
const LARGEST_PAGE: u32 = 500;

pub(super) async fn jobs(args: &JobsArgs, outside: &mut Outside) -> Result<(), CliError> {
    let json = args.format.json;
    let admin = || outside.client(&args.admin.admin_url.0);
    match &args.command {
        JobsCommand::List(list_args) => {
            let client = admin()?;
            let filter = filter(list_args);
            list(&client, "/v1/jobs", &filter, list_args.paging, json, outside).await
        }
        JobsCommand::Show(arg) => {
            let client = outside.client(&args.data.url.0)?;
            let answer = client.get(&format!("/v1/jobs/{}", arg.id)).await?;
            show(&answer, json, outside)
        }
        JobsCommand::Cancel(arg) => {
            let answer = admin()?.post(&format!("/v1/jobs/{}/cancel", arg.id), None).await?;
            changed(&answer, json, outside)
        }
        JobsCommand::Redrive(arg) => {
            let answer = admin()?.post(&format!("/v1/jobs/{}/redrive", arg.id), None).await?;
            changed(&answer, json, outside)
        }
        JobsCommand::Priority(arg) => {
            let patch = format!(r#"{{"priority":"{}"}}"#, arg.priority);
            let path = format!("/v1/jobs/{}", arg.id);
            let answer = admin()?.call(Method::PATCH, &path, Some(patch), Duration::ZERO).await?;
            changed(&answer, json, outside)
        }
    }
}

fn filter(args: &JobsListArgs) -> Vec<(&'static str, String)> {
    let mut filter = Vec::new();
    if let Some(target) = &args.target {
        filter.push(("target", target.encoded()));
    }
    if let Some(state) = args.state {
        filter.push(("state", state.to_string()));
    }
    if let Some(priority) = args.priority {
        filter.push(("priority", priority.to_string()));
    }
    filter
}

/// Page by page, each printed as it comes. A page can be short, even empty, and not the last.
pub(super) async fn list(
    client: &Client,
    path: &str,
    filter: &[(&'static str, String)],
    paging: Paging,
    json: bool,
    outside: &mut Outside,
) -> Result<(), CliError> {
    let mut table = job_table();
    let mut left = if paging.all { u64::MAX } else { u64::from(paging.limit) };
    let mut after: Option<String> = None;
    loop {
        let limit = left.min(u64::from(LARGEST_PAGE));
        let page: Page =
            client.get(&page_path(path, filter, limit, after.as_deref())).await?.read()?;
        let mut printed = String::new();
        for job in &page.jobs {
            if json {
                printed.push_str(&one_line(job.get()));
                printed.push('\n');
            } else {
                table.row(job_row(&read_job(job.get())?, Timestamp::now()));
            }
        }
        if !json {
            printed = table.take(outside.terminal.paint);
        }
        outside.terminal.print(&printed)?;
        left = left.saturating_sub(page.jobs.len() as u64);
        match page.next {
            None => return Ok(()),
            Some(_) if left == 0 => {
                if !json {
                    complain("there are more; --limit N or --all shows them");
                }
                return Ok(());
            }
            Some(next) if after.as_ref() == Some(&next) => {
                let next = clean(&next);
                return Err(CliError::Failed(format!("the list goes in circles at {next}")));
            }
            Some(next) => after = Some(next),
        }
    }
}

fn page_path(
    path: &str,
    filter: &[(&'static str, String)],
    limit: u64,
    after: Option<&str>,
) -> String {
    let mut path = format!("{path}?limit={limit}");
    for (name, value) in filter {
        path.push_str(&format!("&{name}={value}"));
    }
    if let Some(after) = after {
        path.push_str(&format!("&after={}", encode(after)));
    }
    path
}

fn read_job(json: &str) -> Result<Job, CliError> {
    serde_json::from_str(json)
        .map_err(|error| CliError::Failed(format!("a job in the list cannot be read: {error}")))
}

fn job_table() -> Table {
    Table::new(&[
        ("ID", Align::Left),
        ("TARGET", Align::Left),
        ("PRIORITY", Align::Left),
        ("STATE", Align::Left),
        ("ATTEMPTS", Align::Right),
        ("AGE", Align::Right),
        ("ERROR", Align::Left),
    ])
}

fn job_row(job: &Job, now: Timestamp) -> Vec<Cell> {
    let age = job.enqueued_at.as_ref().and_then(When::at);
    vec![
        Cell::new(&job.id),
        Cell::new(&job.target),
        Cell::new(&job.priority),
        Cell::toned(&job.state, tone_of_state(&job.state)),
        Cell::new(job.attempts.to_string()),
        Cell::new(age.map(|at| ages::age(ages::between(at, now))).unwrap_or_default()),
        Cell::new(job.error.as_ref().map_or("", |error| &error.code)),
    ]
}

pub(super) fn show(answer: &Answer, json: bool, outside: &mut Outside) -> Result<(), CliError> {
    if json {
        return outside.terminal.print(&one_line(answer.text()));
    }
    let job: Job = answer.read()?;
    let text = timeline::show(&job, Timestamp::now(), outside.terminal.paint);
    outside.terminal.print(&text)
}

pub(super) fn changed(answer: &Answer, json: bool, outside: &mut Outside) -> Result<(), CliError> {
    if json {
        return outside.terminal.print(&one_line(answer.text()));
    }
    let job: Job = answer.read()?;
    outside.terminal.print(&format!(
        "job {} is {} at {}, {}",
        clean(&job.id),
        clean(&job.state),
        clean(&job.target),
        clean(&job.priority)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::Paint;

    #[test]
    fn a_list_has_one_line_a_job() {
        let now = "2026-01-31T08:00:00Z".parse().unwrap();
        let mut table = job_table();
        for json in [
            r#"{"id":"a1","target":"erp","priority":"HIGH","state":"failed","attempts":5,
                "enqueued_at":"2026-01-31T07:56:48Z","error":{"code":"Tollgate.Http.400"}}"#,
            r#"{"id":"a2","target":"crm\u001b[1m","priority":"BATCH","state":"queued"}"#,
        ] {
            table.row(job_row(&read_job(json).unwrap(), now));
        }
        let expected = "\
ID  TARGET        PRIORITY  STATE   ATTEMPTS    AGE  ERROR
a1  erp           HIGH      failed         5  3m12s  Tollgate.Http.400
a2  crm\\u{1b}[1m  BATCH     queued         0      -  -
";
        assert_eq!(table.take(Paint::NONE), expected);
    }

    #[test]
    fn pages_are_asked_for_with_their_filter() {
        let filter = [("target", "a%26b".to_owned()), ("state", "waiting".to_owned())];
        assert_eq!(
            page_path("/v1/jobs", &filter, 7, Some("x&y")),
            "/v1/jobs?limit=7&target=a%26b&state=waiting&after=x%26y"
        );
        assert_eq!(page_path("/v1/jobs", &[], 50, None), "/v1/jobs?limit=50");
    }
}
