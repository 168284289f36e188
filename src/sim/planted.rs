//! Faults that the simulated shell can be made to have. Each breaks a promise; the checker must
//! notice.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    /// An answer goes out before its turn is on disk.
    EarlyReply,
    /// A request leaves when its start is decided, before that is on disk.
    EarlySend,
    /// A request leaves twice.
    DoubleSend,
    /// A restarted broker is made to believe that an hour has passed: its buckets are full.
    FullBuckets,
    /// The disk says that a commit is done, and forgets it when the process dies.
    LyingDisk,
    /// The monotonic clock gains five parts of a hundred.
    FastClock,
    /// Nobody calls when the core asked to be called.
    Oversleeping,
    /// The store answers a question from before the turn that asked it.
    StaleLoads,
    /// The end of an attempt is never told.
    LostReports,
    /// An answer is never let out.
    LostReplies,
    /// A job that was called back before it left is sent all the same.
    SendUncalled,
    /// The core hears the end of an attempt when its request leaves: what it held is free before
    /// the request has arrived.
    FreedAtSending,
    /// A request whose outcome is unknown is sent again behind the core's back.
    RetriedWithoutToken,
    /// The core is told that nothing runs on after it timed out.
    FreedAtTimeout,
    /// What windows have spent is forgotten at a restart.
    ForgottenWindows,
    /// The core is told that a request has left while it has not.
    SaysLeft,
}

impl Planted {
    /// Each with what the checker says of it.
    pub(super) const ALL: [(Planted, &'static str); 16] = [
        (Planted::EarlyReply, "was acknowledged and is not on disk"),
        (Planted::EarlySend, "leaves, and on disk it is"),
        (Planted::DoubleSend, "leaves twice"),
        (Planted::FullBuckets, "too many requests sent"),
        (Planted::LyingDisk, "was acknowledged and is not on disk"),
        (Planted::FastClock, "too many requests sent"),
        (Planted::Oversleeping, "nothing will ever happen again"),
        (Planted::StaleLoads, "panic"),
        (Planted::LostReports, "nothing will ever happen again"),
        (Planted::LostReplies, "nothing will ever happen again"),
        (Planted::SendUncalled, "leaves"),
        (Planted::FreedAtSending, "in a window of"),
        (Planted::RetriedWithoutToken, "in a window of"),
        (Planted::FreedAtTimeout, "are under way and"),
        (Planted::ForgottenWindows, "in a window of"),
        (Planted::SaysLeft, "in a second, not"),
    ];
}
