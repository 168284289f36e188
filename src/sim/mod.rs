//! A seeded world around the core: a virtual clock, a store that takes its time, targets with
//! moods, callers who change their minds, and crashes at any step that leave only what was
//! committed. The promises of the contract are checked at every step.
mod acks;
mod book;
mod calendar;
mod callers;
mod census;
mod checker;
mod clocks;
mod disk;
mod history;
mod holds;
mod limits;
mod order;
mod pace;
mod planted;
mod process;
mod progress;
mod rng;
mod seeds;
mod shape;
mod shell;
mod target;
mod tests;
mod trace;
mod violation;
mod words;
mod world;
