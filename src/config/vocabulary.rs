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
    known: &[
        "server",
        "auth",
        "store",
        "telemetry",
        "step_functions",
        "limits",
        "targets",
        "sources",
        "callbacks",
    ],
    later: &[],
};

pub(super) const SERVER: Words = Words {
    table: "server",
    known: &["listen", "admin_listen", "max_body", "drain_timeout", "allowed_hosts", "tls"],
    later: &[],
};

pub(super) const TLS: Words =
    Words { table: "server.tls", known: &["cert_file", "key_file", "client_ca_file"], later: &[] };

pub(super) const AUTH: Words = Words {
    table: "auth",
    known: &["submit_tokens_file", "admin_tokens_file", "metrics", "insecure_allow_anonymous"],
    later: &[],
};

pub(super) const STORE: Words = Words {
    table: "store",
    known: &["path", "cache", "retention", "min_free_disk", "encrypt_key_file"],
    later: &[],
};

pub(super) const TELEMETRY: Words = Words {
    table: "telemetry",
    known: &["log", "log_format", "otlp_endpoint", "otlp_sample_ratio"],
    later: &[],
};

pub(super) const STEP_FUNCTIONS: Words = Words {
    table: "step_functions",
    known: &["endpoint_url", "heartbeat", "check_before_dispatch", "callback_rate"],
    later: &[],
};

pub(super) const CALLBACK: Words = Words {
    table: "callbacks.NAME",
    known: &[
        "url",
        "secret_file",
        "headers",
        "timeout",
        "rate",
        "max_concurrent",
        "min_backoff",
        "max_backoff",
        "max_retry_duration",
        "max_body",
    ],
    later: &[],
};

pub(super) const TARGET: Words = Words {
    table: "targets.NAME",
    known: &[
        "url",
        "timeout",
        "headers",
        "listen",
        "share",
        "schedule",
        "finish_before_close",
        "delivery",
        "verify",
        "response",
        "completion",
        "dead_retention",
        "reject_if_late",
        "request_schema",
        "max_queued",
        "on_group_failure",
        "limit",
        "priority",
        "retry",
        "breaker",
        "fairness",
    ],
    later: &["pull"],
};

pub(super) const LIMIT: Words = Words {
    table: "targets.NAME.limit",
    known: &[
        "rate",
        "burst",
        "max_concurrent",
        "windows",
        "quota",
        "reserve_high",
        "hold_after_timeout",
        "adaptive",
    ],
    later: &[],
};

/// The same keys as a target's own limit has, and none of them needed. A rate that answers change
/// is one target's own so far.
pub(super) const SHARED_LIMIT: Words = Words {
    table: "limits.NAME",
    known: &[
        "rate",
        "burst",
        "max_concurrent",
        "windows",
        "quota",
        "reserve_high",
        "hold_after_timeout",
    ],
    later: &["adaptive"],
};

pub(super) const PRIORITY: Words =
    Words { table: "targets.NAME.priority", known: &["max_deferrals"], later: &[] };

pub(super) const RETRY: Words = Words {
    table: "targets.NAME.retry",
    known: &["max_attempts", "min_backoff", "max_backoff", "max_retry_duration"],
    later: &[],
};

pub(super) const VERIFY: Words = Words {
    table: "targets.NAME.verify",
    known: &["method", "path", "done", "not_done"],
    later: &[],
};

pub(super) const RESPONSE: Words =
    Words { table: "targets.NAME.response", known: &["rules", "max_body"], later: &[] };

pub(super) const COMPLETION: Words = Words {
    table: "targets.NAME.completion",
    known: &["poll", "every", "done", "failed", "timeout"],
    later: &[],
};
pub(super) const FAIRNESS: Words =
    Words { table: "targets.NAME.fairness", known: &["weights"], later: &[] };

pub(super) const SOURCES: Words =
    Words { table: "sources", known: &["sqs", "activity"], later: &[] };

pub(super) const ALL: [&Words; 22] = [
    &ROOT,
    &SERVER,
    &TLS,
    &AUTH,
    &STORE,
    &TELEMETRY,
    &STEP_FUNCTIONS,
    &CALLBACK,
    &TARGET,
    &LIMIT,
    &SHARED_LIMIT,
    &super::calendar::QUOTA,
    &super::calendar::SCHEDULE,
    &super::adaptive::WORDS,
    &super::breaker::WORDS,
    &PRIORITY,
    &RETRY,
    &VERIFY,
    &RESPONSE,
    &COMPLETION,
    &FAIRNESS,
    &SOURCES,
];

/// A key that is right in one other table, as seen from the table `path`: that table.
pub(super) fn home_of(key: &str, path: &str) -> Option<String> {
    // What a shared limit knows, a target's own knows too.
    let among_limits = path.starts_with("limits.");
    let homes = ALL.iter().filter(|words| (words.table == SHARED_LIMIT.table) == among_limits);
    // A schedule sets the rate too, but seldom.
    let in_limit = !among_limits && LIMIT.all().any(|word| *word == key);
    let homes = homes.filter(|words| !in_limit || words.table == LIMIT.table);
    let mut homes = homes.filter(|words| words.all().any(|word| *word == key));
    let home = homes.next()?.table;
    if homes.next().is_some() || home.is_empty() {
        return None;
    }
    // Within a target, name that one. (A quoted name may hold dots, but is a mistake of its own.)
    let rest = path.strip_prefix("targets.");
    let target = rest.map_or("NAME", |rest| rest.split('.').next().unwrap_or(rest));
    Some(home.replace("NAME", target))
}

impl Words {
    pub(super) fn all(&self) -> impl Iterator<Item = &'static &'static str> {
        self.known.iter().chain(self.later)
    }
}
