//! Tests of the store as a whole.

mod against_model;
mod ahead;
mod check;
mod clearing;
mod figures;
mod file;
mod fixture;
mod format;
mod power;
mod refusals;
mod seal;
mod weather;
mod worker;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{Database, StorageBackend};

use super::checkpoint::Limits;
use super::disk::Disk;
use super::journal::{Directory, Piece, Volume};
use super::open::{check_format, open_journal};
use super::{Options, Store};
use crate::broker::change::{Change, Insert, Move, Recovered};
use crate::broker::job::{
    End, Event, Happening, Header, JobId, Place, Priority, Seat, Source, TargetId,
};
use crate::broker::payload::Request;
use crate::broker::time::Wall;

const ERP: TargetId = TargetId(0);

fn options(path: impl AsRef<Path>) -> Options {
    Options { path: path.as_ref().to_owned(), cache: 8 << 20, min_free_disk: 0, keys: None }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn open(path: impl AsRef<Path>) -> (Store, Recovered) {
    Store::open(&options(path), &names(&["erp"])).unwrap()
}

/// As [`open`], but a commit does not wait for the disk. What it wrote is there for whoever opens
/// the file next, and that is all that these tests ask.
fn open_without_waiting(path: &Path, targets: &[String]) -> (Store, Recovered) {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let backend = Unsynced(FileBackend::new(file.unwrap()).unwrap());
    let database = Database::builder().create_with_backend(backend).unwrap();
    check_format(path, &database).unwrap();
    let volume = Arc::new(UnsyncedDirectory(open_journal(path).unwrap()));
    let disk = Disk::new(path.to_owned(), 0);
    let (store, recovered) =
        Store::over(database, volume, disk, Limits::default(), targets).unwrap();
    (store, Recovered { lived: Default::default(), ..recovered })
}

#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

#[derive(Debug)]
struct UnsyncedDirectory(Directory);

impl Volume for UnsyncedDirectory {
    fn list(&self) -> io::Result<Vec<u64>> {
        self.0.list()
    }
    fn create(&self, number: u64) -> io::Result<Arc<dyn Piece>> {
        Ok(Arc::new(UnsyncedPiece(self.0.create(number)?)))
    }
    fn open(&self, number: u64) -> io::Result<Arc<dyn Piece>> {
        Ok(Arc::new(UnsyncedPiece(self.0.open(number)?)))
    }
    fn remove(&self, number: u64) -> io::Result<()> {
        self.0.remove(number)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct UnsyncedPiece(Arc<dyn Piece>);

impl Piece for UnsyncedPiece {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, bytes)
    }
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write(offset, bytes)
    }
    fn cut(&self, length: u64) -> io::Result<()> {
        self.0.cut(length)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn at(millis: u64) -> Wall {
    Wall::from_millis(millis)
}

fn header(id: u128) -> Header {
    Header {
        id: JobId(id),
        target: ERP,
        priority: Priority::Normal,
        seat: Seat(id as u64),
        enqueued_at: at(1_000),
        ready_at: at(1_000),
        deadline: None,
        attempts: 0,
        spent: 0,
        refusals: 0,
        first_sent_at: None,
        max_attempts: None,
        owed: crate::broker::job::Owed::Nothing,
        course: Default::default(),
        group: None,
        flow: None,
        tag: Default::default(),
        callback: None,
    }
}

fn request(body: usize) -> Arc<Request> {
    Arc::new(Request {
        method: "POST".into(),
        path: "/orders".into(),
        headers: vec![("content-type".into(), Bytes::from_static(b"application/json"))],
        body: Bytes::from(vec![b'x'; body]),
        idempotency_key: None,
        live: false,
        task_token: None,
    })
}

fn insert(header: Header) -> Change {
    let events = vec![Event { at: header.enqueued_at, what: Happening::Enqueued }];
    let (place, request) = (Place::Queued, request(10));
    Change::Insert(Box::new(Insert {
        header,
        place,
        request,
        claim: None,
        source: Source::Api,
        events,
    }))
}

/// Of a job that keeps its seat and priority.
fn step(header: Header, from: Place, to: Place) -> Change {
    Change::Move(Box::new(Move {
        from,
        from_priority: header.priority,
        from_seat: header.seat,
        from_owed: crate::broker::job::Owed::Nothing,
        from_stand: Default::default(),
        to,
        header,
        events: vec![Event { at: at(2_000), what: Happening::Due }],
        answer: None,
    }))
}

const RUNNING: Place = Place::Running { started: Wall::EPOCH };
const SUCCEEDED: Place = Place::Ended { end: End::Succeeded, at: Wall::EPOCH };
