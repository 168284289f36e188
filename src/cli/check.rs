//! `tollgate check`, and the reading of a configuration that `serve` shares with it.

use std::path::Path;

use super::args::CheckArgs;
use super::error::CliError;
use super::explain::explain;
use super::terminal::{Terminal, complain};
use crate::config::{Config, ConfigErrors};

/// Reads and validates a file with this process's environment.
pub fn load(file: &Path) -> Result<Config, ConfigErrors> {
    crate::config::load(file, &|name| std::env::var(name).ok())
}

pub(super) fn check(args: &CheckArgs, terminal: &mut Terminal) -> Result<(), CliError> {
    let (file, json) = (args.config.as_path(), args.json);
    let result = load(file);
    if let (Ok(config), Some(_)) = (&result, &args.explain.explain) {
        return explain(config, &args.explain, json, terminal);
    }
    if json {
        terminal.print(&report(file, &result))?;
        return result.map(drop).map_err(|_| CliError::Told);
    }
    match result {
        Ok(config) => terminal.print(&valid(file, config.targets.len())),
        Err(errors) => {
            // Without a prefix, so that editors find FILE:LINE:COLUMN.
            complain(errors.to_string().trim_end());
            Err(CliError::Told)
        }
    }
}

fn valid(file: &Path, targets: usize) -> String {
    let plural = if targets == 1 { "" } else { "s" };
    format!("{} is valid: {targets} target{plural}", file.display())
}

/// `{"file":…,"valid":…,"errors":[{"file","line","column","key","message"}]}`
fn report(file: &Path, result: &Result<Config, ConfigErrors>) -> String {
    let errors = match result {
        Ok(_) => serde_json::json!([]),
        Err(errors) => serde_json::to_value(errors).unwrap_or_default(),
    };
    let file = file.display().to_string();
    serde_json::json!({ "file": file, "valid": result.is_ok(), "errors": errors }).to_string()
}
