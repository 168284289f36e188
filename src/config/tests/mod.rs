//! The configuration from outside: text in, configuration or errors out.

mod access;
mod calendar;
mod feedback;
mod hostile;
mod messages;
mod secrets;
mod shipped;
mod sources;
mod values;

use std::path::Path;
use std::sync::Arc;

use super::{Config, ConfigError, ConfigErrors, Target, parse};

/// Enough for a target; more of its keys can follow.
const ERP: &str = "[targets.erp]\nurl = \"https://erp.example/api\"\nlimit.rate = \"10/s\"\n";

fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let look_up = |name: &str| {
        env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    parse(text, Path::new("config/tollgate.toml"), &look_up)
}

#[track_caller]
fn good(text: &str) -> Config {
    match parse_with(text, &[]) {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

#[track_caller]
fn bad(text: &str) -> Vec<ConfigError> {
    parse_with(text, &[]).expect_err(text).into_iter().collect()
}

/// The one error of a text, without its file.
#[track_caller]
fn fault(text: &str) -> String {
    let errors = bad(text);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let ConfigError { line, column, key, message, .. } = &errors[0];
    format!("{}:{}: {key}: {message}", line.unwrap_or(0), column.unwrap_or(0))
}

/// The target `erp` of [`ERP`] with more keys.
#[track_caller]
fn erp(more: &str) -> Arc<Target> {
    Arc::clone(&good(&format!("{ERP}{more}")).targets["erp"])
}

/// What is wrong with [`ERP`] and one more key, which stands on line 4.
#[track_caller]
fn erp_fault(more: &str) -> String {
    let fault = fault(&format!("{ERP}{more}"));
    let fault = fault.strip_prefix("4:").expect("an error on line 4");
    fault.split_once(": ").map_or(fault, |(_column, rest)| rest).to_owned()
}
