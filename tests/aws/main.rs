//! The daemon between a real SQS and Step Functions (MiniStack, from PyPI) and an API that keeps
//! books.
//!
//! They skip with a word where MiniStack cannot be installed, but not where `CI=true`.

mod activity;
mod api;
mod books;
mod enforced;
mod hundred;
mod lanes;
mod line;
mod local_aws;
mod localstack;
mod middle;
mod ministack;
mod outage;
mod sqs;
mod state_machine;
mod stopped;
#[path = "../daemon/support/mod.rs"]
#[allow(dead_code, reason = "shared with another test crate, which needs all of it")]
mod support;

use local_aws::LocalAws;
use support::Daemon;

/// A daemon that knows where the local AWS is.
fn daemon(aws: &LocalAws, config: &str) -> Daemon {
    // Most tests invent their tokens: nobody is asked whether somebody waits for them.
    let made_up = "[step_functions]\ncheck_before_dispatch = false\nheartbeat = \"off\"\n";
    let more = if config.contains("[step_functions]") { "" } else { made_up };
    // Region, credentials and endpoint come from the environment.
    Daemon::start_in(&format!("{config}{more}"), aws.environment())
}

/// `[[sources.sqs]]` for the target `erp`.
fn source(queue_url: &str, priority: &str) -> String {
    format!(
        "[[sources.sqs]]\nqueue_url = \"{queue_url}\"\ntarget = \"erp\"\npriority = \"{priority}\"\n"
    )
}
