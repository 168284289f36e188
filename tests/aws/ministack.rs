//! A local AWS: installed once into `target/ministack` from the lock file, started and stopped by
//! each test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;

use crate::support::Client;

const LOCK: &str = include_str!("requirements-ministack-1.5.33.txt");
const REGION: &str = "eu-central-1";

pub(crate) struct MiniStack {
    process: Child,
    data: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("ministack")
}

fn install() -> Result<(), String> {
    let (folder, lock) = (folder(), folder().join("installed.txt"));
    if std::fs::read_to_string(&lock).is_ok_and(|installed| installed == LOCK) {
        return Ok(());
    }
    let wanted = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/aws/requirements-ministack-1.5.33.txt");
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(folder.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(wanted))?;
    std::fs::write(lock, LOCK).map_err(|error| error.to_string())
}

fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    match command.output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(Output { stderr, .. }) => Err(format!("{shown}: {}", String::from_utf8_lossy(&stderr))),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

/// `None`, with a word, where it cannot be installed.
///
/// # Panics
/// Where `CI=true` and it cannot be installed: there the tests have to run.
pub(crate) async fn ministack() -> Option<MiniStack> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = tokio::task::spawn_blocking(|| INSTALLED.get_or_init(install)).await.unwrap();
    if let Err(why) = installed {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "MiniStack is needed in CI: {why}");
        eprintln!("SKIPPED: MiniStack cannot be installed: {why}");
        return None;
    }
    Some(MiniStack::start().await)
}

impl MiniStack {
    async fn start() -> MiniStack {
        // Free a moment ago; whoever takes it meanwhile makes the test fail, not lie.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let data = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(data.path().join("log")).unwrap();
        let process = Command::new(folder().join("bin/ministack"))
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", address.port().to_string())
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("SERVICES", "sqs,stepfunctions,states,sts,iam")
            .env("STATE_DIR", data.path())
            .env("LOG_LEVEL", "WARNING")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let endpoint = format!("http://{address}");
        let credentials = Credentials::new("test", "test", None, None, "test");
        let http = aws_smithy_http_client::Builder::new().build_http();
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&endpoint)
            .credentials_provider(credentials.clone())
            .http_client(http.clone())
            .build();
        let sfn = aws_sdk_sfn::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&endpoint)
            .credentials_provider(credentials)
            .http_client(http)
            .build();
        let mut aws = MiniStack {
            process,
            data,
            address,
            sqs: aws_sdk_sqs::Client::from_conf(sqs),
            sfn: aws_sdk_sfn::Client::from_conf(sfn),
        };
        aws.ready().await;
        aws
    }

    async fn ready(&mut self) {
        let client = Client::new();
        loop {
            let answer = client.send("GET", self.address, "/_ministack/health", &[], "").await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return;
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                let log = std::fs::read_to_string(self.data.path().join("log")).unwrap();
                panic!("MiniStack ended ({status}): {log}");
            }
            nap().await;
        }
    }

    /// What the daemon needs to find it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", REGION),
            ("AWS_ENDPOINT_URL_SFN", &endpoint),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The URL of a new queue.
    pub(crate) async fn queue(&self, name: &str) -> String {
        let mut call = self.sqs.create_queue().queue_name(name);
        if name.ends_with(".fifo") {
            call = call.attributes(QueueAttributeName::FifoQueue, "true");
        }
        call.send().await.unwrap().queue_url.unwrap()
    }

    pub(crate) async fn send(&self, queue_url: &str, body: impl Into<String>) {
        self.sqs.send_message().queue_url(queue_url).message_body(body).send().await.unwrap();
    }

    /// Messages that were not deleted, in flight or not.
    pub(crate) async fn left(&self, queue_url: &str) -> u64 {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let call = self.sqs.get_queue_attributes().queue_url(queue_url);
        let output = call.set_attribute_names(Some(names.to_vec())).send().await.unwrap();
        let attributes = output.attributes.unwrap();
        names.iter().map(|name| attributes[name].parse::<u64>().unwrap()).sum()
    }

    /// The ARN of a new state machine.
    pub(crate) async fn machine(&self, name: &str, definition: &str) -> String {
        let call = self.sfn.create_state_machine().name(name).definition(definition);
        let role = "arn:aws:iam::000000000000:role/test";
        call.role_arn(role).send().await.unwrap().state_machine_arn
    }

    /// The ARN of a new execution.
    pub(crate) async fn execution(&self, machine: &str, input: &serde_json::Value) -> String {
        let call = self.sfn.start_execution().state_machine_arn(machine).input(input.to_string());
        call.send().await.unwrap().execution_arn
    }

    /// The status in which an execution ended.
    pub(crate) async fn ended(&self, execution: &str) -> String {
        loop {
            let call = self.sfn.describe_execution().execution_arn(execution);
            let status = call.send().await.unwrap().status;
            if status.as_str() != "RUNNING" {
                return status.as_str().to_owned();
            }
            nap().await;
        }
    }

    /// Resolves once every message was deleted.
    pub(crate) async fn emptied(&self, queue_url: &str) {
        while self.left(queue_url).await > 0 {
            nap().await;
        }
    }
}

impl Drop for MiniStack {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Between two questions to who tells nothing unasked.
pub(crate) async fn nap() {
    #[expect(clippy::disallowed_methods, reason = "between two questions, not instead of one")]
    tokio::time::sleep(Duration::from_millis(50)).await;
}
