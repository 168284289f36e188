//! MiniStack: SQS and an interpreter of the States Language, both query languages.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::local_aws::{Emulator, LocalAws};

static MINISTACK: Emulator = Emulator {
    name: "MiniStack",
    folder: "ministack",
    lock: ("requirements-ministack-1.5.33.txt", include_str!("requirements-ministack-1.5.33.txt")),
    health: "/_ministack/health",
    command,
    installed: OnceLock::new(),
};

/// `None`, with a word, where it cannot be installed.
pub(crate) async fn ministack() -> Option<LocalAws> {
    MINISTACK.start().await
}

/// Of its environment, which has botocore.
pub(crate) fn python() -> PathBuf {
    MINISTACK.folder().join("bin/python")
}

fn command(folder: &Path, address: SocketAddr, data: &Path) -> Command {
    let mut command = Command::new(folder.join("bin/ministack"));
    command
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", address.port().to_string())
        .env("MINISTACK_HOST", "127.0.0.1")
        .env("SERVICES", "sqs,stepfunctions,states,sts,iam")
        .env("STATE_DIR", data)
        .env("LOG_LEVEL", "WARNING");
    command
}
