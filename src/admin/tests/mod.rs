//! The router called as a service, with a loop and a store that are made up.

mod documents;
mod events;
mod guard;
mod health;
mod jobs;
mod on_disk;
mod pages;
mod plan;
mod redrive;
mod step_functions;
mod targets;
mod world;

pub(super) use world::target_view;
