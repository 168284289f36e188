//! What a configuration means once it is valid. Nothing in here can be wrong any more.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::callbacks::Callback;
use super::outcomes::Asking;
use crate::auth::Rules;
use crate::broker::callback::CallbackName;
use crate::broker::job::Priority;
use crate::broker::policy::{Bounds, LimitName, Policy, Rate};
use crate::http_api::tls::ServerTls;
use crate::store::Keys;
use crate::trace::Ratio;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub server: Server,
    /// Who may do what, `server.allowed_hosts` among it.
    pub access: Rules,
    /// Everybody may do everything, from wherever they come.
    pub insecure_allow_anonymous: bool,
    pub store: Store,
    pub telemetry: Telemetry,
    /// `None`: no job can have a task token.
    pub step_functions: Option<StepFunctions>,
    /// Those that targets share.
    pub limits: BTreeMap<LimitName, Bounds>,
    /// Who can be told of a job's end.
    pub callbacks: BTreeMap<CallbackName, Arc<Callback>>,
    pub targets: BTreeMap<String, Arc<Target>>,
    pub sources: Sources,
}

/// Where messages come from that become jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    pub sqs: Vec<SqsSource>,
    pub activity: Vec<ActivitySource>,
}

/// One SQS queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqsSource {
    /// Whole; a FIFO queue's ends in `.fifo`.
    pub queue_url: String,
    /// The name of a configured target.
    pub target: String,
    /// Of messages that name none.
    pub priority: Priority,
}

/// One activity of Step Functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivitySource {
    pub arn: String,
    /// The name of a configured target.
    pub target: String,
    /// Of inputs that name none.
    pub priority: Priority,
}

/// How the workflows that wait for jobs are told. Region and credentials come from the AWS SDK's
/// own chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFunctions {
    /// `None`: what the SDK finds, `AWS_ENDPOINT_URL_SFN` among it.
    pub endpoint_url: Option<http::Uri>,
    /// How often each task whose job has not ended is told that it has not. `None`: never.
    pub heartbeat: Option<Duration>,
    /// Whether the task is asked for before each attempt.
    pub check_before_dispatch: bool,
    /// Of answers, and apart from them of heartbeats.
    pub callback_rate: Rate,
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listen {
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Listen {
        Listen::Tcp(address)
    }
}

impl Listen {
    /// `None` for a socket in the file system.
    pub fn port(&self) -> Option<SocketAddr> {
        match self {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix(_) => None,
        }
    }

    /// Whether only this machine's own programs come in.
    pub fn is_local(&self) -> bool {
        match self {
            Listen::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Listen::Unix(_) => true,
        }
    }
}

/// As the configuration writes it.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub listen: Listen,
    pub admin_listen: Listen,
    /// Of a request to the data address, in bytes.
    pub max_body: usize,
    pub drain_timeout: Duration,
    /// Of all ports; sockets in the file system have none.
    pub tls: Option<ServerTls>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    pub path: PathBuf,
    /// In bytes.
    pub cache: usize,
    pub retention: Duration,
    /// In bytes.
    pub min_free_disk: u64,
    /// Of `encrypt_key_file`.
    pub keys: Option<Keys>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// `RUST_LOG`'s grammar.
    pub log: String,
    pub log_format: LogFormat,
    /// Where traces go; `None`: nowhere.
    pub otlp_endpoint: Option<http::Uri>,
    /// Of the traces that begin here.
    pub otlp_sample_ratio: Ratio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// One legacy HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub name: String,
    /// Scheme, authority and a base path without a `/` at its end; never a query or a fragment.
    /// `http::Uri` knows no empty path, so a bare origin has the path `/`.
    pub url: http::Uri,
    /// Of a whole attempt, from connecting to the end of the answer.
    pub timeout: Duration,
    /// Added to each request; values are marked sensitive, so `Debug` does not show them.
    pub headers: http::HeaderMap,
    /// The sidecar port.
    pub listen: Option<Listen>,
    pub policy: Policy,
    /// What its answers mean, and how it is asked.
    pub asking: Asking,
}
