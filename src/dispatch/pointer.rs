//! A value of a JSON text by its pointer (RFC 6901), as it is written there: no number is rounded
//! on the way.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::config::Pointer;

/// `None` where the text is no JSON or the value is not there. Of two members of one name the last
/// counts, as with most readers.
pub(crate) fn find<'a>(json: &'a [u8], pointer: &Pointer) -> Option<&'a RawValue> {
    let mut value: &RawValue = serde_json::from_slice(json).ok()?;
    for token in pointer.tokens() {
        value = match value.get().as_bytes().first()? {
            b'{' => {
                let members: BTreeMap<String, &RawValue> =
                    serde_json::from_str(value.get()).ok()?;
                *members.get(token)?
            }
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
                elements.get(index(token)?).copied()?
            }
            _ => return None,
        };
    }
    Some(value)
}

/// RFC 6901, section 4: no leading zeros, no sign.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with('0');
    (plain && token.bytes().all(|byte| byte.is_ascii_digit())).then(|| token.parse().ok())?
}

/// A text, number or boolean as a text.
pub(crate) fn scalar(value: &RawValue) -> Option<String> {
    match value.get().as_bytes().first()? {
        b'"' => serde_json::from_str(value.get()).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(value.get().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        let json = br#"{"foo":["bar","baz"],"":0,"a/b":1,"m~n":8,"k":1,"k":123456789012345678901}"#;
        for (pointer, expected) in [
            ("/foo", Some(r#"["bar","baz"]"#)),
            ("/foo/0", Some(r#""bar""#)),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/m~0n", Some("8")),
            ("/k", Some("123456789012345678901")),
            ("/foo/00", None),
            ("/foo/-", None),
            ("/foo/2", None),
            ("/foo/0/x", None),
            ("/nowhere", None),
        ] {
            let found = find(json, &Pointer::parse(pointer).unwrap()).map(RawValue::get);
            assert_eq!(found, expected, "{pointer}");
        }
        assert_eq!(find(b"7", &Pointer::parse("").unwrap()).map(RawValue::get), Some("7"));
        for broken in [&b""[..], b"{", b"\xff", br#"{"foo":1} x"#] {
            assert!(find(broken, &Pointer::parse("/foo").unwrap()).is_none());
        }
    }
}
