//! A local AWS: installed once under `target/` from its lock file, started and stopped by each
//! test that needs one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};

use crate::support::Client;

const REGION: &str = "eu-central-1";

/// Which one, how it is installed and how it starts.
pub(crate) struct Emulator {
    pub(crate) name: &'static str,
    /// Under `target/`.
    pub(crate) folder: &'static str,
    /// Under `tests/aws/`, and what it says.
    pub(crate) lock: (&'static str, &'static str),
    /// The path that answers 200 once it is there.
    pub(crate) health: &'static str,
    /// From its folder, the address and a directory for what it writes.
    pub(crate) command: fn(&Path, SocketAddr, &Path) -> Command,
    pub(crate) installed: OnceLock<Result<(), String>>,
}

impl Emulator {
    /// `None`, with a word, where it cannot be installed.
    ///
    /// # Panics
    /// Where `CI=true` and it cannot be installed: there the tests have to run.
    pub(crate) async fn start(&'static self) -> Option<LocalAws> {
        let install = || self.installed.get_or_init(|| self.install());
        let installed = tokio::task::spawn_blocking(install).await.unwrap();
        if let Err(why) = installed {
            let name = self.name;
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} is needed in CI: {why}");
            eprintln!("SKIPPED: {name} cannot be installed: {why}");
            return None;
        }
        Some(LocalAws::start(self).await)
    }

    pub(crate) fn folder(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join(self.folder)
    }

    fn install(&self) -> Result<(), String> {
        let (folder, (file, text)) = (self.folder(), self.lock);
        let done = folder.join("installed.txt");
        if std::fs::read_to_string(&done).is_ok_and(|installed| installed == text) {
            return Ok(());
        }
        let wanted = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws").join(file);
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(wanted))?;
        std::fs::write(done, text).map_err(|error| error.to_string())
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    match command.output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(Output { stderr, .. }) => Err(format!("{shown}: {}", String::from_utf8_lossy(&stderr))),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

pub(crate) struct LocalAws {
    process: Child,
    data: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
}

impl LocalAws {
    async fn start(emulator: &Emulator) -> LocalAws {
        // Free a moment ago; whoever takes it meanwhile makes the test fail, not lie.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let data = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(data.path().join("log")).unwrap();
        let process = (emulator.command)(&emulator.folder(), address, data.path())
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
        let mut aws = LocalAws {
            process,
            data,
            address,
            sqs: aws_sdk_sqs::Client::from_conf(sqs),
            sfn: aws_sdk_sfn::Client::from_conf(sfn),
        };
        aws.ready(emulator).await;
        aws
    }

    async fn ready(&mut self, emulator: &Emulator) {
        let client = Client::new();
        loop {
            let answer = client.send("GET", self.address, emulator.health, &[], "").await;
            if answer.is_ok_and(|answer| answer.status == 200) {
                return;
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                let log = std::fs::read_to_string(self.data.path().join("log")).unwrap();
                panic!("{} ended ({status}): {log}", emulator.name);
            }
            nap().await;
        }
    }

    /// What the daemon needs to find it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        environment_at(self.address)
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

    /// In batches of ten.
    pub(crate) async fn send_all(&self, queue_url: &str, bodies: &[String]) {
        for batch in bodies.chunks(10) {
            let entries = batch.iter().enumerate().map(|(index, body)| {
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string());
                entry.message_body(body).build().unwrap()
            });
            let call = self.sqs.send_message_batch().queue_url(queue_url);
            let sent = call.set_entries(Some(entries.collect())).send().await.unwrap();
            assert_eq!(sent.successful.len(), batch.len(), "{sent:?}");
        }
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

    pub(crate) async fn left_in(&self, queue_urls: &[String]) -> u64 {
        let mut left = 0;
        for url in queue_urls {
            left += self.left(url).await;
        }
        left
    }

    /// Resolves once every message was deleted.
    pub(crate) async fn emptied(&self, queue_url: &str) {
        while self.left(queue_url).await > 0 {
            nap().await;
        }
    }

    /// The next message of a queue, taken out of it.
    pub(crate) async fn take(&self, queue_url: &str) -> serde_json::Value {
        loop {
            let call = self.sqs.receive_message().queue_url(queue_url).wait_time_seconds(5);
            let messages = call.send().await.unwrap().messages.unwrap_or_default();
            let Some(message) = messages.into_iter().next() else { continue };
            let call = self.sqs.delete_message().queue_url(queue_url);
            call.receipt_handle(message.receipt_handle.unwrap()).send().await.unwrap();
            return serde_json::from_str(&message.body.unwrap()).unwrap();
        }
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

    /// An execution once it has ended.
    pub(crate) async fn ended(&self, execution: &str) -> DescribeExecutionOutput {
        loop {
            let call = self.sfn.describe_execution().execution_arn(execution);
            let execution = call.send().await.unwrap();
            if execution.status.as_str() != "RUNNING" {
                return execution;
            }
            nap().await;
        }
    }

    /// The states that an execution entered, in order.
    pub(crate) async fn entered(&self, execution: &str) -> Vec<String> {
        let call = self.sfn.get_execution_history().execution_arn(execution).max_results(1_000);
        let events = call.send().await.unwrap().events;
        let name =
            |event: aws_sdk_sfn::types::HistoryEvent| Some(event.state_entered_event_details?.name);
        events.into_iter().filter_map(name).collect()
    }
}

impl Drop for LocalAws {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the daemon needs to find what stands at this address.
pub(crate) fn environment_at(address: SocketAddr) -> Vec<(String, String)> {
    let endpoint = format!("http://{address}");
    [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", REGION),
        ("AWS_ENDPOINT_URL_SFN", &endpoint),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Between two questions to who tells nothing unasked.
pub(crate) async fn nap() {
    #[expect(clippy::disallowed_methods, reason = "between two questions, not instead of one")]
    tokio::time::sleep(Duration::from_millis(50)).await;
}
