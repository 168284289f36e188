//! The same over the store that the daemon uses.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::world::{World, expired, failed, id, now, record};
use crate::broker::change::{Change, Insert, Move, Turn};
use crate::broker::job::{Place, Priority, Source};
use crate::broker::payload::{Answer, Request};
use crate::store::{JobRecord, Store};

fn insert(record: &JobRecord) -> Change {
    Change::Insert(Box::new(Insert {
        source: Source::Api,
        header: record.header.clone(),
        place: Place::Queued,
        request: Arc::new(Request {
            method: "PUT".into(),
            path: "/orders/7".into(),
            body: Bytes::from_static(b"seven"),
            ..Request::default()
        }),
        claim: None,
        events: record.history.clone(),
    }))
}

fn go(record: &JobRecord, from: Place, to: Place, answer: Option<Answer>) -> Change {
    Change::Move(Box::new(Move {
        header: record.header.clone(),
        from,
        from_priority: record.header.priority,
        from_seat: record.header.seat,
        from_owed: crate::broker::job::Owed::Nothing,
        from_stand: Default::default(),
        to,
        events: Vec::new(),
        answer: answer.map(Arc::new),
    }))
}

/// Jobs 1 to 6 are queued, 7 to 9 are dead.
fn fill(store: &mut Store) {
    let running = Place::Running { started: now().wall };
    for n in 1..=9 {
        let job = record(n, Place::Queued);
        let turn = |step: u64| Turn(job.header.seat.0 * 10 + step);
        store.commit(turn(1), &[insert(&job)]).unwrap();
        if n > 6 {
            store.commit(turn(2), &[go(&job, Place::Queued, running, None)]).unwrap();
            let answer = Answer { status: 404, body: Bytes::from("no"), ..Answer::default() };
            store.commit(turn(3), &[go(&job, running, failed(), Some(answer))]).unwrap();
        }
    }
}

fn ids(page: &Value) -> Vec<String> {
    let jobs = page["jobs"].as_array().unwrap();
    jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

fn names(numbers: impl IntoIterator<Item = u128>) -> Vec<String> {
    numbers.into_iter().map(|n| id(n).to_string()).collect()
}

#[tokio::test]
async fn jobs_and_dead_jobs_are_read_page_by_page() {
    let world = World::on_disk(fill);
    let page = world.get("/v1/jobs?limit=4&target=erp").await.json();
    assert_eq!(ids(&page), names(1..=4));
    let next = page["next"].as_str().unwrap();
    let rest = world.get(&format!("/v1/jobs?target=erp&after={next}")).await.json();
    assert_eq!((ids(&rest), &rest["next"]), (names(5..=9), &Value::Null));
    let queued = world.get("/v1/jobs?state=queued").await.json();
    assert_eq!(ids(&queued), names(1..=6));

    let dead = world.get("/v1/targets/erp/dead?limit=2").await.json();
    assert_eq!(ids(&dead), names([9, 8]));
    let next = dead["next"].as_str().unwrap();
    let last = world.get(&format!("/v1/targets/erp/dead?after={next}")).await.json();
    assert_eq!((ids(&last), &last["next"]), (names([7]), &Value::Null));
    // A place in one list is none in another.
    let detail = world.get(&format!("/v1/jobs?after={next}")).await.detail(400);
    assert!(detail.contains("`after`"), "{detail}");
    assert_eq!(world.get("/v1/jobs?after=x").await.detail(400), detail);
}

#[tokio::test]
async fn dead_jobs_are_filtered_and_counted_by_what_they_died_of() {
    let world = World::on_disk(|store| {
        fill(store);
        let mut job = record(10, Place::Queued);
        job.header.priority = Priority::High;
        let turn = |step: u64| Turn(job.header.seat.0 * 10 + step);
        store.commit(turn(1), &[insert(&job)]).unwrap();
        store.commit(turn(2), &[go(&job, Place::Queued, expired(), None)]).unwrap();
    });
    let list =
        async |query: &str| ids(&world.get(&format!("/v1/targets/erp/dead?{query}")).await.json());
    assert_eq!(list("error=Tollgate.Http.404").await, names([9, 8, 7]));
    assert_eq!(list("error=Tollgate.DeadlineExceeded").await, names([10]));
    assert_eq!(list("priority=high").await, names([10]));
    assert_eq!(list("priority=HIGH&error=Tollgate.Http.404").await, names([]));
    assert_eq!(list("error=nonsense").await, names([]));

    let counted = world.get("/v1/targets/erp/dead/errors").await.json();
    assert_eq!((&counted["looked_at"], &counted["next"]), (&4.into(), &Value::Null));
    let all = counted["errors"].as_array().unwrap();
    let said: Vec<_> = all.iter().map(|one| (&one["code"], &one["count"], &one["state"])).collect();
    let [rejected, late] = said[..] else { panic!("{counted}") };
    assert_eq!(rejected, (&"Tollgate.Http.404".into(), &3.into(), &"failed".into()));
    assert_eq!(late, (&"Tollgate.DeadlineExceeded".into(), &1.into(), &"expired".into()));
    assert_eq!(all[0]["example"], id(9).to_string());
    let few = "/v1/targets/erp/dead/errors?priority=high&older_than=0s&newer_than=36500d";
    let few = world.get(few).await.json();
    assert_eq!((&few["looked_at"], few["errors"].as_array().unwrap().len()), (&4.into(), 1));
    assert_eq!(few["errors"][0]["code"], "Tollgate.DeadlineExceeded");
    world.get("/v1/targets/erp/dead/errors?after=x").await.problem(400);
    let none = world.get("/v1/targets/shop/dead/errors").await.json();
    assert_eq!((&none["looked_at"], &none["next"]), (&0.into(), &Value::Null));
}

#[tokio::test]
async fn a_job_is_read_with_request_and_answer() {
    let world = World::on_disk(fill);
    let job = world.get(&format!("/v1/jobs/{}?request=true", id(8))).await.json();
    assert_eq!(job["state"], "failed");
    assert_eq!(job["request"]["method"], "PUT");
    assert_eq!(job["request"]["body"], "seven");
    world.get(&format!("/v1/jobs/{}", id(77))).await.problem(404);
}
