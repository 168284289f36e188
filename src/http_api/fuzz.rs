//! Bytes of a connection: see [`crate::fuzz`].

/// What is found in the bytes of a connection is the same however they are cut.
pub fn wire(bytes: &[u8]) {
    let whole = super::wire::judged(bytes, bytes.len().max(1));
    for piece in [1, 2, 3, 7] {
        assert_eq!(super::wire::judged(bytes, piece), whole, "in pieces of {piece}");
    }
}
