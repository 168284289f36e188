//! `tollgate store check` and `tollgate store compact`.

use serde_json::json;

use super::args::CareArgs;
use super::error::CliError;
use super::store::options;
use super::terminal::Terminal;
use crate::store::{self, StoreError};

/// Fails where something is found.
pub(super) fn check(args: &CareArgs, terminal: &mut Terminal) -> Result<(), CliError> {
    let options = options(&args.store)?;
    let file = options.path.display();
    let checked = store::check(&options).map_err(|error| failed(&error))?;
    let store::Checked { jobs, findings, more } = &checked;
    let found = findings.len() as u64 + more;
    if args.json {
        let report =
            json!({ "file": file.to_string(), "jobs": jobs, "findings": findings, "more": more });
        terminal.print(&report.to_string())?;
    } else if found == 0 {
        terminal.print(&format!("{file} is in order: {jobs} jobs"))?;
    } else {
        for finding in findings {
            terminal.print(finding)?;
        }
        if *more > 0 {
            terminal.print(&format!("and {more} more"))?;
        }
        terminal.print(&format!(
            "{file} is damaged: {found} findings among {jobs} jobs; keep it as it is and restore \
             it from a backup"
        ))?;
    }
    if found == 0 { Ok(()) } else { Err(CliError::Told) }
}

pub(super) fn compact(args: &CareArgs, terminal: &mut Terminal) -> Result<(), CliError> {
    let options = options(&args.store)?;
    let file = options.path.display();
    let store::Compacted { before, after } =
        store::compact(&options).map_err(|error| failed(&error))?;
    terminal.print(&if args.json {
        let file = file.to_string();
        json!({ "file": file, "bytes_before": before, "bytes_after": after }).to_string()
    } else {
        format!("{file}: {before} bytes before, {after} bytes after")
    })
}

fn failed(error: &StoreError) -> CliError {
    CliError::Failed(error.to_string())
}
