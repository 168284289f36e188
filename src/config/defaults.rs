//! What holds where the file says nothing. `config/tollgate.toml` shows the same values; a test
//! compares the two.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::types::{Listen, LogFormat, Server, StepFunctions, Store, Telemetry};
use crate::broker::policy::{self, Rate, Retry};
use crate::trace::Ratio;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

pub fn server() -> Server {
    Server {
        listen: loopback(7070),
        admin_listen: loopback(7071),
        max_body: 256 * KIB,
        drain_timeout: Duration::from_secs(30),
        tls: None,
    }
}

pub fn store() -> Store {
    Store {
        path: PathBuf::from("data/tollgate.redb"),
        cache: 64 * MIB,
        retention: Duration::from_secs(24 * 3_600),
        min_free_disk: 256 * MIB as u64,
        keys: None,
    }
}

pub fn telemetry() -> Telemetry {
    Telemetry {
        log: "info".to_owned(),
        log_format: LogFormat::Text,
        otlp_endpoint: None,
        otlp_sample_ratio: Ratio::ALL,
    }
}

/// What the table `[step_functions]` means where it is empty.
///
/// # Panics
/// Never: the rate is a constant and none is zero.
pub fn step_functions() -> StepFunctions {
    StepFunctions {
        endpoint_url: None,
        heartbeat: Some(Duration::from_secs(60)),
        check_before_dispatch: true,
        // Under the 300/s that an account has in most regions.
        callback_rate: Rate::new(at_least_one(250), Duration::from_secs(1))
            .expect("250 in a second is a rate"),
    }
}

/// What a table `[callbacks.NAME]` says beyond its `url` and `secret_file`.
pub struct Callback {
    pub timeout: Duration,
    pub rate: Rate,
    pub max_concurrent: NonZeroU32,
    pub min_backoff: Duration,
    pub max_backoff: Duration,
    pub max_retry_duration: Duration,
    pub max_body: usize,
}

/// # Panics
/// Never: the rate is a constant and none is zero.
pub fn callback() -> Callback {
    Callback {
        // 15 to 30 s (Standard Webhooks, "Request timeouts").
        timeout: Duration::from_secs(15),
        rate: Rate::new(at_least_one(50), Duration::from_secs(1))
            .expect("50 in a second is a rate"),
        max_concurrent: at_least_one(8),
        min_backoff: Duration::from_secs(5),
        max_backoff: Duration::from_secs(3_600),
        // "Multiple days" (the same, "Deliverability and reliability").
        max_retry_duration: Duration::from_secs(3 * 24 * 3_600),
        // Under 20 kB in all ("Payload size").
        max_body: 16 * KIB,
    }
}

pub const TIMEOUT: Duration = Duration::from_secs(30);
pub const MAX_QUEUED: u64 = 1_000_000;

/// Strict spacing: a token bucket that holds one token.
pub const BURST: NonZeroU32 = at_least_one(1);
pub const MAX_CONCURRENT: NonZeroU32 = at_least_one(10);
pub const HOLD_AFTER_TIMEOUT: Duration = policy::HOLD_AFTER_TIMEOUT;
/// Nothing is sent that might still be under way when a closed window begins.
pub const FINISH_BEFORE_CLOSE: bool = true;
pub const MAX_DEFERRALS: NonZeroU32 = at_least_one(20);

pub const RETRY: Retry = Retry {
    max_attempts: at_least_one(5),
    min_backoff: Duration::from_secs(1),
    max_backoff: Duration::from_secs(5 * 60),
    max_retry_duration: Duration::from_secs(24 * 3_600),
};

const fn at_least_one(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

fn loopback(port: u16) -> Listen {
    Listen::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}
