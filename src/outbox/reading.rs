//! Where the reading of an outbox is. Jobs come into it in any order of ids, so whenever one has
//! come it is read again from its beginning.

use std::time::Duration;

use tokio::time::Instant;

use super::window::Window;
use super::{Settled, Shelf};
use crate::broker::job::JobId;
use crate::store::StoreError;

/// Of ids, at one reading.
const PAGE: usize = 256;
/// The outbox is read no more often: whoever ended meanwhile is found together.
const BETWEEN_READINGS: Duration = Duration::from_millis(10);
/// Jobs that made room for others are looked for again after this.
const ANEW: Duration = Duration::from_secs(60);
/// After an error of the store.
const AFTER_ERROR: Duration = Duration::from_secs(5);

pub(super) struct Reading {
    after: Option<JobId>,
    /// Between a beginning and an end.
    under_way: bool,
    again: bool,
    next_at: Instant,
    anew_at: Instant,
}

impl Reading {
    pub(super) fn new(now: Instant) -> Reading {
        let anew_at = now + ANEW;
        Reading { after: None, under_way: false, again: true, next_at: now, anew_at }
    }

    pub(super) fn again(&mut self) {
        self.again = true;
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if self.anew_at <= now {
            self.again = true;
            self.anew_at = now + ANEW;
        }
    }

    pub(super) fn anew_at(&self) -> Instant {
        self.anew_at
    }

    /// When there is something to read; `None`: not of itself.
    pub(super) fn next_at(&self, window: &Window) -> Option<Instant> {
        self.wanted(window).then_some(self.next_at)
    }

    /// Fills the window from the outbox, and lets go of what is out of it.
    pub(super) async fn read(&mut self, window: &mut Window, shelf: impl Shelf) {
        let now = Instant::now();
        if self.next_at > now || !self.wanted(window) {
            return;
        }
        self.next_at = now + BETWEEN_READINGS;
        let limit = if self.has_more() { window.room().min(PAGE) } else { 0 };
        if limit > 0 && !self.under_way {
            (self.after, self.under_way, self.again) = (None, true, false);
        }
        let after = self.after;
        let settling: Vec<JobId> = window.settling().collect();
        let read = tokio::task::spawn_blocking(move || {
            // The page first: what it still holds and is settled by then is in the window yet.
            let page = if limit > 0 { shelf.page(after, limit)? } else { Vec::new() };
            let mut out = Vec::new();
            for id in settling {
                match shelf.look(id)? {
                    Settled::NotYet => {}
                    settled => out.push((id, settled)),
                }
            }
            Ok::<_, StoreError>((page, out))
        });
        match read.await {
            Ok(Ok((page, out))) => {
                self.after = page.last().copied().or(self.after);
                self.under_way = self.under_way && page.len() == limit;
                window.add(page);
                for (id, settled) in out {
                    window.settled(id);
                    // The page was passed over for it.
                    self.again |= settled == Settled::Anew;
                }
                return;
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the outbox cannot be read; trying again");
            }
            Err(_) => {}
        }
        (self.again, self.under_way) = (true, false);
        self.next_at = now + AFTER_ERROR;
    }

    fn has_more(&self) -> bool {
        self.under_way || self.again
    }

    fn wanted(&self, window: &Window) -> bool {
        (self.has_more() && window.room() > 0) || window.settling().next().is_some()
    }
}
