//! What was done to a disk, in order, and what a crash at any point of it can leave.

use std::sync::Arc;

use crate::store::tests::weather::Dice;

/// What a disk writes at once or not at all, in bytes.
const SECTOR: usize = 512;

/// A state of the store between two commits, by its number in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateNo(pub(super) usize);

#[derive(Clone, Debug)]
pub(super) enum Entry {
    Write {
        at: usize,
        bytes: Arc<[u8]>,
    },
    SetLen(usize),
    /// All before it is on the disk for good.
    Synced,
    /// A commit began that leads to this state: from here on it can be what a crash leaves.
    Begun(StateNo),
    /// The caller was told, or has seen it: nothing else may be left from here on.
    Acknowledged(StateNo),
}

impl Entry {
    pub(super) fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Entry::Write { at, bytes } => put(image, *at, bytes),
            Entry::SetLen(len) => image.resize(*len, 0),
            Entry::Synced | Entry::Begun(_) | Entry::Acknowledged(_) => {}
        }
    }
}

/// What lies behind the end, because the file was not made longer after all, is lost.
fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    let Some(room) = image.get_mut(at..) else { return };
    let length = room.len().min(bytes.len());
    room[..length].copy_from_slice(&bytes[..length]);
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tape {
    /// What was on the disk for good when it began.
    pub(super) base: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

impl Tape {
    /// With all that was written.
    pub(super) fn played(&self) -> Vec<u8> {
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
    pub(super) written: Vec<u8>,
    /// What was on the disk for good at the last sync.
    durable: Vec<u8>,
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
            Entry::Write { .. } | Entry::SetLen(_) => self.pending.push(entry),
            Entry::Synced => {
                for done in self.pending.drain(..) {
                    done.apply(&mut self.durable);
                }
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
        !self.pending.is_empty()
    }

    pub(super) fn next_is_sync(&self) -> bool {
        matches!(self.tape.entries.get(self.next), Some(Entry::Synced))
    }

    /// What a SIGKILL here leaves, for a tape that goes on: not all of it is on the disk for good.
    pub(super) fn killed(&self) -> Tape {
        let mut entries: Vec<Entry> = self.pending.iter().copied().cloned().collect();
        if let [first, others @ ..] = &*self.allowed {
            let begun = others.iter().map(|state| Entry::Begun(*state));
            entries.extend([Entry::Acknowledged(*first)].into_iter().chain(begun));
        }
        Tape { base: self.durable.clone(), entries }
    }

    /// What a power cut here can leave: some of what was not synced, in whole or in sectors. A
    /// sector that was written twice can be as it was between the two.
    pub(super) fn cut(&self, dice: &mut Dice) -> Vec<u8> {
        let mut image = self.durable.clone();
        let count = self.pending.len();
        let one = dice.roll(count.max(1) as u64) as usize;
        let luck = Luck::any(dice);
        for (number, entry) in self.pending.iter().enumerate() {
            match luck.of(number, one, count, dice) {
                Fate::Kept => entry.apply(&mut image),
                Fate::Lost => {}
                Fate::Torn { of_ten } => tear(entry, of_ten, &mut image, dice),
                Fate::Begun => {
                    if let Entry::Write { at, bytes } = entry {
                        let sectors = (bytes.len() / SECTOR) as u64;
                        let kept = dice.roll(sectors + 1) as usize * SECTOR;
                        put(&mut image, *at, &bytes[..kept]);
                    }
                }
            }
        }
        image
    }
}

fn tear(entry: &Entry, of_ten: u64, image: &mut Vec<u8>, dice: &mut Dice) {
    let Entry::Write { at, bytes } = entry else {
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
            put(image, at + from, &bytes[from..to]);
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
