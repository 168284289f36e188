//! A disk in memory that keeps a tape of all that was done to it, and can be told to fail.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::tape::{Entry, File, Image, StateNo, Tape};
use crate::store::journal::{Piece, Volume};

/// What one can ask of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::tests) enum Deed {
    Read,
    Write,
    SetLen,
    Sync,
    /// A segment is made or removed, or its name made durable.
    Name,
}

/// The `nth` deed of this kind fails (from 0), and all of them after it if the fault `lasts`.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::tests) struct Fault {
    pub(in crate::store::tests) deed: Deed,
    pub(in crate::store::tests) nth: usize,
    /// The number that the system gives it (errno(3)).
    pub(in crate::store::tests) error: i32,
    pub(in crate::store::tests) lasts: bool,
}

/// Clones share the disk.
#[derive(Clone, Debug)]
pub(in crate::store::tests) struct Medium(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// As whoever reads it sees it; what a SIGKILL leaves.
    image: Image,
    tape: Option<Tape>,
    /// Nothing works any more: the process that used it is dead.
    off: bool,
    /// Changes that still happen before the process is dead.
    fuse: Option<usize>,
    /// A planted fault: of so many syncs one says yes and does nothing.
    idle_sync: Option<usize>,
    syncs: usize,
    /// A planted fault: a name is never made durable.
    idle_names: bool,
    fault: Option<Fault>,
    faults: usize,
}

impl Medium {
    fn new(image: Image, tape: Option<Tape>) -> Medium {
        Medium(Arc::new(Mutex::new(Inner {
            image,
            tape,
            off: false,
            fuse: None,
            idle_sync: None,
            syncs: 0,
            idle_names: false,
            fault: None,
            faults: 0,
        })))
    }

    /// Keeps no tape.
    pub(in crate::store::tests) fn holding(image: Image) -> Medium {
        Medium::new(image, None)
    }

    /// With a tape that goes on.
    pub(super) fn recording(tape: Tape) -> Medium {
        Medium::new(tape.played(), Some(tape))
    }

    /// The same disk for the next process, with what the last one has done to it.
    pub(in crate::store::tests) fn next_process(&self) -> Medium {
        let mut inner = self.inner();
        inner.off = true;
        let (image, tape) = (std::mem::take(&mut inner.image), inner.tape.take());
        let next = Medium::new(image, tape);
        {
            let mut next = next.inner();
            (next.idle_sync, next.idle_names) = (inner.idle_sync, inner.idle_names);
        }
        next
    }

    pub(super) fn plant_idle_names(&self) {
        self.inner().idle_names = true;
    }

    pub(super) fn plant_idle_syncs(&self, one_in: usize) {
        self.inner().idle_sync = Some(one_in);
    }

    pub(in crate::store::tests) fn plant(&self, fault: Fault) {
        let mut inner = self.inner();
        (inner.fault, inner.faults) = (Some(fault), 0);
    }

    /// Whether the fault was met.
    pub(super) fn has_failed(&self) -> bool {
        let inner = self.inner();
        inner.fault.is_some_and(|fault| inner.faults > fault.nth)
    }

    /// SIGKILL after so many more changes; `None` takes it back.
    pub(super) fn kill_after(&self, changes: Option<usize>) {
        self.inner().fuse = changes;
    }

    pub(super) fn take_fuse(&self) -> Option<usize> {
        self.inner().fuse.take()
    }

    pub(super) fn is_off(&self) -> bool {
        self.inner().off
    }

    pub(in crate::store::tests) fn off(&self) {
        self.inner().off = true;
    }

    pub(super) fn begun(&self, state: StateNo) {
        self.note(Entry::Begun(state));
    }

    pub(super) fn acknowledged(&self, state: StateNo) {
        self.note(Entry::Acknowledged(state));
    }

    fn note(&self, entry: Entry) {
        if let Some(tape) = &mut self.inner().tape {
            tape.entries.push(entry);
        }
    }

    pub(in crate::store::tests) fn image(&self) -> Image {
        self.inner().image.clone()
    }

    pub(super) fn into_tape(self) -> Tape {
        self.inner().tape.take().expect("it was recording")
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails where this deed is to fail.
    fn doing(&self, deed: Deed) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.inner();
        if inner.off {
            return Err(io::Error::other("the process is dead"));
        }
        if deed != Deed::Read {
            match &mut inner.fuse {
                Some(0) => {
                    inner.off = true;
                    return Err(io::Error::other("the process was killed"));
                }
                Some(left) => *left -= 1,
                None => {}
            }
        }
        Ok(inner)
    }
}

impl Inner {
    fn fails(&mut self, deed: Deed) -> io::Result<()> {
        let Some(fault) = self.fault.filter(|fault| fault.deed == deed) else { return Ok(()) };
        let nth = self.faults;
        self.faults += 1;
        if nth == fault.nth || (fault.lasts && nth > fault.nth) {
            return Err(io::Error::from_raw_os_error(fault.error));
        }
        Ok(())
    }

    fn change(&mut self, entry: Entry) {
        entry.apply(&mut self.image);
        if let Some(tape) = &mut self.tape {
            tape.entries.push(entry);
        }
    }
}

impl Medium {
    fn len_of(&self, file: File) -> io::Result<u64> {
        let mut inner = self.doing(Deed::Read)?;
        Ok(inner.image.file(file).ok_or(io::ErrorKind::NotFound)?.len() as u64)
    }

    fn read_of(&self, file: File, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut inner = self.doing(Deed::Read)?;
        inner.fails(Deed::Read)?;
        let at = offset as usize;
        let held = inner.image.file(file).ok_or(io::ErrorKind::NotFound)?;
        let bytes = held.get(at..at.saturating_add(out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len_of(&self, file: File, len: u64) -> io::Result<()> {
        let mut inner = self.doing(Deed::SetLen)?;
        inner.fails(Deed::SetLen)?;
        inner.change(Entry::SetLen(file, len as usize));
        Ok(())
    }

    fn sync_of(&self, file: File) -> io::Result<()> {
        let mut inner = self.doing(Deed::Sync)?;
        inner.fails(Deed::Sync)?;
        inner.syncs += 1;
        if inner.idle_sync.is_none_or(|one_in| !inner.syncs.is_multiple_of(one_in)) {
            inner.change(Entry::Synced(file));
        }
        Ok(())
    }

    fn write_of(&self, file: File, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.doing(Deed::Write)?;
        let at = offset as usize;
        let length = inner.image.file(file).ok_or(io::ErrorKind::NotFound)?.len();
        let last = if file == File::Index { at + data.len() } else { at };
        if last > length {
            return Err(io::Error::other("a write behind the end"));
        }
        if let Err(error) = inner.fails(Deed::Write) {
            // As a disk that fills up does: some of it is there.
            let bytes = data[..data.len() / 2].into();
            inner.change(Entry::Write { file, at, bytes });
            return Err(error);
        }
        inner.change(Entry::Write { file, at, bytes: data.into() });
        Ok(())
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.len_of(File::Index)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_of(File::Index, offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.set_len_of(File::Index, len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.sync_of(File::Index)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_of(File::Index, offset, data)
    }
}

#[derive(Debug)]
struct Segment(Medium, File);

impl Piece for Segment {
    fn len(&self) -> io::Result<u64> {
        self.0.len_of(self.1)
    }
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_of(self.1, offset, bytes)
    }
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_of(self.1, offset, bytes)
    }
    fn cut(&self, length: u64) -> io::Result<()> {
        self.0.set_len_of(self.1, length)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync_of(self.1)
    }
}

impl Volume for Medium {
    fn list(&self) -> io::Result<Vec<u64>> {
        Ok(self.doing(Deed::Read)?.image.segments.keys().copied().collect())
    }

    fn create(&self, number: u64) -> io::Result<Arc<dyn Piece>> {
        let mut inner = self.doing(Deed::Name)?;
        inner.fails(Deed::Name)?;
        if inner.image.segments.contains_key(&number) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.change(Entry::Made(number));
        Ok(Arc::new(Segment(self.clone(), File::Segment(number))))
    }

    fn open(&self, number: u64) -> io::Result<Arc<dyn Piece>> {
        let inner = self.doing(Deed::Read)?;
        let there = inner.image.segments.contains_key(&number);
        if !there {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(Segment(self.clone(), File::Segment(number))))
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        let mut inner = self.doing(Deed::Name)?;
        inner.fails(Deed::Name)?;
        inner.change(Entry::Removed(number));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.doing(Deed::Name)?;
        inner.fails(Deed::Name)?;
        if !inner.idle_names {
            inner.change(Entry::NamesSynced);
        }
        Ok(())
    }
}
