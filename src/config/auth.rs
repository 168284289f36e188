//! `[auth]`: tokens, and who may do without.

use toml::de::DeValue;

use super::bounds;
use super::item::{Item, describe};
use super::table::Table;
use super::vocabulary;
use crate::auth::{Hosts, MetricsAccess, Rules, Tokens};

/// What `[auth]` says.
pub(super) struct Auth {
    pub(super) rules: Rules,
    /// Every listener may let everybody in, wherever it is.
    pub(super) insecure_allow_anonymous: bool,
}

pub(super) fn read(root: &Table<'_>, hosts: Hosts) -> Auth {
    let table = root.table("auth");
    let submit = table.get("submit_tokens_file", tokens);
    let admin = table.get("admin_tokens_file", tokens);
    if let Some(tokens) = &admin
        && tokens.targets().next().is_some()
    {
        let message = "`targets=` limits tokens that hand jobs in; an admin token has no limits";
        table.report("admin_tokens_file", message.to_owned());
    }
    let metrics = table.get_or("metrics", MetricsAccess::default(), metrics);
    let insecure_allow_anonymous = table.get_or("insecure_allow_anonymous", false, truth);
    table.finish(vocabulary::AUTH.later);
    Auth { rules: Rules { submit, admin, metrics, hosts }, insecure_allow_anonymous }
}

/// `server.allowed_hosts`.
pub(super) fn hosts(item: &Item<'_>) -> Result<Hosts, String> {
    const EXPECTED: &str = "a list of names, like [\"tollgate.internal\"]";
    let DeValue::Array(array) = item.value else {
        return Err(format!("expected {EXPECTED}; found {}", describe(item.value)));
    };
    let mut names = Vec::new();
    for entry in array {
        let entry = Item { context: item.context, value: entry.get_ref() };
        let text = entry.text("a host's name in quotes")?;
        let name = text.value.as_str();
        let fine = (1..=bounds::HOST_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if !fine {
            return Err(format!(
                "{text} is not the name of a host; write it without scheme and port, like \
                 \"tollgate.internal\""
            ));
        }
        names.push(name.to_owned());
    }
    Ok(Hosts::new(names))
}

fn tokens(item: &Item<'_>) -> Result<Tokens, String> {
    Tokens::parse(&item.secret_file(bounds::TOKENS_FILE)?)
}

fn metrics(item: &Item<'_>) -> Result<MetricsAccess, String> {
    let text = item.text("\"open\" or \"admin\"")?;
    match text.value.as_str() {
        "open" => Ok(MetricsAccess::Open),
        "admin" => Ok(MetricsAccess::Admin),
        _ => Err(super::parse::choice(&text, &["open", "admin"])),
    }
}

pub(super) fn truth(item: &Item<'_>) -> Result<bool, String> {
    match item.value {
        DeValue::Boolean(truth) => Ok(*truth),
        other => Err(format!("expected true or false, without quotes; found {}", describe(other))),
    }
}
