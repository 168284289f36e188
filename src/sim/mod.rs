//! A seeded world around the core: a virtual clock, a store that takes its time, targets with
//! moods, callers who change their minds, and crashes at any step that leave only what was
//! committed. The promises of the contract are checked at every step.
//!
//! One number makes one world, and the same one each time:
//! ```text
//! TOLLGATE_SIM_FIRST=17 TOLLGATE_SIM_SEEDS=1 cargo test --lib sim -- --nocapture
//! ```
//! runs the one with the seed 17; `TOLLGATE_SIM_SEEDS=100000` as many, from the first on. A world
//! that breaks a promise is run again, and its last steps are printed (`TOLLGATE_SIM_TRACE`: how
//! many). The faults of [`planted`], around the core, and the patches in `mutations/`, in its own code,
//! show that the checker would notice.
//!
//! | file | holds |
//! | --- | --- |
//! | `rng`, `clocks`, `calendar`, `shape` | chance, time, what is to happen, what kind of world it is |
//! | `world`, `process` | what happens in the world; what the broker's process does in it |
//! | `shell`, `disk`, `target`, `works`, `callers` | the driver, the store's thread, the legacy APIs and what they did, those who want something |
//! | `workflows` | Step Functions, and how the shell speaks to it |
//! | `checker` | watches everything, with the help of the next |
//! | `book`, `acks`, `order`, `groups`, `fairness`, `limits`, `kept`, `holds`, `breakers`, `tries`, `doubts`, `history`, `progress`, `tokens` | what must be true of jobs, of answers, of who goes first, of groups, of virtual time, of limits, of each of them, of refusals, of breakers, of retries, of unknown outcomes, of histories, of waking up, of task tokens |
//! | `census` | what the worlds have tried between them |
//! | `planted` | faults that the checker must find |
//! | `seeds`, `words`, `trace`, `violation` | running worlds, and telling what went wrong |
//! | `pace`, `by_hand`, `tests` | tests |

mod acks;
mod book;
mod breakers;
mod by_hand;
mod calendar;
mod callers;
mod census;
mod checker;
mod clocks;
mod disk;
mod doubts;
mod fairness;
mod groups;
mod history;
mod holds;
mod kept;
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
mod tokens;
mod trace;
mod tries;
mod violation;
mod words;
mod workflows;
mod works;
mod world;
