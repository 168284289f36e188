//! A disk that is full, and one that fails: intake stops with a word, what was acknowledged stays,
//! and the daemon goes on or leaves with a code that a supervisor starts it again on.

use std::collections::BTreeSet;

use serde_json::json;
use tollgate::demo::auditor::Books;
use tollgate::demo::fragile_api::{FragileApi, Fragility};

use crate::support::broken_disk::{Saboteur, SmallDisk};
use crate::support::{Client, Daemon, erp, nap};

/// Jobs that were acknowledged, and the first answer that was not 202.
struct Taken {
    ids: BTreeSet<String>,
    /// `None` where there was none, because the daemon went away.
    no: Option<(u16, String)>,
}

async fn submit_until_refused(client: &Client, daemon: &Daemon) -> Taken {
    let job = json!({"target": "erp", "path": "/x", "body": {"text": "x".repeat(100_000)}});
    let mut ids = BTreeSet::new();
    loop {
        let answer = client.send("POST", daemon.data, "/v1/jobs", &[], job.to_string()).await;
        match answer {
            Ok(answer) if answer.status == 202 => {
                let new = ids.insert(answer.json()["id"].as_str().unwrap().to_owned());
                assert!(new, "one id for two jobs");
            }
            Ok(answer) => {
                let no = Some((answer.status, answer.json()["type"].as_str().unwrap().to_owned()));
                return Taken { ids, no };
            }
            Err(_) => return Taken { ids, no: None },
        }
    }
}

/// Every acknowledged job ends, and is there once.
async fn all_end(client: &Client, daemon: &Daemon, ids: &BTreeSet<String>, api: &FragileApi) {
    client.post(daemon.admin, "/v1/targets/erp/resume", &json!({})).await;
    for id in ids {
        let job = client.ended(daemon.data, id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        let arrivals = api.auditor().read(|books| books.job(id.parse().unwrap()).unwrap().arrivals);
        assert_eq!(arrivals, 1, "{job}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_room_is_507_until_there_is_room_again() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let mut daemon = Daemon::start(&erp(api.address(), "1000/s", "burst = 10"));
    // Before it looks for the first time: what others write it sees within a second only, and a fast
    // machine fills a small disk sooner.
    let ballast = disk.fill_up_to(12 * 1_024);
    daemon.move_store(&disk.path("tollgate.redb"), "8MiB");
    let client = Client::new();
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;

    let Taken { mut ids, no } = submit_until_refused(&client, &daemon).await;
    assert_eq!(no, Some((507, "urn:tollgate:problem:disk-full".into())));
    assert!(!ids.is_empty(), "nothing was taken at all");
    let ready = client.get(daemon.admin, "/readyz").await;
    assert_eq!(ready.status, 503, "{:?}", ready.json());
    // What is in is worked on.
    all_end(&client, &daemon, &ids, &api).await;

    // Room again: it takes jobs without a restart.
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    std::fs::remove_file(ballast).unwrap();
    let job = json!({"target": "erp", "path": "/x"});
    loop {
        let answer = client.post(daemon.data, "/v1/jobs", &job).await;
        if answer.status == 202 {
            ids.insert(answer.json()["id"].as_str().unwrap().to_owned());
            break;
        }
        assert_eq!(answer.status, 507);
        nap().await;
    }
    all_end(&client, &daemon, &ids, &api).await;
    assert_eq!(client.get(daemon.admin, "/readyz").await.status, 200);
    assert!(daemon.terminate().success());
}

/// The store failed under load; the daemon said why and left. What was acknowledged is there when
/// it is started again. Jobs that nobody
/// was told of may be there too.
async fn starts_again(client: &Client, daemon: &mut Daemon, taken: Taken, why: &str) {
    // In between the answer is that nobody knows; more often the connection is gone.
    let unknown = |(status, problem): &(u16, String)| {
        *status == 503 && problem == "urn:tollgate:problem:stopped"
    };
    assert!(taken.no.as_ref().is_none_or(unknown), "{:?}", taken.no);
    assert!(!taken.ids.is_empty(), "nothing was taken at all");
    assert_eq!(daemon.exit().code(), Some(1));
    let log = daemon.log();
    assert!(log.contains("what was acknowledged is safe") && log.contains(why), "{log}");
    println!("{} jobs, then {:?}", taken.ids.len(), taken.no);
    daemon.restart();
    for id in &taken.ids {
        let job = client.get(daemon.data, &format!("/v1/jobs/{id}")).await;
        assert_eq!(job.status, 200, "lost: {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room_at_all_stops_the_daemon_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount(12) else { return };
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let mut daemon = Daemon::start(&erp(api.address(), "1000/s", "burst = 10"));
    // Somebody has switched the reserve off, or the disk fills up faster than one looks.
    daemon.move_store(&disk.path("tollgate.redb"), "0B");
    let client = Client::new();
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    let ballast = disk.fill_up_to(4 * 1_024);
    let taken = submit_until_refused(&client, &daemon).await;
    let ids = taken.ids.clone();
    // The one thing to do, as the log says: make room, start again.
    std::fs::remove_file(&ballast).unwrap();
    let why = "there is no room left for the store";
    starts_again(&client, &mut daemon, taken, why).await;
    all_end(&client, &daemon, &ids, &api).await;
    let seen = api.auditor().read(|books| books.jobs().count());
    assert!(seen <= ids.len() + 1, "{seen} jobs, {} were acknowledged", ids.len());
    assert!(daemon.terminate().success());
}

async fn a_call_fails(inject: &str, why: &str) {
    let api = FragileApi::start(Fragility::SOUND).await.unwrap();
    let mut daemon = Daemon::start(&erp(api.address(), "1000/s", "burst = 10"));
    let client = Client::new();
    client.post(daemon.admin, "/v1/targets/erp/pause", &json!({})).await;
    let Some(_saboteur) = Saboteur::attach(&daemon, inject) else { return };
    let taken = submit_until_refused(&client, &daemon).await;
    let ids = taken.ids.clone();
    starts_again(&client, &mut daemon, taken, why).await;
    all_end(&client, &daemon, &ids, &api).await;
    assert_eq!(api.auditor().read(Books::repeats), 0);
    assert!(daemon.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_stops_the_daemon_and_loses_nothing() {
    a_call_fails("fdatasync:error=EIO:when=20", "cannot be read or written").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_stops_the_daemon_and_loses_nothing() {
    a_call_fails("pwrite64:error=ENOSPC:when=40", "there is no room left for the store").await;
}

/// Of the index: about 80 of these jobs go between two checkpoints, with one write each.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_fails_stops_the_daemon_and_loses_nothing() {
    a_call_fails("pwrite64:error=ENOSPC:when=95", "there is no room left for the store").await;
}
