//! Three real queues with much in them before the broker starts, HIGH filled last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::{Value, json};

use crate::api::{Api, Call};
use crate::books;
use crate::local_aws::nap;
use crate::ministack::ministack;
use crate::support::{Client, erp};
use crate::{daemon, source};

/// In the order in which the queues are filled.
const MESSAGES: [(&str, usize); 3] = [("BATCH", 1_100), ("NORMAL", 600), ("HIGH", 300)];
const ALL: usize = 2_000;
/// The default of `max_deferrals`.
const MAX_DEFERRALS: u64 = 20;

/// The target is paused until every message is a job: then it is known who waits, and the order is
/// known too. The first SIGKILL meets the intake (what was received and not deleted comes again
/// half a minute later), the second one the calls of the HIGH jobs.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_messages_over_two_sigkills() {
    let Some(aws) = ministack().await else { return };
    let api = Api::start().await;
    let client = Client::new();
    let more = "max_concurrent = 16\n[targets.erp.retry]\nmin_backoff = \"50ms\"\n";
    let mut config = erp(api.address, "200/s", more);
    let mut daemon = daemon(&aws, &config);
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    assert!(daemon.terminate().success());
    let mut queues = Vec::new();
    let mut first = 0;
    for (priority, count) in MESSAGES {
        let url = aws.queue(&format!("tollgate-{}", priority.to_lowercase())).await;
        let numbers = first..first + count;
        let bodies: Vec<String> =
            numbers.map(|number| json!({"number": number}).to_string()).collect();
        aws.send_all(&url, &bodies).await;
        config.push_str(&source(&url, priority));
        queues.push(url);
        first += count;
    }
    assert_eq!(first, ALL);
    let started = Instant::now();
    daemon.configure(&config);
    daemon.restart();
    let depth = "tollgate_queue_depth";
    while books::metric(&client, daemon.admin, depth, &[]).await < 700 {
        nap().await;
    }
    daemon.kill();
    let cut = aws.left_in(&queues).await;
    daemon.restart();
    for queue in &queues {
        aws.emptied(queue).await;
    }
    let high = books::metric(&client, daemon.admin, depth, &["priority=\"HIGH\""]).await;
    assert_eq!((books::metric(&client, daemon.admin, depth, &[]).await, high), (2_000, 300));
    assert_eq!(api.calls().len(), 0, "the target is paused");
    let taken_in = started.elapsed();
    client.post(daemon.admin, "/v1/targets/erp/resume", &json!({})).await;
    api.called(150).await;
    daemon.kill();
    daemon.restart();
    let mut wanted = ALL;
    loop {
        let calls = api.called(wanted).await;
        if numbers(&calls).len() == ALL {
            break;
        }
        wanted = calls.len() + 1;
    }
    books::reaches(&client, daemon.admin, "tollgate_in_flight", &[], 0).await;
    let jobs = books::jobs(&client, &daemon).await;
    // None is missing, none is there twice.
    assert_eq!(jobs.len(), ALL);
    assert!(jobs.values().all(|job| job["state"] == "succeeded"));
    let calls = api.calls();
    let mut of_job: BTreeMap<&str, u64> = BTreeMap::new();
    for call in &calls {
        let known = of_job.insert(&call.job, number(call));
        assert!(known.is_none_or(|known| known == number(call)), "{call:?}");
        assert_eq!(call.priority, priority(number(call)));
    }
    assert_eq!((of_job.len(), numbers(&calls).len()), (ALL, ALL), "a message is one job");
    // A call is repeated only where a kill cut it off: each attempt is on record.
    for (id, job) in &jobs {
        let made = calls.iter().filter(|call| call.job == *id).count();
        let starts = books::events(job).into_iter().filter(|event| *event == "sent").count();
        assert!(made <= starts && made >= 1, "{made} calls: {job}");
        let cut_off = books::events(job).into_iter().filter(|event| *event == "unknown").count();
        assert_eq!(starts, 1 + cut_off, "{job}");
    }
    let lanes = Lanes::of(&jobs);
    lanes.check();
    let position = 1 + calls.iter().rposition(|call| call.priority == "HIGH").unwrap();
    let repeated = calls.len() - ALL;
    println!(
        "{ALL} messages, two SIGKILLs: taken in within {:.1} s ({cut} were not deleted at the \
         first SIGKILL), {ALL} jobs, {} calls ({repeated} cut off and repeated), {:.1} s in all; \
         {}; the last HIGH call was the {position}th at the ERP",
        taken_in.as_secs_f64(),
        calls.len(),
        started.elapsed().as_secs_f64(),
        lanes.told()
    );
    assert!(daemon.terminate().success());
}

fn number(call: &Call) -> u64 {
    let body: Value = serde_json::from_str(&call.body).unwrap();
    body["number"].as_u64().unwrap()
}

fn numbers(calls: &[Call]) -> BTreeSet<u64> {
    calls.iter().map(number).collect()
}

fn priority(number: u64) -> &'static str {
    let mut first = 0;
    for (priority, count) in MESSAGES {
        first += count as u64;
        if number < first {
            return priority;
        }
    }
    panic!("nobody sent {number}")
}

/// Who started when, and who waited then: from the jobs' histories.
struct Lanes {
    /// From when each HIGH job could go until it first went, in the broker's own times.
    high: Vec<(String, String)>,
    lower: Vec<Start>,
}

struct Start {
    at: String,
    passed_over: u64,
    job: Value,
}

impl Lanes {
    fn of(jobs: &BTreeMap<String, Value>) -> Lanes {
        let mut lanes = Lanes { high: Vec::new(), lower: Vec::new() };
        for job in jobs.values() {
            let history = job["history"].as_array().unwrap();
            assert_eq!(
                (&history[0]["event"], &history[1]["event"]),
                (&"enqueued".into(), &"sent".into())
            );
            let at = |event: usize| history[event]["at"].as_str().unwrap().to_owned();
            if job["priority"] == "HIGH" {
                lanes.high.push((at(0), at(1)));
            } else {
                let passed_over = history[1]["passed_over"].as_u64().unwrap_or(0);
                lanes.lower.push(Start { at: at(1), passed_over, job: job.clone() });
            }
        }
        lanes
    }

    /// How many HIGH jobs waited at the broker when this one started.
    fn waiting(&self, start: &Start) -> usize {
        self.high.iter().filter(|(from, to)| *from < start.at && start.at < *to).count()
    }

    /// A lower job starts while a HIGH one waits only if it is its turn: it was passed over
    /// `max_deferrals` times.
    fn check(&self) {
        for start in &self.lower {
            assert!(
                self.waiting(start) == 0 || start.passed_over >= MAX_DEFERRALS,
                "{} HIGH jobs waited when this one started: {}",
                self.waiting(start),
                start.job
            );
        }
        // And so often at most: of each lower line one for every `max_deferrals` HIGH ones, one
        // more because BATCH is passed over by NORMAL too, and one because of calls that the kill
        // cut off and that went twice.
        let (turns, _) = self.before_the_last_high();
        let most = 2 * (2 + self.high.len() as u64 / MAX_DEFERRALS);
        assert!(turns > 0 && turns as u64 <= most, "{turns} turns");
    }

    /// Lower jobs that started before the last HIGH did: in their turn, and while none waited.
    fn before_the_last_high(&self) -> (usize, usize) {
        let last = self.high.iter().map(|(_, to)| to).max().unwrap();
        let before: Vec<&Start> = self.lower.iter().filter(|start| start.at < *last).collect();
        let turns = before.iter().filter(|start| self.waiting(start) > 0).count();
        (turns, before.len() - turns)
    }

    fn told(&self) -> String {
        let (turns, others) = self.before_the_last_high();
        format!(
            "until the last of {} HIGH started, {turns} lower ones did in their turn and {others} \
             while no HIGH waited",
            self.high.len(),
        )
    }
}
