//! What is known, what is looked at, and what a key does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use jiff::Timestamp;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::news::{Daemon, News, TargetJobs};
use crate::cli::wire::{StepFunctions, Target, Totals};

/// Seconds of requests that are kept of a target.
const KEPT: usize = 300;

/// What a key asks for that is not done on the screen alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Do {
    Leave,
    Pause {
        target: String,
        pause: bool,
    },
    /// Ask for the target's jobs.
    Look(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Overview,
    /// Line by line from this one.
    Target {
        name: String,
        from: u16,
    },
}

/// What lies over the page and takes the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Help,
    /// Nothing is done without a yes.
    Confirm {
        target: String,
        pause: bool,
    },
    /// A filter is being typed.
    Typing,
}

/// A target and what it was sent of late.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) target: Target,
    /// Requests a second, oldest first.
    pub(super) sent: VecDeque<f64>,
}

impl Known {
    /// Over the last seconds, so that it does not flicker.
    pub(super) fn pace(&self) -> f64 {
        let last: Vec<f64> = self.sent.iter().rev().take(3).copied().collect();
        if last.is_empty() { 0.0 } else { last.iter().sum::<f64>() / last.len() as f64 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    /// Nothing has been heard yet.
    Asking,
    Live,
    Away {
        since: Instant,
        why: String,
    },
}

#[derive(Debug)]
pub(super) struct Top {
    pub(super) address: String,
    pub(super) contact: Contact,
    pub(super) daemon: Option<Daemon>,
    pub(super) step_functions: Option<StepFunctions>,
    pub(super) known: BTreeMap<String, Known>,
    /// The daemon's clock when it was last heard, and ours.
    heard: Option<(Timestamp, Instant)>,
    /// Our clock when anything happened last.
    pub(super) ticked: Instant,
    pub(super) filter: String,
    /// By name, so that it stays when others come and go.
    chosen: Option<String>,
    pub(super) page: Page,
    pub(super) over: Option<Over>,
    /// Of the target that is looked into.
    pub(super) jobs: Option<Result<Box<TargetJobs>, String>>,
    /// What came of what was asked last.
    pub(super) said: Option<Result<String, String>>,
}

impl Top {
    pub(super) fn new(address: &str, now: Instant) -> Top {
        Top {
            address: address.to_owned(),
            contact: Contact::Asking,
            daemon: None,
            step_functions: None,
            known: BTreeMap::new(),
            heard: None,
            ticked: now,
            filter: String::new(),
            chosen: None,
            page: Page::Overview,
            over: None,
            jobs: None,
            said: None,
        }
    }

    /// By the daemon's clock, which may be another than ours.
    pub(super) fn now(&self) -> Timestamp {
        let ours = Timestamp::now;
        self.heard.map_or_else(ours, |(at, when)| {
            let since = self.ticked.saturating_duration_since(when);
            at.checked_add(since).unwrap_or_else(|_| ours())
        })
    }

    pub(super) fn tick(&mut self, now: Instant) {
        self.ticked = now;
    }

    pub(super) fn hear(&mut self, news: News) {
        let at = news.at.as_ref().and_then(super::super::wire::When::at);
        let seconds = match (self.heard, at) {
            (Some((before, _)), Some(at)) => at.duration_since(before).as_secs_f64().max(0.2),
            _ => 1.0,
        };
        let mut before = std::mem::take(&mut self.known);
        if !news.full {
            self.known.append(&mut before);
            for name in &news.gone {
                self.known.remove(name);
            }
            // Of those that look as before nothing was sent.
            let silent = |name: &str| !news.targets.iter().any(|target| target.name == name);
            for (_, known) in self.known.iter_mut().filter(|(name, _)| silent(name)) {
                push(&mut known.sent, 0.0);
            }
        }
        for target in news.targets {
            let old = self.known.remove(&target.name).or_else(|| before.remove(&target.name));
            let recent = news.full.then(|| news.recent.get(&target.name));
            let known = follow(old, target, seconds, recent);
            self.known.insert(known.target.name.clone(), known);
        }
        self.heard = Some((at.unwrap_or_else(Timestamp::now), self.ticked));
        (self.daemon, self.step_functions) = (news.daemon, news.step_functions);
        self.contact = Contact::Live;
    }

    pub(super) fn lose(&mut self, why: String) {
        let since = match self.contact {
            Contact::Away { since, .. } => since,
            Contact::Asking | Contact::Live => self.ticked,
        };
        self.contact = Contact::Away { since, why };
    }

    pub(super) fn see_jobs(&mut self, name: &str, jobs: Result<Box<TargetJobs>, String>) {
        // An answer that comes late may be about a target that is looked into no more.
        if self.looked_into() == Some(name) {
            self.jobs = Some(jobs);
        }
    }

    pub(super) fn say(&mut self, what: Result<String, String>) {
        self.said = Some(what);
    }

    /// Those that the filter lets through, by name.
    pub(super) fn shown(&self) -> Vec<&Known> {
        let wanted = self.filter.to_lowercase();
        self.known
            .values()
            .filter(|known| known.target.name.to_lowercase().contains(&wanted))
            .collect()
    }

    /// Where the chosen one is among the shown; the first where that one is not there.
    pub(super) fn place(&self) -> usize {
        let shown = self.shown();
        let chosen = self.chosen.as_deref();
        shown.iter().position(|known| Some(known.target.name.as_str()) == chosen).unwrap_or(0)
    }

    pub(super) fn looked_into(&self) -> Option<&str> {
        match &self.page {
            Page::Overview => None,
            Page::Target { name, .. } => Some(name),
        }
    }

    /// What a pause would be of.
    fn subject(&self) -> Option<&Known> {
        match &self.page {
            Page::Overview => self.shown().get(self.place()).copied(),
            Page::Target { name, .. } => self.known.get(name),
        }
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Do> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code == KeyCode::Char('c')).then_some(Do::Leave);
        }
        self.said = None;
        match self.over.take() {
            // Any key closes it.
            Some(Over::Help) => (key.code == KeyCode::Char('q')).then_some(Do::Leave),
            Some(Over::Confirm { target, pause }) => {
                let yes = matches!(key.code, KeyCode::Char('y' | 'Y'));
                yes.then_some(Do::Pause { target, pause })
            }
            Some(Over::Typing) => {
                self.type_filter(key.code);
                None
            }
            None => self.press_on_page(key.code),
        }
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Enter => {}
            KeyCode::Backspace => {
                self.filter.pop();
                self.over = Some(Over::Typing);
            }
            KeyCode::Char(c) if !c.is_control() => {
                self.filter.push(c);
                self.over = Some(Over::Typing);
            }
            _ => self.over = Some(Over::Typing),
        }
    }

    fn press_on_page(&mut self, key: KeyCode) -> Option<Do> {
        match key {
            KeyCode::Char('q') => return Some(Do::Leave),
            KeyCode::Char('?' | 'h') => self.over = Some(Over::Help),
            KeyCode::Char('p') => {
                self.over = self.subject().map(|known| Over::Confirm {
                    target: known.target.name.clone(),
                    pause: !known.target.paused,
                });
            }
            KeyCode::Char('/') => {
                self.page = Page::Overview;
                self.over = Some(Over::Typing);
            }
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => match self.page {
                Page::Target { .. } => self.page = Page::Overview,
                Page::Overview => self.filter.clear(),
            },
            KeyCode::Enter | KeyCode::Right if self.page == Page::Overview => {
                let name = self.subject()?.target.name.clone();
                self.jobs = None;
                self.page = Page::Target { name: name.clone(), from: 0 };
                return Some(Do::Look(name));
            }
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.step(10),
            KeyCode::PageUp => self.step(-10),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            _ => {}
        }
        None
    }

    fn step(&mut self, by: isize) {
        let place = self.place();
        if let Page::Target { from, .. } = &mut self.page {
            let by = by.clamp(i16::MIN.into(), i16::MAX.into());
            *from = from.saturating_add_signed(i16::try_from(by).unwrap_or_default());
            return;
        }
        let shown = self.shown();
        let next = place.saturating_add_signed(by).min(shown.len().saturating_sub(1));
        self.chosen = shown.get(next).map(|known| known.target.name.clone());
    }

    /// The line that a page of so many begins with; what was scrolled to beyond it is taken back.
    pub(super) fn first_line(&mut self, lines: usize, height: u16) -> u16 {
        let most = u16::try_from(lines).unwrap_or(u16::MAX).saturating_sub(height);
        match &mut self.page {
            Page::Target { from, .. } => {
                *from = (*from).min(most);
                *from
            }
            Page::Overview => 0,
        }
    }
}

/// A target with its last seconds. `recent`: where all is told, what was sent in each of them.
fn follow(
    old: Option<Known>,
    target: Target,
    seconds: f64,
    recent: Option<Option<&Vec<u64>>>,
) -> Known {
    if let Some(recent) = recent {
        let sent = recent.into_iter().flatten().map(|count| *count as f64).collect();
        return Known { target, sent };
    }
    let Some(old) = old else { return Known { target, sent: VecDeque::new() } };
    let mut sent = old.sent;
    if let (Some(Totals { sent: before, .. }), Some(totals)) = (old.target.totals, target.totals)
        // After a restart of the daemon the totals begin again.
        && let Some(more) = totals.sent.checked_sub(before)
    {
        push(&mut sent, more as f64 / seconds);
    }
    Known { target, sent }
}

fn push(sent: &mut VecDeque<f64>, value: f64) {
    sent.push_back(value);
    if sent.len() > KEPT {
        sent.pop_front();
    }
}
