//! Faults that the simulated shell can be made to have. Each breaks a promise; the checker must
//! notice.

use crate::broker::course::Delivery;
use crate::broker::io::Input;

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
    /// The store has forgotten how far its flows are.
    ForgottenFlows,
    /// Who is next in a group is never told.
    LostHeirs,
    /// The store says of every group that nobody is there.
    FreeGroups,
    /// A job that was called back before it left is sent all the same.
    SendUncalled,
    /// A job loses the delivery that it was submitted with.
    ForgottenDelivery,
    /// A target that is asked says that it did nothing.
    LyingVerify,
    /// The broker hears of work that was not done that it was.
    FalseDone,
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
    /// A task token is said to be answered as soon as the answer is on its way.
    EarlySettlement,
    /// That a task token was answered is never told.
    LostSettlements,
    /// The core is never told that a workflow is gone.
    DeafToGone,
    /// A job that was redriven is asked after with the token that was answered.
    OldTokens,
    /// Requests leave as soon as their workflows were asked after.
    NoExit,
}

impl Planted {
    /// What the broker is told instead of `input`.
    pub(super) fn spoil(self, mut input: Input) -> Input {
        if self == Planted::ForgottenDelivery
            && let Input::Submit { jobs, .. } = &mut input
        {
            for job in jobs {
                job.delivery = Some(Delivery::AtLeastOnce);
            }
        }
        input
    }

    /// Each with what the checker says of it.
    pub(super) const ALL: [(Planted, &'static str); 27] = [
        (Planted::EarlyReply, "was acknowledged and is not on disk"),
        (Planted::EarlySend, "leaves, and on disk it is"),
        (Planted::DoubleSend, "leaves twice"),
        (Planted::FullBuckets, "too many requests sent"),
        (Planted::LyingDisk, "was acknowledged and is not on disk"),
        (Planted::FastClock, "too many requests sent"),
        (Planted::Oversleeping, "nothing will ever happen again"),
        (Planted::StaleLoads, "a group waits for nobody"),
        (Planted::LostReports, "nothing will ever happen again"),
        (Planted::LostReplies, "nothing will ever happen again"),
        (Planted::ForgottenFlows, "and is done at"),
        (Planted::LostHeirs, "a group waits for nobody"),
        (Planted::FreeGroups, "beside"),
        (Planted::SendUncalled, "leaves"),
        (Planted::ForgottenDelivery, "an unknown outcome under"),
        (Planted::LyingVerify, "does its work twice"),
        (Planted::FalseDone, "its work was never begun"),
        (Planted::FreedAtSending, "in a window of"),
        (Planted::RetriedWithoutToken, "in a window of"),
        (Planted::FreedAtTimeout, "are under way and"),
        (Planted::ForgottenWindows, "in a window of"),
        (Planted::SaysLeft, "in a second, not"),
        (Planted::EarlySettlement, "Step Functions has no answer"),
        (Planted::LostSettlements, "nothing will ever happen again"),
        (Planted::DeafToGone, "is gone, and it still waits"),
        (Planted::OldTokens, "no workflow is owed an answer"),
        (Planted::NoExit, "arrivals at"),
    ];
}
