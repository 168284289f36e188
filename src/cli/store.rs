//! `tollgate store …`: a stopped daemon's file, and what is in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::args::{ExportArgs, StoreArgs, StoreCommand, StoreFile};
use super::error::CliError;
use super::terminal::{Terminal, complain};
use super::{care, check};
use crate::broker::payload::{Request, TaskToken};
use crate::handle::Directory;
use crate::http_api::JobJson;
use crate::store::{Filter, JobRecord, Keys, Options, Reader, Store, StoreError};

/// How much of the file is held in memory, in bytes.
const CACHE: usize = 16 << 20;
/// Jobs read at a time.
const PAGE: usize = 500;
const REDACTED: &str = "[redacted]";

pub(super) fn store(args: &StoreArgs, terminal: &mut Terminal) -> Result<(), CliError> {
    match &args.command {
        StoreCommand::Export(args) => export(args, terminal),
        StoreCommand::Check(args) => care::check(args, terminal),
        StoreCommand::Compact(args) => care::compact(args, terminal),
    }
}

/// How to open the file that is meant.
pub(super) fn options(file: &StoreFile) -> Result<Options, CliError> {
    let (path, keys) = match &file.file {
        Some(path) => (path.clone(), None),
        None => {
            let config = check::load(&file.config).map_err(|errors| {
                complain(errors.to_string().trim_end());
                CliError::Told
            })?;
            (config.store.path, config.store.keys)
        }
    };
    let keys = match &file.encrypt_key_file {
        Some(file) => {
            let named = file.display().to_string();
            Some(Keys::read(file, &named).map_err(CliError::Failed)?)
        }
        None => keys,
    };
    // Opened, a file that is not there would be made.
    if !path.is_file() {
        return Err(CliError::Failed(format!("there is no store at {}", path.display())));
    }
    Ok(Options { path, cache: CACHE, min_free_disk: 0, keys })
}

fn export(args: &ExportArgs, terminal: &mut Terminal) -> Result<(), CliError> {
    let failed = |error: StoreError| CliError::Failed(error.to_string());
    let options = options(&args.store)?;
    let (store, recovered) = Store::open(&options, &[]).map_err(failed)?;
    let names = recovered.targets.into_iter().map(|target| (target.id, target.name, None));
    let directory = Directory::new(names);
    let reader = store.reader();
    let mut after = None;
    loop {
        let page = reader.list(&Filter::default(), after.as_ref(), PAGE).map_err(failed)?;
        for record in &page.jobs {
            let line = line(record, &reader, &directory, args.with_secrets).map_err(failed)?;
            terminal.print(&line)?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// One job, as it is printed.
#[derive(Serialize)]
struct Exported {
    job: Box<RawValue>,
    /// What is sent for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Sent>,
}

#[derive(Serialize)]
struct Sent {
    method: String,
    path: String,
    /// Pairs, in their order.
    headers: Vec<(String, String)>,
    body_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    /// While an answer to it is owed.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_token: Option<String>,
}

fn line(
    record: &JobRecord,
    reader: &Reader,
    directory: &Directory,
    secrets: bool,
) -> Result<String, StoreError> {
    let id = record.header.id;
    let answer = reader.answer(id)?;
    let token = reader.token(id)?;
    let job = JobJson::new(record, directory, answer.as_ref());
    let told = |error: serde_json::Error| {
        StoreError::Corrupt(format!("job {id} cannot be written as JSON: {error}"))
    };
    let job = if secrets {
        // With the numbers of its answer as they were.
        to_raw_value(&job)
    } else {
        serde_json::to_value(job).and_then(|mut job| {
            redact_result(&mut job);
            to_raw_value(&job)
        })
    };
    let request = reader.request(id)?.map(|request| Sent::new(request, token, secrets));
    serde_json::to_string(&Exported { job: job.map_err(told)?, request }).map_err(told)
}

impl Sent {
    fn new(request: Request, token: Option<TaskToken>, secrets: bool) -> Sent {
        let hidden = |text: String| if secrets { text } else { REDACTED.to_owned() };
        let headers = request.headers.into_iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(&value).into_owned();
            (name, hidden(value))
        });
        let headers = headers.collect();
        let path = match request.path.split_once('?') {
            Some((path, _)) if !secrets => format!("{path}?{REDACTED}"),
            _ => request.path,
        };
        let body_bytes = request.body.len();
        let (body, body_base64) = match std::str::from_utf8(&request.body) {
            _ if !secrets || body_bytes == 0 => (None, None),
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(&request.body))),
        };
        Sent {
            method: request.method,
            path,
            headers,
            body_bytes,
            body,
            body_base64,
            idempotency_key: request.idempotency_key,
            task_token: token.map(|token| hidden(token.reveal().to_owned())),
        }
    }
}

/// What a target answers is as much its own as what it is sent.
fn redact_result(job: &mut serde_json::Value) {
    let Some(result) = job.get_mut("result").and_then(serde_json::Value::as_object_mut) else {
        return;
    };
    result.insert("ResponseBody".to_owned(), REDACTED.into());
    result.remove("ResponseBodyBase64");
    if let Some(headers) = result.get_mut("Headers").and_then(serde_json::Value::as_object_mut) {
        headers.values_mut().for_each(|values| *values = serde_json::json!([REDACTED]));
    }
}
