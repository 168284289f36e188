//! Who may do what: bearer tokens (RFC 6750), and the names under which a listener answers.
//!
//! There are two roles that do not stand for each other: *submit* hands jobs in and asks after
//! them at the data address and the sidecar ports, *admin* does what the admin address offers. A
//! role without a token file lets everybody in: the configuration allows that on loopback and on
//! Unix sockets only, unless it is told `insecure_allow_anonymous`.
//!
//! | file | holds |
//! | --- | --- |
//! | `tokens` | a token file, and finding a token in it without telling how far it matched |
//! | `origin` | which Host and Origin lead here (DNS rebinding, cross-site requests) |
//! | `gate` | what stands before every route |

mod gate;
mod origin;
mod tokens;

use std::sync::Arc;

use tokio::sync::watch;

pub(crate) use gate::{Gate, Place, stand_before};
pub use origin::Hosts;
pub(crate) use tokens::Found;
pub use tokens::Tokens;

/// Who may read `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Everybody who reaches the admin address: scrapers need no token.
    Open,
    #[default]
    Admin,
}

/// What holds at all listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `None`: everybody may hand jobs in.
    pub submit: Option<Tokens>,
    /// `None`: everybody may do what the admin address offers.
    pub admin: Option<Tokens>,
    pub metrics: MetricsAccess,
    pub hosts: Hosts,
}

/// The rules in force; clones share them, and a reload puts others in their place.
#[derive(Clone, Debug, Default)]
pub struct Access(watch::Sender<Arc<Rules>>);

impl Access {
    pub fn new(rules: Rules) -> Access {
        Access(watch::Sender::new(Arc::new(rules)))
    }

    pub fn replace(&self, rules: Rules) {
        self.0.send_if_modified(|now| {
            let other = **now != rules;
            *now = Arc::new(rules);
            other
        });
    }

    pub fn rules(&self) -> Arc<Rules> {
        self.0.borrow().clone()
    }

    /// For those who go on after they were let in: tells when other rules are in force.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Rules>> {
        self.0.subscribe()
    }
}

/// Who sent a request. An extension of each that a [`Gate`] let through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// What the token file calls the token; `None` where no token is asked for, or it has no name.
    pub name: Option<Arc<str>>,
    /// `None`: all.
    pub targets: Option<Arc<[String]>>,
}

impl Caller {
    pub fn may_use(&self, target: &str) -> bool {
        self.targets.as_ref().is_none_or(|targets| targets.iter().any(|one| one == target))
    }
}
