//! The bytes on disk. Where one of these fails, files that are out there cannot be read any more:
//! see `codec.rs` for the recipe.

use super::header;
use crate::broker::job::{
    End, Event, Failure, Happening, Header, JobId, Place, Priority, Seat, TargetId,
};
use crate::broker::payload::{Answer, Request};
use crate::broker::time::Wall;
use crate::store::codec::{decode, encode};
use crate::store::jobs;

#[test]
fn nothing() {
    let _ = (header(1), jobs::read(&[]), decode::<u8>("", &[]), encode(&mut Vec::new(), &1));
    let _: Option<(End, Event, Failure, Happening, Header, JobId, Place, Priority, Seat)> = None;
    let _: Option<(TargetId, Answer, Request, Wall)> = None;
}
