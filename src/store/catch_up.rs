//! From the files as a life left them to an index that knows everything.

use std::sync::Arc;

use redb::{Database, ReadableDatabase};

use super::apply::Said;
use super::bodies::Library;
use super::books::Books;
use super::checkpoint::Limits;
use super::commit::{Memory, Starts};
use super::error::Result;
use super::journal::{Journal, Position, Reread, StoreId, Tail, Volume};
use super::live::Live;

/// Applies what the journal has and redb has not, in one transaction. No body is looked into, so
/// no key is needed.
///
/// # Errors
/// Where the two are not as they were left.
pub(super) fn all(
    database: &Database,
    volume: Arc<dyn Volume>,
    library: &Library,
    limits: Limits,
) -> Result<(Memory, Journal)> {
    let (mut memory, id, from) = {
        let txn = database.begin_read()?;
        let (books, live) = (Books::read(&txn)?, Live::read(&txn)?);
        books.audit(&txn)?;
        let memory = Memory { books, live, library: library.clone(), buffers: Default::default() };
        (memory, StoreId::read(&txn)?, Position::read(&txn)?)
    };
    let journal = apply_all(Tail::open(volume, id, from)?, database, &mut memory, limits, from)?;
    journal.audit(memory.live.segments().map(|(number, _)| number))?;
    Ok((memory, journal))
}

fn apply_all(
    mut tail: Tail,
    database: &Database,
    memory: &mut Memory,
    limits: Limits,
    from: Position,
) -> Result<Journal> {
    let mut txn = None;
    let mut count = 0_u64;
    while let Some((at, bytes)) = tail.next()? {
        let txn = match &mut txn {
            Some(txn) => txn,
            none => none.insert(database.begin_write()?),
        };
        let Reread { opening, changes, blobs, moved } = Reread::of(bytes)?;
        let (opening, changes, blobs, moved) = (&opening, &*changes, &*blobs, &*moved);
        Said { opening, changes, blobs, moved, bytes, at }.apply(txn, memory, Starts::Past)?;
        count += 1;
    }
    // The last record is on the disk before redb says that it has it.
    let journal = tail.end(limits)?;
    let next = journal.next();
    // A crash may have left a segment begun, and nothing in it. Those before it are about to be
    // removed where nobody wants them: then redb must not go on from one of them.
    if txn.is_none() && next != from {
        txn = Some(database.begin_write()?);
    }
    if let Some(mut txn) = txn {
        next.write(&txn, &mut Vec::new())?;
        txn.set_quick_repair(true);
        txn.commit()?;
        tracing::info!(records = count, "caught up with the journal");
    }
    Ok(journal)
}
