//! The store is opened again after every crash that a history allows, or a sample of them.

use std::fmt;

use super::history::{History, State};
use super::medium::Medium;
use super::rows::Rows;
use super::tape::{Entry, Image, Point, StateNo, Tape};
use super::{CACHE, is_the_model, open_on};
use crate::broker::change::Turn;
use crate::store::tests::against_model::same;
use crate::store::tests::options;
use crate::store::tests::weather::{Dice, Weather};
use crate::store::{Reader, Store};

/// How much of it is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Of the points where only the process dies, one of so many.
    pub(super) kills_one_in: u64,
    /// Power cuts at a point with something to lose; a point just before a sync has all of it, and
    /// gets ten times as many. Of so many points one.
    pub(super) cuts_one_in: u64,
    /// One of so many crashes is followed by work, and that by another crash.
    pub(super) again_one_in: u64,
}

/// Crash points tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tried {
    /// All that was written is there.
    pub(super) kills: u64,
    /// Some of what was not synced is lost or torn.
    pub(super) cuts: u64,
    /// In the opening after a crash, or in a commit after that.
    pub(super) second_crashes: u64,
    /// While the file was made for the first time.
    pub(super) in_the_making: u64,
    /// The commit under way was found whole, though nobody had been told of it.
    pub(super) unacknowledged_found: u64,
}

impl Tried {
    pub(super) fn all(&self) -> u64 {
        self.kills + self.cuts + self.second_crashes + self.in_the_making
    }

    pub(super) fn add(&mut self, other: Tried) {
        self.kills += other.kills;
        self.cuts += other.cuts;
        self.second_crashes += other.second_crashes;
        self.in_the_making += other.in_the_making;
        self.unacknowledged_found += other.unacknowledged_found;
    }
}

/// A promise that did not hold.
#[derive(Debug)]
pub(super) struct Broken {
    position: usize,
    crash: &'static str,
    what: String,
    /// How many crashes were fine before.
    pub(super) after: u64,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { position, crash, what, after } = self;
        write!(f, "{crash} behind entry {position} of the tape, after {after} good ones: {what}")
    }
}

pub(super) struct Crashes<'a> {
    history: &'a History,
    effort: Effort,
    dice: Dice,
    tried: Tried,
    directory: tempfile::TempDir,
}

impl<'a> Crashes<'a> {
    pub(super) fn of(history: &'a History, seed: u64, effort: Effort) -> Crashes<'a> {
        let (dice, tried) = (Dice(seed ^ 0x5eed), Tried::default());
        let directory = tempfile::tempdir().unwrap();
        Crashes { history, effort, dice, tried, directory }
    }

    pub(super) fn all(mut self) -> Result<Tried, Broken> {
        let history = self.history;
        let mut point = Point::start(&history.tape);
        while let Some(entry) = point.advance() {
            // Nothing happened, or nothing that a crash here could undo.
            if matches!(entry, Entry::Begun(_) | Entry::Synced(_) | Entry::NamesSynced) {
                continue;
            }
            self.at(&point, entry).map_err(|(crash, what)| Broken {
                position: point.position(),
                crash,
                what,
                after: self.tried.all(),
            })?;
        }
        Ok(self.tried)
    }

    fn at(&mut self, point: &Point<'_>, entry: &Entry) -> Result<(), (&'static str, String)> {
        if !point.made {
            self.while_it_is_made(&point.written).map_err(|what| ("SIGKILL", what))?;
            let image = point.cut(&mut self.dice);
            return self.while_it_is_made(&image).map_err(|what| ("power cut", what));
        }
        // What was just acknowledged must be there in any case.
        let told = matches!(entry, Entry::Acknowledged(_));
        if told || self.dice.one_in(self.effort.kills_one_in) {
            self.tried.kills += 1;
            self.found(point.written.clone(), &point.allowed).map_err(|what| ("SIGKILL", what))?;
            if self.dice.one_in(self.effort.again_one_in) {
                self.again(point.killed()).map_err(|what| ("SIGKILL", what))?;
            }
        }
        let mut times = u64::from(self.dice.one_in(self.effort.cuts_one_in));
        if told || point.next_is_sync() {
            times = 10;
        }
        for _ in 0..times * u64::from(point.is_pending()) {
            let image = point.cut(&mut self.dice);
            self.tried.cuts += 1;
            let allowed = &point.allowed;
            if self.dice.one_in(self.effort.again_one_in) {
                let seen = allowed.iter().map(|state| Entry::Begun(*state)).collect();
                let tape = Tape { base: image.clone(), entries: seen };
                self.again(tape).map_err(|what| ("power cut", what))?;
            }
            self.found(image, allowed).map_err(|what| ("power cut", what))?;
        }
        Ok(())
    }

    /// Through the front door: it has its own ways with a file that was never finished.
    fn while_it_is_made(&mut self, image: &Image) -> Result<(), String> {
        self.tried.in_the_making += 1;
        let path = self.directory.path().join("store");
        image.write_to(&path);
        let (store, _) = Store::open(&options(&path), &[]).map_err(|error| error.to_string())?;
        is(&store.reader(), &self.history.states[0])
    }

    fn found(&mut self, image: Image, allowed: &[StateNo]) -> Result<(), String> {
        let medium = Medium::holding(image);
        let found = self.open(medium.clone(), allowed);
        medium.off();
        let (_, state) = found?;
        self.note(state, allowed);
        // A life in which nothing happened must not be the last one.
        let medium = medium.next_process();
        let again = open_on(medium.clone(), CACHE, &[]);
        medium.off();
        again.map(drop).map_err(|error| format!("it does not open a second time: {error}"))
    }

    fn note(&mut self, state: StateNo, allowed: &[StateNo]) {
        self.tried.unacknowledged_found += u64::from(allowed.first() != Some(&state));
    }

    /// Opens it, and tells which of the allowed states it is in.
    fn open(&self, medium: Medium, allowed: &[StateNo]) -> Result<(Store, StateNo), String> {
        let (store, recovered) =
            open_on(medium, CACHE, &[]).map_err(|error| format!("it does not open: {error}"))?;
        let reader = store.reader();
        let rows = Rows::of(&reader).map_err(|error| format!("it cannot be read: {error}"))?;
        let state = |number: &StateNo| &self.history.states[number.0];
        let known = allowed.iter().find(|number| {
            let State { model, rows: wanted } = state(number);
            let same = |wanted: &Rows| rows.differing_in_jobs(wanted).is_empty();
            wanted.as_ref().is_some_and(same) && is_the_model(&reader, model)
        });
        let is_it = |number: &&StateNo| {
            let state = state(number);
            // The order in which old flows are swept away begins anew with each process.
            recovered == state.model.recover()
                && state.rows.is_none()
                && is_the_model(&reader, &state.model)
        };
        if let Some(number) = known.or_else(|| allowed.iter().find(is_it)) {
            return Ok((store, *number));
        }
        let differs = |number: &StateNo| match &state(number).rows {
            Some(wanted) => format!("state {}: {}", number.0, rows.differing(wanted).join(", ")),
            None => format!("state {}", number.0),
        };
        let differs: Vec<String> = allowed.iter().map(differs).collect();
        Err(format!("it is in no state that it may be in; it differs from {}", differs.join("; ")))
    }

    /// Opens it, does one more turn, and lets it crash in the midst of that.
    fn again(&mut self, tape: Tape) -> Result<(), String> {
        let allowed: Vec<StateNo> = tape.entries.iter().filter_map(state_of).collect();
        let first_crash = tape.entries.len();
        let medium = Medium::recording(tape);
        let (mut store, seen) = self.open(medium.clone(), &allowed)?;
        // Whoever has opened it acts on what is there: it must not go back from here.
        medium.acknowledged(seen);
        let before = &self.history.states[seen.0].model;
        let mut weather = Weather::new(self.dice.roll(u64::MAX));
        weather.skip_to(1 << 60 | 1 << 35);
        weather.targets = before.recover().targets.len().max(1) as u32;
        let mut after = before.clone();
        if !before.recover().targets.is_empty() {
            let changes = weather.turn(before);
            after.commit(Turn(1), &changes);
            // Behind all others.
            medium.begun(StateNo(usize::MAX));
            store.commit(Turn(1), &changes).map_err(|error| format!("no further turn: {error}"))?;
            medium.acknowledged(StateNo(usize::MAX));
            same(&store.reader(), &after);
            store.tidy().map_err(|error| format!("no checkpoint: {error}"))?;
        }
        medium.off();
        drop(store);
        let tape = medium.into_tape();
        let mut point = Point::start(&tape);
        while let Some(entry) = point.advance() {
            let told = matches!(entry, Entry::Acknowledged(_));
            let tried = told || point.next_is_sync() || self.dice.one_in(12);
            if point.position() < first_crash || !tried {
                continue;
            }
            let image =
                if self.dice.one_in(4) { point.written.clone() } else { point.cut(&mut self.dice) };
            self.tried.second_crashes += 1;
            self.one_of(image, &point.allowed, &after)
                .map_err(|what| format!("and then, behind entry {}: {what}", point.position()))?;
        }
        Ok(())
    }

    fn one_of(
        &self,
        image: Image,
        allowed: &[StateNo],
        last: &crate::store::model::Model,
    ) -> Result<(), String> {
        let known: Vec<StateNo> =
            allowed.iter().copied().filter(|state| state.0 != usize::MAX).collect();
        let medium = Medium::holding(image.clone());
        let found = self.open(medium.clone(), &known);
        medium.off();
        if found.is_ok() || known.len() == allowed.len() {
            return found.map(drop);
        }
        let medium = Medium::holding(image);
        let (store, recovered) = open_on(medium.clone(), CACHE, &[]).map_err(|e| e.to_string())?;
        let is_last = recovered == last.recover() && is_the_model(&store.reader(), last);
        medium.off();
        if is_last { Ok(()) } else { found.map(drop) }
    }
}

fn is(reader: &Reader, state: &State) -> Result<(), String> {
    let rows = Rows::of(reader).map_err(|error| error.to_string())?;
    let wanted = state.rows.as_ref().expect("the store was in this state");
    // One that is made anew has another id.
    let differing = rows.differing_in_jobs(wanted);
    if differing.is_empty() { Ok(()) } else { Err(differing.join(", ")) }
}

fn state_of(entry: &Entry) -> Option<StateNo> {
    match entry {
        Entry::Begun(state) | Entry::Acknowledged(state) => Some(*state),
        _ => None,
    }
}
