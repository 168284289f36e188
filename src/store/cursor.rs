//! Where a listing goes on. Callers carry it as text and never look into it.

use std::fmt;
use std::str::FromStr;

/// The last row that a page looked at.
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor {
    index: Index,
    key: Vec<u8>,
}

/// What a listing walks along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    Jobs,
    Ready,
    Behind,
    Running,
    Timers,
    Verifying,
    Finished,
    Dead,
    /// Back from the youngest.
    DeadNewest,
}

impl Index {
    const ALL: [(Index, char); 9] = [
        (Index::Jobs, 'j'),
        (Index::Ready, 'q'),
        (Index::Behind, 'b'),
        (Index::Running, 'r'),
        (Index::Timers, 't'),
        (Index::Verifying, 'v'),
        (Index::Finished, 'f'),
        (Index::Dead, 'd'),
        (Index::DeadNewest, 'n'),
    ];

    fn letter(self) -> char {
        Index::ALL.iter().find(|(index, _)| *index == self).map_or('?', |(_, letter)| *letter)
    }
}

impl Cursor {
    pub(super) fn new(index: Index, key: &[u8]) -> Cursor {
        Cursor { index, key: key.to_vec() }
    }

    pub(super) fn is_along(&self, index: Index) -> bool {
        self.index == index
    }

    /// `None` where the cursor is of another listing.
    pub(super) fn key<const N: usize>(&self, index: Index) -> Option<[u8; N]> {
        (self.index == index).then_some(self.key.as_slice())?.try_into().ok()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.index.letter())?;
        self.key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: it is the `next` of the page before, as it was given")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;
    fn from_str(text: &str) -> Result<Cursor, NotACursor> {
        let mut letters = text.chars();
        let letter = letters.next().ok_or(NotACursor)?;
        let (index, _) = Index::ALL.iter().find(|(_, own)| *own == letter).ok_or(NotACursor)?;
        // Longer than any key is nonsense, and need not be held.
        if text.len() > 64 || text.len().is_multiple_of(2) {
            return Err(NotACursor);
        }
        let digits: Option<Vec<u8>> =
            letters.map(|letter| u8::try_from(letter.to_digit(16)?).ok()).collect();
        let digits = digits.ok_or(NotACursor)?;
        let key = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        Ok(Cursor { index: *index, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_as_written() {
        for (index, _) in Index::ALL {
            let cursor = Cursor::new(index, &[0, 1, 0xfe, 0xff]);
            assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
            assert_eq!(cursor.key(index), Some([0, 1, 0xfe, 0xff]));
            assert_eq!(cursor.key::<3>(index), None);
        }
        assert_eq!(Cursor::new(Index::Jobs, &[1]).key::<1>(Index::Ready), None);
    }

    #[test]
    fn nonsense_is_no_cursor() {
        let long = format!("j{}", "00".repeat(40));
        for text in ["", "x00", "j0", "j0g", "jé0", "j+1", "é", &long] {
            assert_eq!(text.parse::<Cursor>(), Err(NotACursor), "{text}");
        }
    }
}
