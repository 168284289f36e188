//! LocalStack: slower and larger than MiniStack, and it enforces HeartbeatSeconds.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::local_aws::{Emulator, LocalAws};

static LOCALSTACK: Emulator = Emulator {
    name: "LocalStack",
    folder: "localstack",
    lock: (
        "requirements-localstack-4.9.2-py311.txt",
        include_str!("requirements-localstack-4.9.2-py311.txt"),
    ),
    health: "/_localstack/health",
    command,
    installed: OnceLock::new(),
};

/// `None`, with a word, where it cannot be installed.
pub(crate) async fn localstack() -> Option<LocalAws> {
    LOCALSTACK.start().await
}

fn command(folder: &Path, address: SocketAddr, data: &Path) -> Command {
    let mut command = Command::new(folder.join("bin/python"));
    command
        .args(["-m", "localstack.runtime.main"])
        // Without `events` it logs an error for each execution.
        .env("SERVICES", "sqs,stepfunctions,sts,iam,events")
        .env("EAGER_SERVICE_LOADING", "1")
        // Nothing is told to anybody, nothing is fetched.
        .env("DISABLE_EVENTS", "1")
        .env("SKIP_SSL_CERT_DOWNLOAD", "1")
        .env("DNS_ADDRESS", "0")
        .env("GATEWAY_LISTEN", address.to_string())
        .env("LOCALSTACK_HOST", address.to_string())
        .env("FILESYSTEM_ROOT", data)
        .env("SQS_ENDPOINT_STRATEGY", "path")
        .env("LS_LOG", "error");
    command
}
