//! The daemon between a real SQS and Step Functions (MiniStack, from PyPI) and an API that keeps
//! books.
//!
//! They skip with a word where MiniStack cannot be installed, but not where `CI=true`.

mod activity;
mod api;
mod faulty;
mod ministack;
mod sqs;
mod state_machine;
#[path = "../daemon/support/mod.rs"]
#[allow(dead_code, reason = "shared with another test crate, which needs all of it")]
mod support;

use ministack::MiniStack;
use support::Daemon;

/// A daemon that knows where the local AWS is.
fn daemon(aws: &MiniStack, config: &str) -> Daemon {
    Daemon::start_in(config, aws.environment())
}

/// `[[sources.sqs]]` for the target `erp`.
fn source(queue_url: &str, priority: &str) -> String {
    format!(
        "[[sources.sqs]]\nqueue_url = \"{queue_url}\"\ntarget = \"erp\"\npriority = \"{priority}\"\n"
    )
}
