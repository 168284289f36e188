//! A record as it stands in its segment, integers little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | [`MAGIC`] |
//! | 4 | how many bytes the payload has |
//! | 4 | CRC-32 (IEEE) of the store's id, the bytes of the length and the number, and the payload |
//! | 8 | the record's number: one more than that of the record before it |
//! | n | the payload |
//!
//! The id begins the checksum, and is chance: so no body that somebody sends can look like a
//! record.

use super::segment::StoreId;

const MAGIC: [u8; 4] = *b"\xf1rec";
/// Of what stands before the payload, in bytes.
pub(super) const HEAD: usize = 20;

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: u32,
    checksum: u32,
    pub(super) sequence: u64,
}

impl Head {
    pub(super) fn of(store: StoreId, sequence: u64, length: u32, payload: &[u8]) -> Head {
        let checksum = Checksum::new(store, sequence, length).and(payload).end();
        Head { length, checksum, sequence }
    }

    pub(super) fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[12..].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }

    /// `None` where these bytes do not begin a record.
    pub(super) fn from_bytes(bytes: &[u8; HEAD]) -> Option<Head> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (checksum, rest) = rest.split_first_chunk()?;
        let sequence = u64::from_le_bytes(*rest.first_chunk()?);
        let (length, checksum) = (u32::from_le_bytes(*length), u32::from_le_bytes(*checksum));
        (*magic == MAGIC).then_some(Head { length, checksum, sequence })
    }

    /// Whether this is the payload that the head was made for.
    pub(super) fn fits(self, store: StoreId, payload: &[u8]) -> bool {
        payload.len() == self.length as usize
            && Head::of(store, self.sequence, self.length, payload) == self
    }
}

struct Checksum(crc32fast::Hasher);

impl Checksum {
    fn new(store: StoreId, sequence: u64, length: u32) -> Checksum {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&store.0.to_le_bytes());
        hasher.update(&length.to_le_bytes());
        hasher.update(&sequence.to_le_bytes());
        Checksum(hasher)
    }

    fn and(mut self, payload: &[u8]) -> Checksum {
        self.0.update(payload);
        self
    }

    fn end(self) -> u32 {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId(7);

    #[test]
    fn a_head_reads_back_as_written() {
        let head = Head::of(STORE, 300, 3, b"abc");
        let bytes = head.to_bytes();
        assert_eq!(bytes[..8], [0xf1, b'r', b'e', b'c', 3, 0, 0, 0]);
        assert_eq!(bytes[12..], [44, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Head::from_bytes(&bytes), Some(head));
        assert_eq!(Head::from_bytes(&[0; HEAD]), None);
    }

    #[test]
    fn every_bit_and_the_store_count() {
        let (head, payload) = (Head::of(STORE, 300, 3, b"abc"), *b"abc");
        assert!(head.fits(STORE, &payload));
        assert!(!head.fits(StoreId(8), &payload), "of another store");
        assert!(!head.fits(STORE, b"ab") && !head.fits(STORE, b"abcd"));
        for bit in 0..24 {
            let mut payload = payload;
            payload[bit / 8] ^= 1 << (bit % 8);
            assert!(!head.fits(STORE, &payload));
        }
        for bit in 0..HEAD * 8 {
            let mut bytes = head.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let fits = Head::from_bytes(&bytes).is_some_and(|head| head.fits(STORE, &payload));
            assert!(!fits, "bit {bit}");
        }
    }
}
