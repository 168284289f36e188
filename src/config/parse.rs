//! From the text of a file to a [`Config`]: one function a table, one line a key.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::error::{ConfigErrors, Depth};
use super::fairness::weights;
use super::headers::headers;
use super::item::{Item, Text, quoted};
use super::listen::{Listeners, Role, address};
use super::source::Source;
use super::table::{Context, Table, nearest};
use super::telemetry;
use super::types::{Config, LogFormat, Server, Store, Target, Telemetry};
use super::units::{duration, show_duration, size};
use super::url::base_url;
use super::{
    auth, bounds, breaker, calendar, callbacks, defaults, limits, outcomes, sources,
    step_functions, syntax, tls, vocabulary,
};
use crate::auth::Hosts;
use crate::broker::group::OnGroupFailure;
use crate::broker::policy::{Bounds, LimitName, Policy, Retry, Tempo};
use crate::store::Keys;

/// Reads a configuration. `file` is named in errors, and relative paths of secret files start at
/// its folder; the store's path is kept as given, so it starts at the working directory.
///
/// # Errors
/// Everything that is wrong, together.
pub fn parse(
    text: &str,
    file: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigErrors> {
    let source = Source::new(file, text);
    let document = syntax::parse(&source)?;
    let context = Context { source, env, errors: RefCell::default() };
    let config = root(&Table::root(&context, &document), &context);
    let errors = context.errors.into_inner();
    if errors.is_empty() { Ok(config) } else { Err(ConfigErrors::new(file, Depth::Values, errors)) }
}

fn root(root: &Table<'_>, context: &Context<'_>) -> Config {
    let mut listeners = Listeners::default();
    let (server, hosts) = server(&root.table("server"), &mut listeners);
    let auth = auth::read(root, hosts);
    let shared = root.table("limits");
    let limits = limits::shared(&shared);
    let targets = targets(&root.table("targets"), &limits, &mut listeners);
    limits::check_names(&shared, &limits, targets.keys());
    let sources = sources::sources(root);
    let config = Config {
        server,
        access: auth.rules.clone(),
        insecure_allow_anonymous: auth.insecure_allow_anonymous,
        store: store(&root.table("store")),
        telemetry: telemetry(&root.table("telemetry")),
        step_functions: step_functions::read(root, &sources),
        limits,
        callbacks: callbacks::read(root, &mut listeners),
        targets,
        sources,
    };
    listeners.check(&auth, context);
    root.finish(vocabulary::ROOT.later);
    config
}

fn server(table: &Table<'_>, listeners: &mut Listeners) -> (Server, Hosts) {
    let default = defaults::server();
    let server = Server {
        listen: table.get_or("listen", default.listen, address),
        admin_listen: table.get_or("admin_listen", default.admin_listen, address),
        max_body: table.get_or("max_body", default.max_body, bytes(bounds::MAX_BODY)),
        drain_timeout: table.get_or(
            "drain_timeout",
            default.drain_timeout,
            duration(bounds::DRAIN_TIMEOUT),
        ),
        tls: tls::read(table),
    };
    let hosts = table.get_or("allowed_hosts", Hosts::default(), auth::hosts);
    listeners.listen(table, "listen", Role::Submit, &server.listen);
    listeners.listen(table, "admin_listen", Role::Admin, &server.admin_listen);
    table.finish(vocabulary::SERVER.later);
    (server, hosts)
}

fn store(table: &Table<'_>) -> Store {
    let default = defaults::store();
    let store = Store {
        path: table.get_or("path", default.path, store_path),
        cache: table.get_or("cache", default.cache, bytes(bounds::CACHE)),
        retention: table.get_or("retention", default.retention, duration(bounds::RETENTION)),
        min_free_disk: table.get_or(
            "min_free_disk",
            default.min_free_disk,
            size(bounds::MIN_FREE_DISK),
        ),
        keys: table.get("encrypt_key_file", keys),
    };
    table.finish(vocabulary::STORE.later);
    store
}

fn telemetry(table: &Table<'_>) -> Telemetry {
    let default = defaults::telemetry();
    let telemetry = Telemetry {
        log: table.get_or("log", default.log, log_filter),
        log_format: table.get_or("log_format", default.log_format, log_format),
        otlp_endpoint: table.get("otlp_endpoint", telemetry::endpoint),
        otlp_sample_ratio: table.get_or(
            "otlp_sample_ratio",
            default.otlp_sample_ratio,
            telemetry::ratio,
        ),
    };
    table.finish(vocabulary::TELEMETRY.later);
    telemetry
}

fn targets(
    table: &Table<'_>,
    limits: &BTreeMap<LimitName, Bounds>,
    listeners: &mut Listeners,
) -> BTreeMap<String, Arc<Target>> {
    if table.is_empty() {
        let message = "no target is configured; add [targets.NAME] with url = \"https://…\" and \
                       limit.rate = \"10/s\"";
        table.report_self(message.to_owned());
    }
    let mut targets = BTreeMap::new();
    for (count, (name, target_table)) in table.tables().enumerate() {
        if count == bounds::TARGETS {
            table.report_name(name, format!("at most {} targets are allowed", bounds::TARGETS));
        }
        if !is_name(name) {
            let message = format!(
                "not a target's name; one has 1 to {} letters, digits, - or _, a letter or digit first",
                bounds::TARGET_NAME
            );
            table.report_name(name, message);
        }
        if let Some(target) = target(name, &target_table, limits, listeners) {
            targets.insert(name.to_owned(), Arc::new(target));
        }
    }
    targets
}

pub(super) fn is_name(name: &str) -> bool {
    name.len() <= bounds::TARGET_NAME
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// `None` where what it needs is missing or wrong, which is reported.
fn target(
    name: &str,
    table: &Table<'_>,
    limits: &BTreeMap<LimitName, Bounds>,
    listeners: &mut Listeners,
) -> Option<Target> {
    let url = table.need("url", "url = \"https://…\"", base_url);
    let timeout = table.get_or("timeout", defaults::TIMEOUT, duration(bounds::TIMEOUT));
    let headers = headers(&table.table("headers"));
    let listen = table.get("listen", address);
    let (outcomes, asking) = outcomes::read(table);
    let share = table.get_or("share", Vec::new(), limits::share(limits));
    let max_queued =
        table.get_or("max_queued", defaults::MAX_QUEUED, |item| item.whole(bounds::MAX_QUEUED));
    let on_group_failure =
        table.get_or("on_group_failure", OnGroupFailure::default(), on_group_failure);
    let limit = limits::limit(&table.table("limit"));
    let finish_before_close =
        table.get_or("finish_before_close", defaults::FINISH_BEFORE_CLOSE, auth::truth);
    let lasting = if finish_before_close { timeout } else { Duration::ZERO };
    let schedule = calendar::schedule(table, lasting);
    let breaker = breaker::read(table);
    let max_deferrals = priority(&table.table("priority"));
    let retry = retry(&table.table("retry"));
    let weights = weights(&table.table("fairness"));
    if let Some(listen) = &listen {
        listeners.listen(table, "listen", Role::Submit, listen);
    }
    if let Some(url) = &url {
        listeners.call(table, "url", url.clone());
    }
    table.finish(vocabulary::TARGET.later);
    let (limit, adaptive) = limit?;
    let tempo = Tempo { schedule, lasting, breaker, adaptive };
    let policy = Policy {
        limit,
        share,
        tempo,
        retry,
        max_deferrals,
        max_queued,
        on_group_failure,
        weights,
        outcomes,
    };
    Some(Target { name: name.to_owned(), url: url?, timeout, headers, listen, policy, asking })
}

fn priority(table: &Table<'_>) -> std::num::NonZeroU32 {
    let max_deferrals = table
        .get_or("max_deferrals", defaults::MAX_DEFERRALS, |item| item.count(bounds::MAX_DEFERRALS));
    table.finish(vocabulary::PRIORITY.later);
    max_deferrals
}

fn retry(table: &Table<'_>) -> Retry {
    let default = defaults::RETRY;
    let retry = Retry {
        max_attempts: table
            .get_or("max_attempts", default.max_attempts, |item| item.count(bounds::MAX_ATTEMPTS)),
        min_backoff: table.get_or("min_backoff", default.min_backoff, duration(bounds::BACKOFF)),
        max_backoff: table.get_or("max_backoff", default.max_backoff, duration(bounds::BACKOFF)),
        max_retry_duration: table.get_or(
            "max_retry_duration",
            default.max_retry_duration,
            duration(bounds::MAX_RETRY_DURATION),
        ),
    };
    let both_good = table.is_good("min_backoff") && table.is_good("max_backoff");
    if both_good && retry.min_backoff > retry.max_backoff {
        let (min, max) = (show_duration(retry.min_backoff), show_duration(retry.max_backoff));
        let by_default = |key| if table.is_set(key) { "" } else { ", by default" };
        if table.is_set("min_backoff") {
            let by_default = by_default("max_backoff");
            let message = format!("{min} is more than max_backoff ({max}{by_default})");
            table.report("min_backoff", message);
        } else {
            let message = format!("{max} is less than min_backoff ({min}, by default); set both");
            table.report("max_backoff", message);
        }
    }
    table.finish(vocabulary::RETRY.later);
    retry
}

fn bytes(range: std::ops::RangeInclusive<u64>) -> impl FnOnce(&Item<'_>) -> Result<usize, String> {
    move |item| {
        let bytes = size(range)(item)?;
        usize::try_from(bytes).map_err(|_| "too large for this machine".to_owned())
    }
}

/// Keys, read from a file that is its owner's own.
fn keys(item: &Item<'_>) -> Result<Keys, String> {
    let (path, place) = item.file()?;
    Keys::read(&path, &place)
}

fn store_path(item: &Item<'_>) -> Result<PathBuf, String> {
    let text = item.text("the path of a file, in quotes")?;
    let path = text.value.as_str();
    if path.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if path.contains('\0') {
        return Err(format!("{text} holds a NUL character, which no path can"));
    }
    if path.starts_with("~/") {
        return Err(format!("{text}: ~ means nothing here; write ${{HOME}}/…"));
    }
    if path.ends_with('/') || Path::new(path).file_name().is_none() {
        return Err(format!(
            "{text} names a directory; name a file in it, like \"data/tollgate.redb\""
        ));
    }
    Ok(PathBuf::from(path))
}

fn on_group_failure(item: &Item<'_>) -> Result<OnGroupFailure, String> {
    let text = item.text("\"continue\" or \"hold\"")?;
    match text.value.as_str() {
        "continue" => Ok(OnGroupFailure::Continue),
        "hold" => Ok(OnGroupFailure::Hold),
        _ => Err(choice(&text, &["continue", "hold"])),
    }
}

fn log_format(item: &Item<'_>) -> Result<LogFormat, String> {
    let text = item.text("\"text\" or \"json\"")?;
    match text.value.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(choice(&text, &["text", "json"])),
    }
}

pub(super) fn choice(text: &Text, choices: &[&'static str]) -> String {
    let choices: Vec<String> = choices.iter().map(|choice| quoted(choice)).collect();
    format!("{text} is not known here; write {}", choices.join(" or "))
}

fn log_filter(item: &Item<'_>) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let text = item.text("a log level in quotes, like \"info\"")?;
    if text.value.trim().is_empty() {
        return Err("the log filter is empty; write \"off\" for no log at all".to_owned());
    }
    if EnvFilter::builder().parse(&text.value).is_err() {
        return Err(format!(
            "{text} is not a log filter; write a level ({}), or more, like \"info,tollgate=debug\"",
            LEVELS.join(", ")
        ));
    }
    // The grammar takes a bare "inof" for the name of a module, and nothing else is logged.
    for word in text.value.split(',').map(str::trim) {
        let lower = word.to_ascii_lowercase();
        let known = LEVELS.contains(&lower.as_str());
        let meant = if lower == "warning" { Some("warn") } else { nearest(&lower, &LEVELS) };
        if let Some(level) = meant.filter(|_| !known) {
            return Err(format!("{text} names no level; did you mean {level}?"));
        }
    }
    Ok(text.value)
}
