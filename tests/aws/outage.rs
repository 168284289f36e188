//! AWS is away while jobs end, and the broker is killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::api::{Api, Reply, Rule};
use crate::books::{self, metric, reaches};
use crate::line::Line;
use crate::local_aws::{LocalAws, environment_at, nap};
use crate::middle::through;
use crate::ministack::ministack;
use crate::state_machine::{JSON_PATH, Queues, order};
use crate::support::{Client, Daemon, erp};

const EXECUTIONS: usize = 200;
/// Calls at once, so that as many are under way when the ERP answers no more.
const AT_ONCE: usize = 4;
/// Calls that are answered before the broker is killed in their midst.
const BEFORE: usize = 100;
const SILENT_UNTIL: usize = BEFORE + AT_ONCE;

const PENDING: &str = "tollgate_callbacks_pending";

/// Two hundred executions whose jobs wait at the broker, and an AWS that is away.
struct Outage {
    aws: LocalAws,
    line: Line,
    api: Api,
    queues: Queues,
    daemon: Daemon,
    client: Client,
    executions: Vec<String>,
    since: Instant,
}

impl Outage {
    async fn begin(rule: Rule) -> Option<Outage> {
        let aws = ministack().await?;
        let api = Api::answering(rule).await;
        let mut line = Line::start(aws.address).await;
        let queues = Queues::new(&aws).await;
        let machine = aws.machine("order", &queues.filled(JSON_PATH)).await;
        let more =
            format!("max_concurrent = {AT_ONCE}\n[targets.erp.retry]\nmin_backoff = \"50ms\"\n");
        // A call that is not answered is under way until the broker is killed.
        let config = erp(api.address, "200/s", &more).replacen("\"2s\"", "\"10m\"", 1)
            + &queues.sources(|url| through(line.address, aws.address, url))
            + "[step_functions]\nheartbeat = \"5s\"\ncallback_rate = \"100/s\"\n";
        let daemon = Daemon::start_in(&config, environment_at(line.address));
        let client = Client::new();
        client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
        let mut executions = Vec::new();
        for number in 0..EXECUTIONS {
            let input = order(&format!("o-{number}"), number % 2 == 0, number % 2 == 1);
            executions.push(aws.execution(&machine, &input).await);
        }
        let depth = "tollgate_queue_depth";
        reaches(&client, daemon.admin, depth, &[], EXECUTIONS as u64).await;
        // Deleted as well: what is left in a queue would be sent again, and is not the point here.
        queues.all_emptied(&aws).await;
        line.cut().await;
        let since = Instant::now();
        client.post(daemon.admin, "/v1/targets/erp/resume", &json!({})).await;
        Some(Outage { aws, line, api, queues, daemon, client, executions, since })
    }

    /// So many jobs have ended, and nobody could be told.
    async fn pending(&self, count: usize) {
        reaches(&self.client, self.daemon.admin, PENDING, &[], count as u64).await;
        // It is no reason to take no jobs.
        assert_eq!(self.client.get(self.daemon.admin, "/readyz").await.status, 200);
        let of =
            |result| metric(&self.client, self.daemon.admin, "tollgate_callbacks_total", result);
        assert_eq!(of(&["result=\"accepted\""]).await + of(&["result=\"late\""]).await, 0);
    }

    fn killed(&mut self) {
        self.daemon.kill();
        self.daemon.restart();
    }

    async fn ended(&self) -> usize {
        let mut ended = 0;
        for execution in &self.executions {
            let call = self.aws.sfn.describe_execution().execution_arn(execution);
            let status = call.send().await.unwrap().status;
            ended += usize::from(status != ExecutionStatus::Running);
        }
        ended
    }

    /// AWS is back after `least` at least: everything ends, and every token is settled. Returns
    /// the jobs.
    async fn over(&mut self, least: Duration) -> BTreeMap<String, Value> {
        while self.since.elapsed() < least {
            nap().await;
        }
        self.pending(EXECUTIONS).await;
        assert_eq!(self.ended().await, 0, "AWS was not away");
        let lasted = self.since.elapsed();
        self.line.mend();
        // Once more in the midst of it: answers that were sent and not recorded are sent again.
        while self.ended().await < EXECUTIONS / 4 {
            nap().await;
        }
        self.killed();
        for execution in &self.executions {
            let ended = timeout(Duration::from_secs(120), self.aws.ended(execution)).await;
            let ended = ended.unwrap_or_else(|_| panic!("{execution} does not end"));
            assert_eq!(ended.status, ExecutionStatus::Succeeded, "{ended:?}");
        }
        books::all_answered(&self.client, &self.daemon).await;
        self.queues.all_emptied(&self.aws).await;
        let jobs = books::jobs(&self.client, &self.daemon).await;
        assert_eq!(jobs.len(), EXECUTIONS);
        let last =
            |event| jobs.values().filter(|job| books::events(job).last() == Some(&event)).count();
        let (answered, late) = (last("token_answered"), last("token_late"));
        assert_eq!(answered + late, EXECUTIONS);
        println!(
            "AWS away for {:.1} s: {EXECUTIONS} executions succeeded; {answered} tokens answered, \
             {late} answered before a SIGKILL and recorded as late after it; {} calls",
            lasted.as_secs_f64(),
            self.api.calls().len()
        );
        jobs
    }
}

/// Every call is over when the broker is killed; only answers to tokens are outstanding.
async fn killed_after_the_calls(least: Duration) {
    let Some(mut outage) = Outage::begin(|_, _, _| Reply::Status(200)).await else { return };
    outage.pending(EXECUTIONS).await;
    outage.killed();
    outage.pending(EXECUTIONS).await;
    outage.over(least).await;
    let calls = outage.api.by_key();
    assert_eq!(calls.len(), EXECUTIONS);
    assert!(calls.values().all(|count| *count == 1), "a call was made twice: {calls:?}");
    assert!(outage.daemon.terminate().success());
}

/// Some calls are under way when the broker is killed. They, and no other, are made again.
async fn killed_among_the_calls(least: Duration) {
    // In the midst it falls silent, until the broker that it does not answer is gone.
    let rule: Rule = |_, _, number| match number {
        BEFORE..SILENT_UNTIL => Reply::Never,
        _ => Reply::Status(200),
    };
    let Some(mut outage) = Outage::begin(rule).await else { return };
    let calls = outage.api.called(SILENT_UNTIL).await;
    // A call starts once one before it has ended, and that is on disk: so the first hundred have.
    let under_way: BTreeSet<String> = calls[BEFORE..].iter().map(|call| call.key.clone()).collect();
    assert_eq!(under_way.len(), AT_ONCE);
    outage.pending(BEFORE).await;
    outage.killed();
    let jobs = outage.over(least).await;
    let calls = outage.api.by_key();
    assert_eq!(calls.len(), EXECUTIONS);
    let twice: BTreeSet<String> =
        calls.iter().filter(|(_, count)| **count > 1).map(|(key, _)| key.clone()).collect();
    assert_eq!(twice, under_way);
    assert_eq!(calls.values().sum::<usize>(), EXECUTIONS + AT_ONCE);
    // The broker knows which.
    let unknown = jobs.values().filter(|job| books::events(job).contains(&"unknown"));
    let unknown: BTreeSet<String> =
        unknown.map(|job| job["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(unknown, under_way);
    println!("under way at the SIGKILL and made again: {}", twice.len());
    assert!(outage.daemon.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_repeated_because_aws_was_away() {
    killed_after_the_calls(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_calls_under_way_at_a_sigkill_are_repeated() {
    killed_among_the_calls(Duration::ZERO).await;
}

/// `cargo test --test aws -- --ignored --nocapture away_for_a_minute`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the long form of the two above: two minutes of outage in all"]
async fn away_for_a_minute() {
    killed_after_the_calls(Duration::from_secs(60)).await;
    killed_among_the_calls(Duration::from_secs(60)).await;
}
