//! What was done to a disk, in order, and what a crash at any point of it can leave.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::store::journal::{Directory, Volume};
use crate::store::tests::weather::Dice;

/// What a disk writes at once or not at all, in bytes.
const SECTOR: usize = 512;

/// A state of the store between two commits, by its number in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateNo(pub(super) usize);

/// A file of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    /// That of redb.
    Index,
    /// Of the journal.
    Segment(u64),
}

/// All files of a store.
#[derive(Clone, Debug, Default)]
pub(in crate::store::tests) struct Image {
    pub(super) index: Vec<u8>,
    pub(in crate::store::tests) segments: BTreeMap<u64, Vec<u8>>,
}

impl Image {
    /// As a store at this path would have them, and nothing else.
    pub(super) fn write_to(&self, path: &Path) {
        fs::write(path, &self.index).unwrap();
        let journal = Directory::path_beside(path);
        if journal.exists() {
            fs::remove_dir_all(&journal).unwrap();
        }
        if self.segments.is_empty() {
            return;
        }
        let journal = Directory::open(journal).unwrap();
        for (number, bytes) in &self.segments {
            journal.create(*number).unwrap().write(0, bytes).unwrap();
        }
    }

    /// `None` where it has no such segment.
    pub(super) fn file(&mut self, file: File) -> Option<&mut Vec<u8>> {
        match file {
            File::Index => Some(&mut self.index),
            File::Segment(number) => self.segments.get_mut(&number),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    Write {
        file: File,
        at: usize,
        bytes: Arc<[u8]>,
    },
    SetLen(File, usize),
    /// All that was done to this file is on the disk for good; whether its name is there is another
    /// matter.
    Synced(File),
    /// A segment, empty.
    Made(u64),
    Removed(u64),
    /// Which segments there are is so for good.
    NamesSynced,
    /// A commit began that leads to this state: from here on it can be what a crash leaves.
    Begun(StateNo),
    /// The caller was told, or has seen it: nothing else may be left from here on.
    Acknowledged(StateNo),
}

impl Entry {
    pub(super) fn apply(&self, image: &mut Image) {
        match self {
            Entry::Write { file, at, bytes } => put(image, *file, *at, bytes),
            Entry::SetLen(file, len) => {
                if let Some(file) = image.file(*file) {
                    file.resize(*len, 0);
                }
            }
            Entry::Made(number) => drop(image.segments.insert(*number, Vec::new())),
            Entry::Removed(number) => drop(image.segments.remove(number)),
            Entry::Synced(_) | Entry::NamesSynced | Entry::Begun(_) | Entry::Acknowledged(_) => {}
        }
    }

    /// The file whose bytes it changes.
    fn changes(&self) -> Option<File> {
        match self {
            Entry::Write { file, .. } | Entry::SetLen(file, _) => Some(*file),
            _ => None,
        }
    }

    fn renames(&self) -> bool {
        matches!(self, Entry::Made(_) | Entry::Removed(_))
    }
}

/// What lies behind the end, because redb's file was not made longer after all, is lost. A segment
/// grows as it is written; where what came before was lost there are zeros.
fn put(image: &mut Image, file: File, at: usize, bytes: &[u8]) {
    let Some(old) = image.file(file) else { return };
    if matches!(file, File::Segment(_)) && old.len() < at + bytes.len() {
        old.resize(at + bytes.len(), 0);
    }
    let Some(room) = old.get_mut(at..) else { return };
    let length = room.len().min(bytes.len());
    room[..length].copy_from_slice(&bytes[..length]);
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tape {
    /// What was on the disk for good when it began.
    pub(super) base: Image,
    pub(super) entries: Vec<Entry>,
}

impl Tape {
    /// With all that was written.
    pub(super) fn played(&self) -> Image {
        let mut image = self.base.clone();
        for entry in &self.entries {
            entry.apply(&mut image);
        }
        image
    }
}

/// A point of the tape.
#[derive(Debug)]
pub(super) struct Point<'a> {
    tape: &'a Tape,
    next: usize,
    /// With all that was written: what a SIGKILL leaves.
    pub(super) written: Image,
    /// What is on the disk for good, those segments too that have no name for good.
    durable: Image,
    /// Those that have one.
    names: BTreeSet<u64>,
    /// Written since, in order.
    pending: Vec<&'a Entry>,
    /// The states that may be found after a crash here; none before the first is acknowledged.
    pub(super) allowed: Vec<StateNo>,
    /// Whether one was acknowledged.
    pub(super) made: bool,
}

impl<'a> Point<'a> {
    pub(super) fn start(tape: &'a Tape) -> Point<'a> {
        Point {
            tape,
            next: 0,
            written: tape.base.clone(),
            durable: tape.base.clone(),
            names: tape.base.segments.keys().copied().collect(),
            pending: Vec::new(),
            allowed: Vec::new(),
            made: false,
        }
    }

    /// Steps over the next entry, and returns it.
    pub(super) fn advance(&mut self) -> Option<&'a Entry> {
        let entry = self.tape.entries.get(self.next)?;
        self.next += 1;
        entry.apply(&mut self.written);
        match entry {
            Entry::Write { .. } | Entry::SetLen(..) | Entry::Removed(_) => {
                self.pending.push(entry);
            }
            Entry::Made(_) => {
                entry.apply(&mut self.durable);
                self.pending.push(entry);
            }
            Entry::Synced(file) => {
                let durable = &mut self.durable;
                self.pending.retain(|done| {
                    let is_done = done.changes() == Some(*file);
                    if is_done {
                        done.apply(durable);
                    }
                    !is_done
                });
            }
            Entry::NamesSynced => {
                let names = &mut self.names;
                self.pending.retain(|done| {
                    rename(names, done);
                    !done.renames()
                });
            }
            Entry::Begun(state) => self.allowed.push(*state),
            Entry::Acknowledged(state) => {
                self.allowed = vec![*state];
                self.made = true;
            }
        }
        Some(entry)
    }

    /// How many entries lie behind it.
    pub(super) fn position(&self) -> usize {
        self.next
    }

    /// Whether a crash here can lose anything.
    pub(super) fn is_pending(&self) -> bool {
        // A segment that is not needed any more may come back at any time.
        self.pending.iter().any(|entry| !matches!(entry, Entry::Removed(_)))
    }

    pub(super) fn next_is_sync(&self) -> bool {
        matches!(self.tape.entries.get(self.next), Some(Entry::Synced(_) | Entry::NamesSynced))
    }

    /// What a SIGKILL here leaves, for a tape that goes on: not all of it is on the disk for good.
    pub(super) fn killed(&self) -> Tape {
        let mut entries = Vec::new();
        for entry in self.pending.iter().copied() {
            entries.push(entry.clone());
            if let Entry::Made(number) = entry
                && let Some(bytes) = self.durable.segments.get(number)
            {
                let file = File::Segment(*number);
                entries.push(Entry::Write { file, at: 0, bytes: bytes.as_slice().into() });
                entries.push(Entry::Synced(file));
            }
        }
        if let [first, others @ ..] = &*self.allowed {
            let begun = others.iter().map(|state| Entry::Begun(*state));
            entries.extend([Entry::Acknowledged(*first)].into_iter().chain(begun));
        }
        let mut base = self.durable.clone();
        base.segments.retain(|number, _| self.names.contains(number));
        Tape { base, entries }
    }

    /// What a power cut here can leave: some of what was not synced, in whole or in sectors. A
    /// sector that was written twice can be as it was between the two.
    pub(super) fn cut(&self, dice: &mut Dice) -> Image {
        let mut image = self.durable.clone();
        let mut names = self.names.clone();
        let count = self.pending.len();
        let one = dice.roll(count.max(1) as u64) as usize;
        let luck = Luck::any(dice);
        for (number, entry) in self.pending.iter().enumerate() {
            let fate = luck.of(number, one, count, dice);
            if entry.renames() {
                let kept = match fate {
                    Fate::Kept => true,
                    Fate::Lost | Fate::Begun => false,
                    Fate::Torn { of_ten } | Fate::Grown { of_ten } => dice.roll(10) < of_ten,
                };
                if kept {
                    rename(&mut names, entry);
                }
                continue;
            }
            match fate {
                Fate::Kept => entry.apply(&mut image),
                Fate::Lost => {}
                Fate::Torn { of_ten } => tear(entry, of_ten, &mut image, dice),
                Fate::Grown { of_ten } => {
                    grow(entry, &mut image);
                    tear(entry, of_ten, &mut image, dice);
                }
                Fate::Begun => {
                    if let Entry::Write { file, at, bytes } = entry {
                        let sectors = (bytes.len() / SECTOR) as u64;
                        let kept = dice.roll(sectors + 1) as usize * SECTOR;
                        put(&mut image, *file, *at, &bytes[..kept]);
                    }
                }
            }
        }
        image.segments.retain(|number, _| names.contains(number));
        image
    }
}

fn rename(names: &mut BTreeSet<u64>, entry: &Entry) {
    match entry {
        Entry::Made(number) => drop(names.insert(*number)),
        Entry::Removed(number) => drop(names.remove(number)),
        _ => {}
    }
}

/// As far as this segment was written it is there, with zeros.
fn grow(entry: &Entry, image: &mut Image) {
    let Entry::Write { file: file @ File::Segment(_), at, bytes } = entry else { return };
    if let Some(old) = image.file(*file) {
        let length = old.len().max(at + bytes.len());
        old.resize(length, 0);
    }
}

fn tear(entry: &Entry, of_ten: u64, image: &mut Image, dice: &mut Dice) {
    let Entry::Write { file, at, bytes } = entry else {
        if dice.roll(10) < of_ten {
            entry.apply(image);
        }
        return;
    };
    // Writes begin anywhere, sectors do not.
    let mut from = 0;
    while from < bytes.len() {
        let to = ((at + from) / SECTOR * SECTOR + SECTOR - at).min(bytes.len());
        if dice.roll(10) < of_ten {
            put(image, *file, at + from, &bytes[from..to]);
        }
        from = to;
    }
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Lost,
    /// Each sector of it is there with a chance of so many in ten.
    Torn {
        of_ten: u64,
    },
    /// So is each of its sectors, and its length in any case: the file system wrote that first.
    Grown {
        of_ten: u64,
    },
    /// Its first sectors are there.
    Begun,
}

/// How those fare that were not synced.
#[derive(Clone, Copy, Debug)]
enum Luck {
    /// Each is there, whole, with a chance of so many in ten.
    Each {
        of_ten: u64,
    },
    /// So is each sector of each.
    Sectors {
        of_ten: u64,
    },
    /// And the length of each segment.
    Lengths {
        of_ten: u64,
    },
    AllBut,
    OnlyOne,
    /// From one on: the last ones came first.
    From,
    /// Up to one that was being written.
    UpTo,
    OneTorn,
    None,
}

impl Luck {
    fn any(dice: &mut Dice) -> Luck {
        let of_ten = *dice.pick(&[1, 5, 9]);
        let all = [
            Luck::Each { of_ten },
            Luck::Sectors { of_ten },
            Luck::Lengths { of_ten: of_ten - 1 },
            Luck::AllBut,
            Luck::OnlyOne,
            Luck::From,
            Luck::UpTo,
            Luck::OneTorn,
        ];
        // Nothing of it is one image of very many, and the first that one thinks of.
        if dice.one_in(30) { Luck::None } else { *dice.pick(&all) }
    }

    fn of(self, number: usize, one: usize, count: usize, dice: &mut Dice) -> Fate {
        let kept = |kept| if kept { Fate::Kept } else { Fate::Lost };
        match self {
            Luck::Each { of_ten } => kept(dice.roll(10) < of_ten),
            Luck::Sectors { of_ten } => Fate::Torn { of_ten },
            Luck::Lengths { of_ten } => Fate::Grown { of_ten },
            Luck::AllBut => kept(number != one),
            Luck::OnlyOne => kept(number == one),
            Luck::From => kept(number >= one.min(count)),
            Luck::UpTo if number == one => Fate::Begun,
            Luck::UpTo => kept(number < one),
            Luck::OneTorn if number == one => Fate::Torn { of_ten: 5 },
            Luck::OneTorn => Fate::Kept,
            Luck::None => Fate::Lost,
        }
    }
}
