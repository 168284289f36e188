//! The part of an ordered index of the store that memory holds: its first rows.
//!
//! The window knows every row up to its edge, and nothing past it. It is filled from the store in
//! the background; what the core adds and removes meanwhile is reconciled when the rows arrive.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge<K> {
    /// The store has no row that is not here.
    Everything,
    /// Rows past this key are in the store only.
    Through(K),
    /// Nothing is known yet.
    Nothing,
}

#[derive(Debug)]
struct Loading<K, V> {
    /// Removed since the load was asked for.
    gone: BTreeSet<K>,
    /// Added past the edge since then.
    added: BTreeMap<K, V>,
    /// The edge moved back meanwhile: the rows would leave a gap.
    void: bool,
}

/// The first rows of an index, by key.
#[derive(Debug)]
pub(super) struct Window<K, V> {
    rows: BTreeMap<K, V>,
    edge: Edge<K>,
    loading: Option<Loading<K, V>>,
    capacity: usize,
}

/// What to ask the store for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted<K> {
    pub(super) after: Option<K>,
    pub(super) limit: usize,
}

impl<K: Copy + Ord, V: Copy> Window<K, V> {
    /// Of an index of which nothing is known.
    pub(super) fn unknown(capacity: usize) -> Window<K, V> {
        Window { rows: BTreeMap::new(), edge: Edge::Nothing, loading: None, capacity }
    }

    /// Of an index that is known to be empty.
    pub(super) fn empty(capacity: usize) -> Window<K, V> {
        Window { edge: Edge::Everything, ..Window::unknown(capacity) }
    }

    pub(super) fn first(&self) -> Option<(K, V)> {
        self.rows.first_key_value().map(|(key, value)| (*key, *value))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = V> {
        self.rows.values().copied()
    }

    /// A row was added to the index. Returns a row that memory lets go for it, perhaps this one.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if !self.covers(key) {
            if let Some(loading) = &mut self.loading {
                loading.gone.remove(&key);
                loading.added.insert(key, value);
                loading.void |= loading.added.len() > self.capacity;
            }
            return Some(value);
        }
        self.rows.insert(key, value);
        self.trim()
    }

    /// Lets go of the last row where there is one too many.
    fn trim(&mut self) -> Option<V> {
        if self.rows.len() <= self.capacity {
            return None;
        }
        let (_, evicted) = self.rows.pop_last()?;
        let (last, _) = self.rows.last_key_value()?;
        self.edge = Edge::Through(*last);
        if let Some(loading) = &mut self.loading {
            loading.void = true;
        }
        Some(evicted)
    }

    /// A row was removed from the index.
    pub(super) fn remove(&mut self, key: K) {
        self.rows.remove(&key);
        if let Some(loading) = &mut self.loading {
            loading.added.remove(&key);
            loading.gone.insert(key);
        }
    }

    /// What to load, once there is little left. Counts as asked for.
    pub(super) fn ask(&mut self) -> Option<Wanted<K>> {
        if self.loading.is_some() || self.rows.len() > self.capacity / 4 {
            return None;
        }
        let after = match self.edge {
            Edge::Everything => return None,
            Edge::Through(key) => Some(key),
            Edge::Nothing => None,
        };
        self.loading = Some(Loading { gone: BTreeSet::new(), added: BTreeMap::new(), void: false });
        Some(Wanted { after, limit: self.capacity - self.rows.len() })
    }

    /// What was asked for came. Calls `keep` for every row that memory takes in, and returns those
    /// that it let go again for want of room.
    pub(super) fn loaded(
        &mut self,
        loaded: impl IntoIterator<Item = (K, V)>,
        exhausted: bool,
        mut keep: impl FnMut(V),
    ) -> Vec<V> {
        let Some(loading) = self.loading.take() else { return Vec::new() };
        if loading.void {
            return Vec::new();
        }
        let mut last = None;
        for (key, value) in loaded {
            last = Some(key);
            if !loading.gone.contains(&key) {
                self.rows.insert(key, value);
                keep(value);
            }
        }
        self.edge = match (exhausted, last) {
            (true, _) => Edge::Everything,
            (false, Some(last)) => Edge::Through(last),
            (false, None) => self.edge,
        };
        let mut let_go = Vec::new();
        // Rows may have come into the part that was known while this was loaded.
        let_go.extend(std::iter::from_fn(|| self.trim()));
        for (key, value) in loading.added {
            keep(value);
            let_go.extend(self.insert(key, value));
        }
        let_go
    }

    fn covers(&self, key: K) -> bool {
        match self.edge {
            Edge::Everything => true,
            Edge::Through(edge) => key <= edge,
            Edge::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window over a set of keys that stands for the store, each key its own value.
    struct World {
        store: BTreeSet<u32>,
        window: Window<u32, u32>,
        /// The rows of a load under way, as the store had them when it was asked.
        answer: Option<(Vec<u32>, bool)>,
    }

    impl World {
        fn step(&mut self, dice: u64) {
            let key = (dice >> 8) as u32 % 60;
            match dice % 6 {
                0 | 1 => {
                    if self.store.insert(key) {
                        self.window.insert(key, key);
                    }
                }
                2 => {
                    if self.store.remove(&key) {
                        self.window.remove(key);
                    }
                }
                3 => {
                    if let Some((first, _)) = self.window.first() {
                        self.store.remove(&first);
                        self.window.remove(first);
                    }
                }
                4 => {
                    if let Some(wanted) = self.window.ask() {
                        let from = wanted.after.map_or(0, |after| after + 1);
                        let rows: Vec<u32> =
                            self.store.range(from..).copied().take(wanted.limit).collect();
                        let exhausted = rows.len() < wanted.limit;
                        self.answer = Some((rows, exhausted));
                    }
                }
                _ => {
                    if let Some((rows, exhausted)) = self.answer.take() {
                        self.window.loaded(rows.into_iter().map(|k| (k, k)), exhausted, |_| {});
                    }
                }
            }
        }

        /// Up to its edge the window is the store.
        fn check(&self) {
            let here: Vec<u32> = self.window.rows.keys().copied().collect();
            let there: Vec<u32> =
                self.store.iter().copied().filter(|key| self.window.covers(*key)).collect();
            assert_eq!(here, there);
            assert!(here.len() <= self.window.capacity);
        }
    }

    #[test]
    fn up_to_its_edge_the_window_is_the_store() {
        for seed in 0..300_u64 {
            let mut world = World {
                store: (0..40).collect(),
                window: Window::unknown(1 + (seed % 12) as usize),
                answer: None,
            };
            let mut dice = seed;
            for _ in 0..400 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
                world.step(dice >> 24);
                world.check();
            }
        }
    }

    #[test]
    fn a_window_that_is_drained_sees_every_row_in_order() {
        let store: Vec<u32> = (0..1_000).collect();
        let mut window = Window::unknown(16);
        let mut seen = Vec::new();
        while seen.len() < store.len() {
            if let Some(wanted) = window.ask() {
                let from = wanted.after.map_or(0, |after| after as usize + 1);
                let rows = &store[from..(from + wanted.limit).min(store.len())];
                let rows = rows.iter().map(|key| (*key, *key));
                window.loaded(rows, from + wanted.limit > store.len(), |_| {});
            }
            let (first, _) = window.first().expect("there is more");
            window.remove(first);
            seen.push(first);
        }
        assert_eq!(seen, store);
    }
}
