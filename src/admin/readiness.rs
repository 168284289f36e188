//! Whether the daemon takes jobs, as the daemon itself knows it.

use std::sync::{Arc, PoisonError, RwLock};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    #[default]
    Ready,
    /// Going down in good order: nothing new is taken.
    Draining,
    /// A write failed, for this reason. Nothing can be promised until a restart.
    StoreFailed(String),
}

impl Readiness {
    fn rank(&self) -> u8 {
        match self {
            Readiness::Ready => 0,
            Readiness::Draining => 1,
            Readiness::StoreFailed(_) => 2,
        }
    }
}

/// One [`Readiness`] that the daemon sets and `/readyz` reads; clones share it.
#[derive(Clone, Debug, Default)]
pub struct SharedReadiness(Arc<RwLock<Readiness>>);

impl SharedReadiness {
    /// Readiness only gets worse: draining ends with the process, and only a restart mends a
    /// failed store. What would make it better, or replace the first reason, is ignored.
    pub fn set(&self, readiness: Readiness) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if readiness.rank() > held.rank() {
            *held = readiness;
        }
    }

    pub fn get(&self) -> Readiness {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_gets_worse_and_keeps_the_first_reason() {
        let shared = SharedReadiness::default();
        assert_eq!(shared.get(), Readiness::Ready);
        shared.clone().set(Readiness::StoreFailed("disk on fire".into()));
        shared.set(Readiness::Draining);
        shared.set(Readiness::StoreFailed("and the house".into()));
        assert_eq!(shared.get(), Readiness::StoreFailed("disk on fire".into()));
    }
}
