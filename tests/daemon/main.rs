//! The daemon from outside: the real program, a fake API that keeps books, and nothing in between
//! that either of them could hide behind.
//!
//! `cargo test --release --test daemon -- --ignored --nocapture --test-threads=1` runs the long
//! ones and prints what they measured.

mod access;
mod at_rest;
mod broken_disk;
mod callbacks;
mod clocks;
mod crash;
mod dedup;
mod deliveries;
mod export;
mod fairness;
mod groups;
mod idle;
mod injection;
mod kills;
mod limits;
mod memory;
mod metronome;
mod network;
mod orders;
mod outcomes;
mod overload;
mod priority;
mod prometheus;
mod raw;
mod reload;
mod secrets;
mod smuggling;
mod strangers;
mod support;
mod top;
mod traces;
