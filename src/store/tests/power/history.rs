//! A store that lives on a recorded disk: turns of every kind of change, closings, kills between
//! two turns and within one, and the model beside it.

use super::medium::Medium;
use super::rows::Rows;
use super::tape::{StateNo, Tape};
use super::{CACHE, is_the_model, open_on};
use crate::broker::change::Turn;
use crate::store::model::Model;
use crate::store::tests::against_model::same;
use crate::store::tests::names;
use crate::store::tests::weather::Weather;
use crate::store::{Reader, Store, StoreError};

/// What a crash can leave, as it should be.
#[derive(Debug)]
pub(super) struct State {
    pub(super) model: Model,
    /// Of the real store in this state, if it ever was.
    pub(super) rows: Option<Rows>,
}

/// A fault that the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    /// Every third sync says yes and does nothing.
    IdleSyncs,
    /// A segment's name is never made durable.
    IdleNames,
    /// The caller hears of a commit when it begins.
    EarlyAcknowledgement,
    /// One turn in two commits.
    HalfATurn,
}

#[derive(Debug)]
pub(super) struct History {
    pub(super) tape: Tape,
    pub(super) states: Vec<State>,
    pub(super) kills: usize,
    pub(super) closings: usize,
}

struct Life {
    medium: Medium,
    store: Option<Store>,
    weather: Weather,
    states: Vec<State>,
    /// The state that was acknowledged last.
    now: StateNo,
    known: Vec<String>,
    planted: Planted,
    turns: u64,
    kills: usize,
    closings: usize,
}

impl History {
    pub(super) fn live(seed: u64, turns: u64, planted: Planted) -> History {
        let mut life = Life::begin(seed, planted);
        for _ in 0..turns {
            life.step();
        }
        life.close();
        History {
            tape: life.medium.into_tape(),
            states: life.states,
            kills: life.kills,
            closings: life.closings,
        }
    }
}

impl Life {
    fn begin(seed: u64, planted: Planted) -> Life {
        let medium = Medium::recording(Tape::default());
        if planted == Planted::IdleSyncs {
            medium.plant_idle_syncs(3);
        }
        if planted == Planted::IdleNames {
            medium.plant_idle_names();
        }
        let mut life = Life {
            medium,
            store: None,
            weather: Weather::new(seed),
            states: vec![State { model: Model::default(), rows: None }],
            now: StateNo(0),
            known: Vec::new(),
            planted,
            turns: 0,
            kills: 0,
            closings: 0,
        };
        life.open();
        life.add_target("erp");
        life
    }

    fn step(&mut self) {
        match self.weather.dice.roll(16) {
            0 => {
                self.close();
                self.closings += 1;
                self.open();
            }
            1 => self.kill(),
            2 => {
                self.weather.targets += 1;
                self.add_target(&format!("target {}", self.weather.targets));
            }
            3 | 4 => {
                // About as many as a commit makes, or a checkpoint behind it.
                let most = *self.weather.dice.pick(&[3, 30]);
                let changes = self.weather.dice.roll(most) as usize;
                self.medium.kill_after(Some(changes));
                if self.turn().is_err() || self.medium.is_off() {
                    self.kill();
                }
                self.medium.kill_after(None);
            }
            _ => self.turn().unwrap(),
        }
    }

    fn turn(&mut self) -> Result<(), StoreError> {
        let mut model = self.model().clone();
        let changes = self.weather.turn(&model);
        self.turns += 1;
        let turn = Turn(self.turns);
        let expected = model.commit(turn, &changes);
        let next = self.begin_state(model);
        let store = self.store.as_mut().expect("it is open");
        if self.planted == Planted::HalfATurn && changes.len() > 1 {
            let (first, second) = changes.split_at(changes.len() / 2);
            store.commit(turn, first)?;
            store.commit(turn, second)?;
        } else {
            assert_eq!(store.commit(turn, &changes)?, expected);
        }
        // To look at it is no work of the process.
        let fuse = self.medium.take_fuse();
        if self.medium.is_off() {
            // What redb does behind a commit was cut off, and cannot be read any more.
            self.medium.acknowledged(next);
            self.now = next;
        } else {
            self.acknowledge(next);
        }
        // Bodies may move meanwhile: another state, and nothing that a user sees is another.
        let tidied = StateNo(self.states.len());
        self.states.push(State { model: self.model().clone(), rows: None });
        self.medium.begun(tidied);
        self.medium.kill_after(fuse);
        self.store.as_mut().expect("it is open").tidy()?;
        let fuse = self.medium.take_fuse();
        if self.medium.is_off() {
            self.medium.acknowledged(tidied);
            self.now = tidied;
        } else {
            self.acknowledge(tidied);
        }
        self.medium.kill_after(fuse);
        Ok(())
    }

    fn add_target(&mut self, name: &str) {
        self.known.push(name.to_owned());
        let mut model = self.model().clone();
        let all = model.add_targets(&self.known);
        let next = self.begin_state(model);
        let store = self.store.as_mut().expect("it is open");
        assert_eq!(store.add_targets(&self.known).unwrap(), all);
        self.acknowledge(next);
    }

    fn begin_state(&mut self, model: Model) -> StateNo {
        let next = StateNo(self.states.len());
        self.states.push(State { model, rows: None });
        self.medium.begun(next);
        if self.planted == Planted::EarlyAcknowledgement {
            self.medium.acknowledged(next);
        }
        next
    }

    /// The real store is in this state now, and everybody may know.
    fn acknowledge(&mut self, state: StateNo) {
        self.medium.acknowledged(state);
        self.now = state;
        let rows = Rows::of(&self.reader()).unwrap();
        match &self.states[state.0].rows {
            Some(before) => {
                assert_eq!(rows.differing_in_jobs(before), [""; 0], "over a closing or a kill");
            }
            None => {
                // Counters, places, lists, tokens: all against a scan of the jobs.
                same(&self.reader(), self.model());
                self.states[state.0].rows = Some(rows);
            }
        }
    }

    fn open(&mut self) {
        let (store, recovered) = open_on(self.medium.clone(), CACHE, &names(&[])).unwrap();
        self.store = Some(store);
        // What a commit that was cut off has left is known only now.
        let found = Rows::of(&self.reader()).unwrap();
        let found = (self.now.0..self.states.len()).map(StateNo).find(|state| {
            let State { model, rows } = &self.states[state.0];
            recovered == model.recover()
                && is_the_model(&self.reader(), model)
                && rows.as_ref().is_none_or(|rows| found.differing_in_jobs(rows).is_empty())
        });
        self.acknowledge(found.expect("what is found is what was left"));
    }

    fn close(&mut self) {
        self.store = None;
    }

    fn kill(&mut self) {
        self.medium.off();
        self.store = None;
        self.medium = self.medium.next_process();
        self.kills += 1;
        self.open();
    }

    fn model(&self) -> &Model {
        &self.states[self.now.0].model
    }

    fn reader(&self) -> Reader {
        self.store.as_ref().expect("it is open").reader()
    }
}
