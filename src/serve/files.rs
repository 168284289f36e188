//! Who may have how many of the files that a process may have open. A connection is one.
//!
//! Each has a share of its own, so that nobody who takes all of his leaves the others without: a
//! flood of callers does not keep a scraper out, and targets that never answer keep no caller out.

/// For the store, the log, the files of the configuration, AWS, and names that are looked up.
const OTHERS: u64 = 64;

/// Connections at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// Of the data address and the sidecar ports. An idle one costs about 22 KiB, most of it
    /// hyper's two buffers, so there are at most 8,192.
    pub(super) data: usize,
    /// Of the admin address: people, scrapers, dashboards.
    pub(super) admin: usize,
    /// To targets.
    pub(super) targets: usize,
}

impl Shares {
    /// Where so many files may be open.
    pub(super) fn of(files: u64) -> Shares {
        let spare = usize::try_from(files.saturating_sub(OTHERS)).unwrap_or(usize::MAX);
        Shares {
            data: (spare / 2).clamp(16, 8_192),
            admin: (spare / 8).clamp(8, 1_024),
            targets: (spare / 4).clamp(8, 65_536),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_api::server::Slots;

    #[test]
    fn everybody_has_a_share() {
        assert_eq!(Shares::of(1_024), Shares { data: 480, admin: 120, targets: 240 });
        assert_eq!(Shares::of(20_000), Shares { data: 8_192, admin: 1_024, targets: 4_984 });
        assert_eq!(Shares::of(u64::MAX), Shares { data: 8_192, admin: 1_024, targets: 65_536 });
        assert_eq!(Shares::of(0), Shares { data: 16, admin: 8, targets: 8 });
        for files in 128..4_096 {
            let Shares { data, admin, targets } = Shares::of(files);
            assert!((data + admin + targets) as u64 <= files - OTHERS, "{files}");
            let beside = 2 * (Slots::beside(data) + Slots::beside(admin));
            let all = (data + admin + targets + beside) as u64;
            assert!(all <= files - OTHERS / 2, "{files}: {beside} come and go");
        }
    }
}
