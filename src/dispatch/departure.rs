//! Tells that a request is on its way, once.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

type Tell = Box<dyn FnOnce() + Send>;

/// Cheap to clone: whoever comes first tells. A request that comes to nothing may never leave; then
/// nobody does.
#[derive(Clone, Default)]
pub struct Departure(Arc<Mutex<Option<Tell>>>);

impl Departure {
    pub fn new(tell: impl FnOnce() + Send + 'static) -> Departure {
        Departure(Arc::new(Mutex::new(Some(Box::new(tell)))))
    }

    /// The first bytes are with the socket, or the rest is up to the network.
    pub(crate) fn tell(&self) {
        let tell = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tell) = tell {
            tell();
        }
    }
}

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Departure(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn it_is_told_once() {
        let told = Arc::new(AtomicU32::new(0));
        let count = told.clone();
        let departure = Departure::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        departure.clone().tell();
        departure.tell();
        assert_eq!(told.load(Ordering::Relaxed), 1);
        Departure::default().tell();
    }
}
