//! The keys of each table: those that work, and those whose names are fixed but that come later.

/// One table's keys, its name as a person would write it.
pub(super) struct Words {
    pub(super) table: &'static str,
    pub(super) known: &'static [&'static str],
    /// Fixed by name, not built yet: an error that says so, rather than a wish that nobody obeys.
    pub(super) later: &'static [&'static str],
}

pub(super) const ROOT: Words = Words {
    table: "",
    known: &["server", "store", "telemetry", "targets"],
    later: &["auth", "limits", "step_functions", "sources", "callbacks"],
};

pub(super) const SERVER: Words = Words {
    table: "server",
    known: &["listen", "admin_listen", "max_body", "drain_timeout"],
    later: &["allowed_hosts", "tls"],
};

pub(super) const STORE: Words = Words {
    table: "store",
    known: &["path", "cache", "retention", "min_free_disk"],
    later: &["encrypt_key_file"],
};

pub(super) const TELEMETRY: Words =
    Words { table: "telemetry", known: &["log", "log_format"], later: &["otlp_endpoint"] };

pub(super) const TARGET: Words = Words {
    table: "targets.NAME",
    known: &[
        "url",
        "timeout",
        "headers",
        "listen",
        "delivery",
        "max_queued",
        "limit",
        "priority",
        "retry",
    ],
    later: &[
        "breaker",
        "completion",
        "dead_retention",
        "fairness",
        "finish_before_close",
        "on_group_failure",
        "pull",
        "reject_if_late",
        "request_schema",
        "response",
        "schedule",
        "share",
        "verify",
    ],
};

pub(super) const LIMIT: Words = Words {
    table: "targets.NAME.limit",
    known: &["rate", "burst", "max_concurrent"],
    later: &["windows", "quota", "reserve_high", "hold_after_timeout", "adaptive"],
};

pub(super) const PRIORITY: Words =
    Words { table: "targets.NAME.priority", known: &["max_deferrals"], later: &[] };

pub(super) const RETRY: Words = Words {
    table: "targets.NAME.retry",
    known: &["max_attempts", "min_backoff", "max_backoff", "max_retry_duration"],
    later: &[],
};

pub(super) const ALL: [&Words; 8] =
    [&ROOT, &SERVER, &STORE, &TELEMETRY, &TARGET, &LIMIT, &PRIORITY, &RETRY];

/// The table in which `key` would be right, if there is just one, seen from the table `path`.
pub(super) fn home_of(key: &str, path: &str) -> Option<String> {
    let mut homes =
        ALL.iter().filter(|words| words.known.contains(&key) || words.later.contains(&key));
    let home = homes.next()?.table;
    if homes.next().is_some() || home.is_empty() {
        return None;
    }
    // Within a target, name that one.
    let target = path.strip_prefix("targets.").map_or("NAME", |rest| {
        // A quoted name can hold dots; such a target is an error of its own.
        rest.split('.').next().unwrap_or(rest)
    });
    Some(home.replace("NAME", target))
}
