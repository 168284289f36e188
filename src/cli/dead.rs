//! `tollgate dead …`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;

use super::args::{DeadArgs, DeadCommand, DeadFilterArgs, EditArgs, PurgeArgs, RedriveArgs};
use super::client::{Answer, Client};
use super::error::CliError;
use super::submit::{headers, read_data};
use super::terminal::complain;
use super::values::{TargetName, encode, target_name, written};
use super::wire::{Swept, Target, one_line};
use super::{Outside, jobs};
use crate::broker::job::JobId;

pub(super) async fn dead(args: &DeadArgs, outside: &mut Outside) -> Result<(), CliError> {
    let json = args.format.json;
    let client = outside.client(&args.admin.admin_url.0)?;
    match &args.command {
        DeadCommand::List(list) => {
            let path = dead_path(&list.target);
            jobs::list(&client, &path, &[], list.paging, json, outside).await
        }
        DeadCommand::Show(arg) => {
            let answer = client.get(&format!("/v1/jobs/{}?request=true", arg.id)).await?;
            jobs::show(&answer, json, outside)
        }
        DeadCommand::Redrive(redrive_args) => redrive(&client, redrive_args, json, outside).await,
        DeadCommand::Purge(purge_args) => purge(&client, purge_args, json, outside).await,
    }
}

/// What the words after `redrive` and `purge` name.
#[derive(Debug, PartialEq, Eq)]
enum Which {
    Target(TargetName),
    Jobs(Vec<JobId>),
}

impl Which {
    fn read(words: &[String]) -> Result<Which, CliError> {
        let ids: Vec<JobId> = words.iter().filter_map(|word| word.parse().ok()).collect();
        match words {
            _ if ids.len() == words.len() => Ok(Which::Jobs(ids)),
            [one] => target_name(one)
                .map(Which::Target)
                .map_err(|error| CliError::Usage(format!("{one:?}: {error}"))),
            _ => Err(CliError::Usage(
                "either ids of jobs, or one target; these are several words that are not all ids"
                    .into(),
            )),
        }
    }
}

async fn redrive(
    client: &Client,
    args: &RedriveArgs,
    json: bool,
    outside: &mut Outside,
) -> Result<(), CliError> {
    match Which::read(&args.which)? {
        Which::Target(target) if !args.all => Err(CliError::Usage(format!(
            "this would send every dead job of {target} again: add --all if that is meant, or \
             name the ids of jobs"
        ))),
        Which::Jobs(_) if args.all => {
            Err(CliError::Usage("--all goes with a target, not with ids".into()))
        }
        Which::Target(target) => {
            let mut params = params(&args.filter);
            params.extend(args.rate.as_ref().map(|rate| ("rate", rate.clone())));
            let path = with(&format!("{}/redrive", dead_path(&target)), &params);
            let answer = client.post(&path, None).await?;
            let done = if args.rate.is_some() { "scheduled" } else { "queued again" };
            swept(&answer, &target, done, json, outside)
        }
        Which::Jobs(ids) => {
            only_for_targets(&args.filter)?;
            let edit = edit(&args.edit)?;
            if edit.is_some() && ids.len() > 1 {
                return Err(CliError::Usage(
                    "an edit is for one job, and these are several".into(),
                ));
            }
            let mut tally = Tally::default();
            for id in ids {
                let path = format!("/v1/jobs/{id}/redrive");
                match client.post(&path, edit.clone()).await {
                    Ok(answer) => jobs::changed(&answer, json, outside)?,
                    Err(error) => tally.missed(id, error)?,
                }
            }
            tally.end()
        }
    }
}

async fn purge(
    client: &Client,
    args: &PurgeArgs,
    json: bool,
    outside: &mut Outside,
) -> Result<(), CliError> {
    let which = Which::read(&args.which)?;
    let filter = params(&args.filter);
    if matches!(which, Which::Jobs(_)) {
        only_for_targets(&args.filter)?;
    }
    if !args.yes {
        let what = match &which {
            Which::Target(target) if !filter.is_empty() => {
                let named: Vec<String> =
                    filter.iter().map(|(name, value)| format!("{name} {value}")).collect();
                let named = named.join(", ").replace('_', "-");
                format!("the dead jobs of {target} that are {named}")
            }
            Which::Target(target) => {
                let path = format!("/v1/targets/{}", target.encoded());
                let now: Target = client.get(&path).await?.read()?;
                format!("{} of {target}", dead_jobs(now.dead))
            }
            Which::Jobs(ids) => dead_jobs(ids.len() as u64),
        };
        if !outside.terminal.can_ask() {
            return Err(CliError::Usage(format!(
                "this would forget {what} for ever, and there is no terminal to ask at: add --yes"
            )));
        }
        if !outside.terminal.confirm(&format!("Forget {what} for ever?"))? {
            return Err(CliError::Failed("nothing was purged".into()));
        }
    }
    match which {
        Which::Target(target) => {
            let path = with(&dead_path(&target), &filter);
            let answer = client.call(Method::DELETE, &path, None, Duration::ZERO).await?;
            swept(&answer, &target, "forgotten", json, outside)
        }
        Which::Jobs(ids) => {
            let mut tally = Tally::default();
            for id in ids {
                let path = format!("/v1/jobs/{id}");
                match client.call(Method::DELETE, &path, None, Duration::ZERO).await {
                    Ok(answer) if json => outside.terminal.print(&one_line(answer.text()))?,
                    Ok(_) => outside.terminal.print(&format!("job {id} is forgotten"))?,
                    Err(error) => tally.missed(id, error)?,
                }
            }
            tally.end()
        }
    }
}

/// What went wrong with some of several jobs, while the others were done.
#[derive(Default)]
struct Tally {
    missed: usize,
}

impl Tally {
    /// One that the daemon refused is told and passed over; all else ends the command.
    fn missed(&mut self, id: JobId, error: CliError) -> Result<(), CliError> {
        if !matches!(error, CliError::Problem(_)) {
            return Err(error);
        }
        complain(&format!("job {id}: {error}"));
        self.missed += 1;
        Ok(())
    }

    fn end(&self) -> Result<(), CliError> {
        match self.missed {
            0 => Ok(()),
            1 => Err(CliError::Failed("one job was left as it is".into())),
            missed => Err(CliError::Failed(format!("{missed} jobs were left as they are"))),
        }
    }
}

fn swept(
    answer: &Answer,
    target: &TargetName,
    done: &str,
    json: bool,
    outside: &mut Outside,
) -> Result<(), CliError> {
    if json {
        return outside.terminal.print(&one_line(answer.text()));
    }
    let swept: Swept = answer.read()?;
    outside.terminal.print(&format!("{} of {target} {done}", dead_jobs(swept.count)))
}

fn dead_jobs(count: u64) -> String {
    if count == 1 { "1 dead job".into() } else { format!("{count} dead jobs") }
}

/// As the admin address names them.
fn params(filter: &DeadFilterArgs) -> Vec<(&'static str, String)> {
    let DeadFilterArgs { error, older_than, newer_than, only_priority } = filter;
    let mut params = Vec::new();
    params.extend(error.as_ref().map(|code| ("error", code.clone())));
    params.extend(older_than.map(|ago| ("older_than", written(ago))));
    params.extend(newer_than.map(|ago| ("newer_than", written(ago))));
    params.extend(only_priority.map(|priority| ("priority", priority.to_string())));
    params
}

fn only_for_targets(filter: &DeadFilterArgs) -> Result<(), CliError> {
    if params(filter).is_empty() {
        return Ok(());
    }
    let why =
        "--error, --older-than, --newer-than and --only-priority go with a target, not with ids";
    Err(CliError::Usage(why.into()))
}

fn with(path: &str, params: &[(&'static str, String)]) -> String {
    let pairs: Vec<String> =
        params.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// The body of a redrive that changes the job; `None` where nothing is to be changed.
fn edit(args: &EditArgs) -> Result<Option<String>, CliError> {
    let mut edit = serde_json::Map::new();
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            edit.insert(name.to_owned(), value.into());
        }
    };
    set("priority", args.priority.map(|priority| priority.to_string()));
    set("method", args.method.clone());
    set("path", args.path.clone());
    set("idempotency_key", args.idempotency_key.clone());
    set("content_type", args.content_type.clone());
    if !args.headers.is_empty() {
        edit.insert("headers".to_owned(), headers(&args.headers).into());
    }
    let mut written = serde_json::Value::from(edit).to_string();
    if let Some(data) = args.data.as_deref().map(read_data).transpose()? {
        // As it stands, so that long numbers and the order of keys stay as they are.
        let json = std::str::from_utf8(&data)
            .ok()
            .filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        let body = match json.filter(|_| args.content_type.is_none()) {
            Some(json) => format!("\"body\":{json}"),
            None => format!("\"body_base64\":\"{}\"", STANDARD.encode(&data)),
        };
        written.pop();
        let comma = if written.len() > 1 { "," } else { "" };
        written = format!("{written}{comma}{body}}}");
    }
    Ok((written != "{}").then_some(written))
}

fn dead_path(target: &TargetName) -> String {
    format!("/v1/targets/{}/dead", target.encoded())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0197a3b0-6d1e-7c55-b1b2-6f5a4f0c9e11";

    #[test]
    fn ids_or_one_target() {
        let read = |words: &[&str]| {
            Which::read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        let id: JobId = ID.parse().unwrap();
        assert_eq!(read(&[ID]).unwrap(), Which::Jobs(vec![id]));
        assert_eq!(read(&[ID, ID]).unwrap(), Which::Jobs(vec![id, id]));
        assert_eq!(read(&["erp"]).unwrap(), Which::Target(target_name("erp").unwrap()));
        for bad in [&["erp", ID][..], &["erp", "crm"], &[".."]] {
            assert!(matches!(read(bad), Err(CliError::Usage(_))), "{bad:?}");
        }
    }

    #[test]
    fn an_edit_is_what_was_named() {
        let mut args = EditArgs {
            data: None,
            content_type: None,
            path: None,
            method: None,
            headers: Vec::new(),
            priority: None,
            idempotency_key: None,
        };
        assert_eq!(edit(&args).unwrap(), None);
        args.data = Some("{\"n\": 1.10}".into());
        assert_eq!(edit(&args).unwrap().unwrap(), r#"{"body":{"n": 1.10}}"#);
        args.priority = Some(crate::broker::job::Priority::High);
        args.path = Some("/x".into());
        let both = edit(&args).unwrap().unwrap();
        assert_eq!(both, r#"{"path":"/x","priority":"HIGH","body":{"n": 1.10}}"#);
        args.content_type = Some("text/xml".into());
        assert!(edit(&args).unwrap().unwrap().contains(r#""body_base64":"eyJuIjogMS4xMH0=""#));
    }

    #[test]
    fn counts_are_read_under_either_name() {
        for json in [r#"{"purged":3}"#, r#"{"redriven":3}"#] {
            assert_eq!(serde_json::from_str::<Swept>(json).unwrap().count, 3);
        }
    }
}
