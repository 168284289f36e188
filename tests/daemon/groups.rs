//! Groups over SIGKILL: by the books of the API each group was worked off in the order in which it
//! was acknowledged, one at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::broker::job::JobId;
use tollgate::demo::auditor::Books;
use tollgate::demo::fragile_api::{Failures, FragileApi, Fragility, Latency};

use crate::support::{Client, Daemon, erp};

struct Plan {
    groups: usize,
    jobs_each: usize,
    per_second: usize,
    kills: usize,
}

async fn run(plan: Plan) {
    let api = FragileApi::start(Fragility {
        seed: 11,
        latency: Latency::Uniform {
            least: Duration::from_millis(1),
            most: Duration::from_millis(20),
        },
        // 30 in a hundred.
        failures: Failures { error: 150, broken: 100, half: 50, ..Failures::NONE },
        ..Fragility::SOUND
    })
    .await
    .unwrap();
    let more = "max_concurrent = 64\n[targets.erp.retry]\nmin_backoff = \"20ms\"\n\
                max_backoff = \"200ms\"\nmax_attempts = 100\n";
    let mut daemon = Daemon::start(&erp(api.address(), &format!("{}/s", plan.per_second), more));
    let client = Client::new();
    let mut places: BTreeMap<JobId, (usize, usize)> = BTreeMap::new();
    let mut kills = 0;
    for place in 0..plan.jobs_each {
        // A third of the kills while jobs come in, the rest while they are worked off.
        if kills < plan.kills / 3 + 1 && place == plan.jobs_each / 2 {
            kills += 1;
            daemon.kill();
            daemon.restart();
        }
        let priorities = ["HIGH", "NORMAL", "BATCH"];
        let batch: Vec<Value> = (0..plan.groups)
            .map(|group| {
                json!({
                    "target": "erp", "path": format!("/{group}/{place}"),
                    "group": format!("group-{group}"),
                    // A later one of a higher priority goes later all the same.
                    "priority": priorities[(group + plan.jobs_each - place) % 3],
                })
            })
            .collect();
        let answer = client.post(daemon.data, "/v1/jobs/batch", &batch.into()).await.json();
        for (group, job) in answer["jobs"].as_array().unwrap().iter().enumerate() {
            let id = job["id"].as_str().unwrap_or_else(|| panic!("no job: {job}"));
            places.insert(id.parse().unwrap(), (group, place));
        }
    }
    let all = (plan.groups * plan.jobs_each) as u64;
    while kills < plan.kills {
        // By progress at the target: each kill meets a daemon at work.
        let mark = all * (kills as u64 + 1) / (plan.kills as u64 + 1);
        let came = |_: &Value| api.auditor().read(Books::total) >= mark;
        client.until(daemon.admin, "/v1/targets/erp", came).await;
        kills += 1;
        daemon.kill();
        daemon.restart();
    }
    for id in places.keys() {
        let job = client.ended(daemon.data, &id.to_string()).await;
        assert_eq!(job["state"], "succeeded", "{job}");
    }
    api.auditor().read(|books| {
        let mut last: BTreeMap<usize, usize> = BTreeMap::new();
        for arrival in books.arrivals() {
            let id = arrival.caller.job.expect("the daemon names its jobs");
            let (group, place) = places[&id];
            let last = last.entry(group).or_insert(0);
            assert!(*last <= place, "group {group}: {place} came after {last}");
            assert!(place <= *last + 1, "group {group}: {place} came when {last} was the last");
            *last = place;
        }
        println!(
            "{} groups of {} jobs over {} kills: {} requests, {} of them repeats, every group in \
             order",
            plan.groups,
            plan.jobs_each,
            plan.kills,
            books.total(),
            books.repeats(),
        );
    });
    assert!(daemon.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_group_is_seen_in_order_over_three_kills() {
    run(Plan { groups: 30, jobs_each: 12, per_second: 400, kills: 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a minute"]
async fn two_hundred_groups_of_fifty_over_three_kills() {
    run(Plan { groups: 200, jobs_each: 50, per_second: 1_000, kills: 3 }).await;
}

/// A dead head holds its group, says so wherever one would look, and lets it go when it is redriven.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_held_until_its_dead_job_is_redriven() {
    let api = FragileApi::start(Fragility {
        failures: Failures { error: 1_000, ..Failures::NONE },
        ..Fragility::SOUND
    })
    .await
    .unwrap();
    let mut daemon = Daemon::start(&hold(&api));
    let client = Client::new();
    let job = |path: &str| json!({"target": "erp", "path": path, "group": "customer 42", "max_attempts": 1});
    let first = client.submit(daemon.data, &job("/first")).await;
    let second = client.submit(daemon.data, &job("/second")).await;
    assert_eq!(client.ended(daemon.data, &first).await["holds_group"], true);
    let follower = client.get(daemon.data, &format!("/v1/jobs/{second}")).await.json();
    assert_eq!((&follower["state"], &follower["behind"]), (&json!("queued"), &json!(first)));
    daemon.kill();
    daemon.restart();
    let target = client.get(daemon.admin, "/v1/targets/erp").await.json();
    assert_eq!((&target["held_groups"], &target["dead"]), (&json!(1), &json!(1)));
    let metrics = client.get(daemon.admin, "/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(metrics.contains("tollgate_groups_held{target=\"erp\"} 1"), "{metrics}");
    let list = "/v1/jobs?target=erp&state=queued&group=customer%2042";
    let listed = client.get(daemon.admin, list).await.json();
    assert_eq!(listed["jobs"][0]["id"], json!(second));
    // What came second does not go before what came first is seen to.
    let sound = FragileApi::start(Fragility::SOUND).await.unwrap();
    daemon.terminate();
    daemon.configure(&hold(&sound));
    daemon.restart();
    let redrive = format!("/v1/jobs/{first}/redrive");
    assert_eq!(client.post(daemon.admin, &redrive, &json!({})).await.status, 200);
    for id in [&first, &second] {
        assert_eq!(client.ended(daemon.data, id).await["state"], "succeeded");
    }
    let order: Vec<String> = sound.auditor().read(|books| {
        let jobs = books.arrivals().iter().filter_map(|arrival| arrival.caller.job);
        jobs.map(|id| id.to_string()).collect()
    });
    assert_eq!(order, [first, second]);
}

fn hold(api: &FragileApi) -> String {
    let address = api.address();
    format!(
        "[targets.erp]\nurl = \"http://{address}\"\non_group_failure = \"hold\"\n\
         [targets.erp.limit]\nrate = \"100/s\"\n"
    )
}
