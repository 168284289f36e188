//! What each delivery promises, by the target's own books: a target that does the work and then
//! breaks the connection in a fifth of its requests, and a broker that is killed meanwhile.

use serde_json::{Value, json};

use crate::orders::{Order, Orders};
use crate::support::{Client, Daemon};

struct Plan {
    delivery: &'static str,
    path: &'static str,
    jobs: usize,
    kills: usize,
}

/// Each job as it ended, with what the target knows of it.
async fn run(plan: &Plan) -> Vec<(Value, Order)> {
    let api = Orders::start().await;
    let targets = format!(
        "[targets.erp]\nurl = \"http://{}\"\ntimeout = \"5s\"\ndelivery = \"{}\"\n\
         completion = {{ every = \"30ms\", done = {{ body_pointer = \"/state\", \
         body_equals = \"finished\" }} }}\n\
         [targets.erp.limit]\nrate = \"600/s\"\nburst = 8\nmax_concurrent = 32\n\
         hold_after_timeout = \"500ms\"\n\
         [targets.erp.retry]\nmin_backoff = \"50ms\"\nmax_backoff = \"500ms\"\nmax_attempts = 50\n\
         [targets.erp.verify]\npath = \"/orders/{{idempotency_key}}\"\ndone = \"200\"\n\
         not_done = \"404\"\n",
        api.address, plan.delivery
    );
    let mut daemon = Daemon::start(&targets);
    let client = Client::new();
    let mut ids = Vec::new();
    for first in (0..plan.jobs).step_by(100) {
        let numbers = first..(first + 100).min(plan.jobs);
        let jobs: Vec<Value> = numbers
            .map(|number| {
                json!({
                    "target": "erp",
                    "path": plan.path,
                    "body": {"number": number},
                    "dedup_id": format!("order-{number}"),
                })
            })
            .collect();
        let answer = client.post(daemon.data, "/v1/jobs/batch", &Value::from(jobs)).await.json();
        let taken = answer["jobs"].as_array().unwrap().iter();
        ids.extend(taken.map(|job| job["id"].as_str().unwrap().to_owned()));
    }
    for kill in 1..=plan.kills {
        // By progress at the target: each kill meets a broker with requests under way.
        let mark = u32::try_from(kill * plan.jobs / (plan.kills + 1)).unwrap();
        api.until_arrivals(mark).await;
        daemon.kill();
        daemon.restart();
    }
    let mut ended = Vec::new();
    for id in &ids {
        ended.push(client.ended(daemon.data, id).await);
    }
    let orders = api.orders();
    let (mut arrivals, mut works, mut broken, mut asked) = (0, 0, 0, 0);
    let told: Vec<(Value, Order)> = ended
        .into_iter()
        .enumerate()
        .map(|(number, job)| {
            let order = orders.get(&format!("order-{number}")).cloned().unwrap_or_default();
            arrivals += order.arrivals;
            works += order.works;
            broken += order.broken;
            asked += order.asked;
            (job, order)
        })
        .collect();
    let count = |state: &str| told.iter().filter(|(job, _)| job["state"] == state).count();
    println!(
        "{} {}: {} jobs, {} kills: {} succeeded, {} failed; {arrivals} arrivals, {works} works, \
         {broken} broken, {asked} questions",
        plan.delivery,
        plan.path,
        plan.jobs,
        plan.kills,
        count("succeeded"),
        count("failed"),
    );
    assert!(broken as usize > plan.jobs / 6, "the target broke {broken} of {arrivals}");
    assert!(daemon.terminate().success());
    told
}

async fn at_most_once(jobs: usize, kills: usize) {
    let told = run(&Plan { delivery: "at-most-once", path: "/orders", jobs, kills }).await;
    let mut unknown = 0;
    for (job, order) in &told {
        // Nothing was refused after it arrived, so whatever arrived twice came after an unknown
        // outcome.
        assert!(order.arrivals <= 1, "{order:?}: {job}");
        if job["state"] == "failed" {
            assert_eq!(job["error"]["code"], "Tollgate.OutcomeUnknown", "{job}");
            unknown += 1;
        } else {
            assert_eq!((&job["state"], order.works, order.broken), (&json!("succeeded"), 1, 0));
        }
    }
    assert!(unknown > jobs / 6, "{unknown} of unknown outcome");
}

async fn verify(jobs: usize, kills: usize) {
    let told = run(&Plan { delivery: "verify", path: "/orders", jobs, kills }).await;
    for (job, order) in &told {
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(order.works, 1, "{order:?}: {job}");
        assert_eq!(order.job, job["id"].as_str().unwrap());
        // What the verify request was answered is the result.
        let body = &job["result"]["ResponseBody"];
        if order.broken > 0 && order.works == 1 && job["questions"].as_u64() >= Some(1) {
            assert!(body["works"] == 1 || body["bytes"].is_u64(), "{job}");
        }
    }
    assert!(told.iter().any(|(_, order)| order.asked > 0));
}

async fn at_least_once(jobs: usize, kills: usize) {
    let told = run(&Plan { delivery: "at-least-once", path: "/orders", jobs, kills }).await;
    for (job, order) in &told {
        assert_eq!(job["state"], "succeeded", "{job}");
        // Books are by Idempotency-Key: every repeat came with the same one.
        assert!(order.works >= 1 && order.arrivals > order.broken, "{order:?}: {job}");
        assert!(job["attempts"].as_u64().unwrap() >= u64::from(order.arrivals), "{job}");
    }
    assert!(told.iter().any(|(_, order)| order.works > 1), "some were done twice");
}

/// Work that a 202 begins, and a broker that is killed between asking how it goes.
async fn polled(jobs: usize, kills: usize) {
    let told = run(&Plan { delivery: "verify", path: "/slow", jobs, kills }).await;
    for (job, order) in &told {
        assert_eq!((&job["state"], order.works), (&json!("succeeded"), 1), "{order:?}: {job}");
        let body = &job["result"]["ResponseBody"];
        assert!(body["state"] == "finished" || body["works"] == 1, "{job}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_once_over_a_kill() {
    at_most_once(400, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_over_a_kill() {
    verify(400, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_over_a_kill() {
    at_least_once(400, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polled_over_a_kill() {
    polled(200, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute"]
async fn five_thousand_of_each_over_five_kills() {
    at_most_once(5_000, 5).await;
    verify(5_000, 5).await;
    at_least_once(5_000, 5).await;
    polled(5_000, 5).await;
}
