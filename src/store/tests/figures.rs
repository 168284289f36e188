//! How fast and how large. Not a test: it prints figures to compare.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{Database, StorageBackend};

use super::{RUNNING, SUCCEEDED, header, names, request};
use crate::broker::change::{Change, Insert, Load, Move, Turn};
use crate::broker::group::Stand;
use crate::broker::job::{Event, Happening, Header, Place, Priority, Source};
use crate::broker::payload::{Answer, Request};
use crate::broker::time::Wall;
use crate::store::Store;
use crate::store::checkpoint::Limits;
use crate::store::disk::Disk;
use crate::store::open::{check_format, open_journal};

/// `cargo test --release --lib store::tests::figures -- --ignored --nocapture`
///
/// Each turn takes a batch in, starts the batch before it, and ends the one before that with a
/// short answer: all three changes of a job. The second figure drains the jobs as retention does,
/// the third opens the file with a backlog.
#[test]
#[ignore = "prints figures; for a release build"]
fn jobs_a_second() {
    println!("batch   jobs/s  us/job  commits/s  written/job  synced/commit  file/job");
    for (batch, jobs) in [(1, 3_000), (16, 30_000), (64, 60_000), (256, 100_000)] {
        life_of_jobs(batch, jobs);
    }
    backlog(200_000);
}

fn life_of_jobs(batch: u64, jobs: u64) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let backend = Counting::new(&path);
    let (written, synced) = (backend.written.clone(), backend.synced.clone());
    let mut store = over(backend);
    let request = request(1024);
    let answer =
        Arc::new(Answer { status: 200, body: Bytes::from(vec![b'{'; 200]), ..Answer::default() });
    let began = Instant::now();
    let commits = jobs.div_ceil(batch) + 2;
    for turn in 0..commits {
        let mut changes = Vec::with_capacity(3 * batch as usize);
        let of = |batches_ago: u64| {
            let first = turn.checked_sub(batches_ago).map(|turn| turn * batch);
            let last = first.map_or(0, |first| (first + batch).min(jobs));
            (first.unwrap_or(0)..last).map(job)
        };
        changes.extend(of(0).map(|header| insert(header, &request)));
        changes.extend(of(1).map(|header| {
            let sent = Happening::Sent { attempt: 1, passed_over: 0 };
            step(header, Place::Queued, RUNNING, sent, None)
        }));
        changes.extend(of(2).map(|header| {
            let done = Happening::Done { attempt: 1, status: 200 };
            step(header, RUNNING, SUCCEEDED, done, Some(answer.clone()))
        }));
        let started = store.commit(Turn(turn), &changes).unwrap();
        assert_eq!(started.len(), of(1).count());
    }
    let took = began.elapsed().as_secs_f64();
    let per_job = |bytes: u64| bytes / jobs;
    println!(
        "{batch:5} {:8.0} {:7.1} {:10.0} {:12} {:14.1} {:9}",
        jobs as f64 / took,
        took / jobs as f64 * 1e6,
        commits as f64 / took,
        per_job(written.load(Ordering::Relaxed)),
        synced.load(Ordering::Relaxed) as f64 / commits as f64,
        per_job(store.reader().space().bytes),
    );
    print_stats(&store);
    let began = Instant::now();
    let first = turns_of_deletes(&mut store, jobs, batch.max(64));
    println!("      deleted {:.0} jobs/s", first as f64 / began.elapsed().as_secs_f64());
}

fn print_stats(store: &Store) {
    let txn = store.database.begin_write().unwrap();
    let stats = txn.stats().unwrap();
    println!(
        "      MB stored {:.1} metadata {:.1} fragmented {:.1} allocated {:.1}",
        stats.stored_bytes() as f64 / 1e6,
        stats.metadata_bytes() as f64 / 1e6,
        stats.fragmented_bytes() as f64 / 1e6,
        stats.allocated_pages() as f64 * stats.page_size() as f64 / 1e6,
    );
}

fn turns_of_deletes(store: &mut Store, jobs: u64, batch: u64) -> u64 {
    for from in (0..jobs).step_by(batch as usize) {
        let delete = |header: Header| Change::Delete {
            id: header.id,
            target: header.target,
            priority: header.priority,
            place: SUCCEEDED,
            stand: Stand::Gone,
        };
        let changes: Vec<Change> = (from..(from + batch).min(jobs)).map(job).map(delete).collect();
        store.commit(Turn(from), &changes).unwrap();
    }
    jobs
}

fn backlog(jobs: u64) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut store = over(Counting::new(&path));
    let request = request(1024);
    for from in (0..jobs).step_by(256) {
        let last = (from + 256).min(jobs);
        let changes: Vec<Change> = (from..last).map(|n| insert(job(n), &request)).collect();
        store.commit(Turn(from), &changes).unwrap();
    }
    let load =
        Load::Ready { target: super::ERP, priority: Priority::Normal, after: None, limit: 1_000 };
    let began = Instant::now();
    store.load(&load).unwrap();
    println!("backlog of {jobs}: a window of 1000 in {:?}", began.elapsed());
    println!("  {} bytes of file a job", store.reader().space().bytes / jobs);
    print_stats(&store);
    let copy = directory.path().join("copy");
    super::against_model::copy_store(&path, &copy);
    File::open(&copy).unwrap().sync_all().unwrap();
    let began = Instant::now();
    let (copy, _) = Store::open(&super::options(&copy), &[]).unwrap();
    println!("  opened after a crash in {:?}", began.elapsed());
    drop(copy);
}

fn job(number: u64) -> Header {
    let mut header = header(u128::from(number));
    // As the UUIDv7s of one process: in order, then chance.
    let chance = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_9e37_79b9_7f4a_7c15);
    header.id.0 = 0x0197 << 112 | u128::from(number) << 64 | chance >> 64;
    header.enqueued_at = Wall::from_millis(1_700_000_000_000 + number);
    header
}

fn insert(header: Header, request: &Arc<Request>) -> Change {
    let events = vec![Event { at: header.enqueued_at, what: Happening::Enqueued }];
    let (place, request) = (Place::Queued, request.clone());
    Change::Insert(Box::new(Insert {
        header,
        place,
        request,
        claim: None,
        source: Source::Api,
        events,
    }))
}

fn step(
    header: Header,
    from: Place,
    to: Place,
    what: Happening,
    answer: Option<Arc<Answer>>,
) -> Change {
    let events = vec![Event { at: header.enqueued_at, what }];
    let (from_priority, from_seat) = (header.priority, header.seat);
    Change::Move(Box::new(Move {
        header,
        from,
        from_priority,
        from_seat,
        from_owed: crate::broker::job::Owed::Nothing,
        from_stand: Default::default(),
        to,
        events,
        answer,
    }))
}

fn over(backend: Counting) -> Store {
    let path = backend.path.clone();
    let database =
        Database::builder().set_cache_size(64 << 20).create_with_backend(backend).unwrap();
    check_format(&path, &database).unwrap();
    let volume = Arc::new(open_journal(&path).unwrap());
    let disk = Disk::new(path, 0);
    Store::over(database, volume, disk, Limits::default(), &names(&["erp"])).unwrap().0
}

/// redb's own backend, with what it is asked to write.
#[derive(Debug)]
struct Counting {
    path: std::path::PathBuf,
    file: FileBackend,
    written: Arc<AtomicU64>,
    synced: Arc<AtomicU64>,
}

impl Counting {
    fn new(path: &std::path::Path) -> Counting {
        let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        let file = FileBackend::new(file).unwrap();
        let (written, synced) = (Arc::default(), Arc::default());
        Counting { path: path.to_owned(), file, written, synced }
    }
}

impl StorageBackend for Counting {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.synced.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.file.write(offset, data)
    }
}
