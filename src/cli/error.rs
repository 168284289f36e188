//! Why a command did not do what it was asked, and the exit code that says so to scripts.

use std::io;
use std::time::Duration;

use super::problem::Problem;
use super::values::{Address, Side};

/// What scripts can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    /// The thing asked about failed.
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("{}", unreachable(address, why))]
    Unreachable { address: Box<Address>, why: String },
    /// The connection was there, and then nothing came, or it broke.
    #[error(
        "no answer from {address}: {why}. What was asked may have been done; \
         ask again before repeating it"
    )]
    NoAnswer { address: Box<Address>, why: String },
    #[error("{0}")]
    Problem(Box<Problem>),
    /// Something answered, and it does not speak like Tollgate.
    #[error(
        "{address} answered {status} with something that is not Tollgate's: {what}. \
         Is this Tollgate's {} address? Another is named with {}",
        address.side().word(), address.side().how_to_name()
    )]
    NotTollgate { address: Box<Address>, status: u16, what: String },
    #[error("{0}")]
    Failed(String),
    /// The command has said all there is to say.
    #[error("this was told in full")]
    Told,
    #[error("cannot read {what}: {error}")]
    Read { what: String, error: io::Error },
    #[error("cannot write to standard output: {0}")]
    Write(io::Error),
    /// Whoever read our output has gone; nobody is left to tell.
    #[error("standard output was closed")]
    ClosedPipe,
}

impl CliError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            CliError::Usage(_) => Exit::Usage,
            CliError::Unreachable { .. } | CliError::NoAnswer { .. } => Exit::Unreachable,
            CliError::ClosedPipe => Exit::Done,
            CliError::Problem(_)
            | CliError::NotTollgate { .. }
            | CliError::Failed(_)
            | CliError::Told
            | CliError::Read { .. }
            | CliError::Write(_) => Exit::Failed,
        }
    }

    /// The daemon may be back in a moment: it restarts, or it drains.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            CliError::Unreachable { .. } | CliError::NoAnswer { .. } => true,
            CliError::Problem(problem) => problem.status == 503,
            _ => false,
        }
    }

    pub(super) fn timed_out(address: &Address, after: Duration) -> CliError {
        let why = format!("nothing came within {}", super::ages::short(after));
        CliError::NoAnswer { address: Box::new(address.clone()), why }
    }
}

impl From<io::Error> for CliError {
    /// Of standard output.
    fn from(error: io::Error) -> CliError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::ClosedPipe,
            _ => CliError::Write(error),
        }
    }
}

fn unreachable(address: &Address, why: &str) -> String {
    let side = match address.side() {
        Side::Data => "[server] listen",
        Side::Admin => "[server] admin_listen",
    };
    format!(
        "cannot reach Tollgate at {address}: {why}. Is `tollgate serve` running, with {side} \
         there? Another address is named with {}",
        address.side().how_to_name()
    )
}
