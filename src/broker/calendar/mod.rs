//! The wall clock of a place: weekly schedules and calendar quotas, safe across daylight saving.
//!
//! Everything here is a function of an instant and of rules that were loaded before; nothing reads
//! a clock or a file. What is asked for every turn says until when its answer holds, so that a
//! caller asks again only then.
//!
//! **The one rule of daylight saving**: what holds at an instant is what the clock on the wall
//! reads at that instant. Where the clock is set back, the hour that it reads twice is in a window
//! twice; where it is set forward, the hour that it never reads is in none: a window that begins in
//! it begins when the clock jumps, one that ends in it ends then, and one that lies within it does
//! not happen that day.

pub(crate) mod fuzz;
mod quota;
mod schedule;
mod week;
mod when;
mod zone;

#[cfg(test)]
mod tests;

pub use quota::{Per, Period, Quota};
pub use schedule::{Entry, Moment, Rule, Schedule};
pub use when::{When, WhenError};
pub use zone::Zone;
