//! The pure core: a state machine without input, output, threads, randomness or a clock.

pub mod change;
pub mod io;
pub mod job;
pub mod payload;
pub mod policy;
pub mod time;
