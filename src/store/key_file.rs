//! The keys of `[store] encrypt_key_file`: one a line, 32 bytes as base64 or as 64 hexadecimal
//! digits. The first encrypts, all of them decrypt. The word `none` in place of the first: nothing
//! more is encrypted. Empty lines and lines that begin with `#` do not count.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use ring::digest::{Context, SHA256};

const LENGTH: usize = 32;
/// Of the file, in bytes.
const LARGEST: u64 = 64 << 10;
/// In place of the first key.
const NONE: &str = "none";
/// With or without `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Which key it is, for people and in the store; says nothing of the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(u64);

impl KeyId {
    pub(super) const LENGTH: usize = 8;

    pub(super) fn bytes(self) -> [u8; KeyId::LENGTH] {
        self.0.to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; KeyId::LENGTH]) -> KeyId {
        KeyId(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<KeyId, Self::Err> {
        u64::from_str_radix(text, 16).map(KeyId)
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key([u8; LENGTH]);

impl Key {
    fn parse(text: &str) -> Option<Key> {
        if text.len() == 2 * LENGTH {
            let mut key = [0; LENGTH];
            for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
                let digit = |at: usize| char::from(digits[at]).to_digit(16);
                *byte = (digit(0)? << 4 | digit(1)?) as u8;
            }
            return Some(Key(key));
        }
        BASE64.decode(text).ok()?.try_into().ok().map(Key)
    }

    pub(super) fn id(&self) -> KeyId {
        let mut context = Context::new(&SHA256);
        context.update(b"tollgate store, number of a key");
        context.update(&self.0);
        let mut id = [0; KeyId::LENGTH];
        id.copy_from_slice(&context.finish().as_ref()[..KeyId::LENGTH]);
        KeyId::from_bytes(id)
    }

    /// The secret itself.
    pub(super) fn secret(&self) -> &[u8] {
        &self.0
    }
}

/// At least one key. Cheap to clone; shows the numbers of its keys and nothing else of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    keys: Arc<[(KeyId, Key)]>,
    /// Whether the first one encrypts.
    encrypts: bool,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<KeyId> = self.keys.iter().map(|(id, _)| *id).collect();
        write!(f, "Keys({ids:?}, {})", if self.encrypts { "encrypts" } else { "decrypts only" })
    }
}

impl Keys {
    /// `named`: how errors name the file.
    ///
    /// # Errors
    /// Where the file cannot be read, more than its owner and its group may read it, or it is as in
    /// [`Keys::parse`].
    pub fn read(path: &Path, named: &str) -> Result<Keys, String> {
        let unread = |error| format!("cannot read {named}: {error}");
        let file = File::open(path).map_err(unread)?;
        let mode = file.metadata().map_err(unread)?.permissions().mode();
        if mode & 0o027 != 0 {
            return Err(format!(
                "{named} has mode {:04o}: others than its owner and those of its group may read \
                 it, or others than its owner write it; `chmod 600` it",
                mode & 0o7777
            ));
        }
        let mut text = String::new();
        file.take(LARGEST + 1).read_to_string(&mut text).map_err(unread)?;
        if text.len() as u64 > LARGEST {
            return Err(format!("{named} is larger than {LARGEST} bytes"));
        }
        Keys::parse(&text)
    }

    /// # Errors
    /// Names the line that is wrong, and shows nothing of what is in it.
    pub fn parse(text: &str) -> Result<Keys, String> {
        let mut keys: Vec<(KeyId, Key)> = Vec::new();
        let mut encrypts = true;
        for (index, line) in text.lines().enumerate() {
            let (number, line) = (index + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line == NONE {
                if !keys.is_empty() || !encrypts {
                    return Err(format!("line {number}: `{NONE}` stands first, once"));
                }
                encrypts = false;
                continue;
            }
            let key = Key::parse(line).ok_or_else(|| {
                format!(
                    "line {number}: a key is 32 bytes as base64 or as 64 hexadecimal digits \
                     (`openssl rand -base64 32` makes one)"
                )
            })?;
            if key.0 == [key.0[0]; LENGTH] {
                return Err(format!("line {number}: 32 times the same byte is no key"));
            }
            if keys.iter().any(|(id, _)| *id == key.id()) {
                return Err(format!("line {number}: this key is there already"));
            }
            keys.push((key.id(), key));
        }
        if keys.is_empty() {
            return Err("there is no key in it; `openssl rand -base64 32` makes one".to_owned());
        }
        Ok(Keys { keys: keys.into(), encrypts })
    }

    /// The one that encrypts.
    pub(super) fn first(&self) -> Option<&Key> {
        self.keys.first().filter(|_| self.encrypts).map(|(_, key)| key)
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&Key> {
        self.keys.iter().find(|(known, _)| *known == id).map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const ONE_IN_HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    const OTHER: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn a_key_is_base64_or_hexadecimal() {
        let of = |text: &str| Keys::parse(text).unwrap();
        assert_eq!(of(ONE), of(ONE_IN_HEX));
        assert_eq!(of(ONE), of(&format!("# new\n\n  {}\r\n", ONE.trim_end_matches('='))));
        assert_ne!(of(ONE), of(OTHER));
    }

    #[test]
    fn the_first_encrypts_and_all_decrypt() {
        let keys = Keys::parse(&format!("{OTHER}\n{ONE}\n")).unwrap();
        let one = Keys::parse(ONE).unwrap().first().unwrap().id();
        assert_ne!(keys.first().unwrap().id(), one);
        assert!(keys.get(one).is_some());
        let off = Keys::parse(&format!("none\n{ONE}\n")).unwrap();
        assert!(off.first().is_none() && off.get(one).is_some());
    }

    #[test]
    fn what_is_wrong_is_told_without_the_key() {
        let fails = |text: &str| {
            let error = Keys::parse(text).unwrap_err();
            assert!(!error.contains("BAUG") && !error.contains("0405"), "{error}");
            error
        };
        assert!(fails("").contains("there is no key"));
        assert!(fails("none\n").contains("there is no key"));
        assert!(fails(&format!("{ONE}\nBAUG\n")).starts_with("line 2: a key is 32 bytes"));
        assert!(fails(&ONE_IN_HEX.replace('f', "g")).starts_with("line 1"));
        assert!(fails(&format!("{ONE}\n{ONE_IN_HEX}")).contains("line 2: this key is there"));
        assert!(fails(&format!("{ONE}\nnone")).contains("line 2: `none` stands first"));
        assert!(fails(&format!("none\nnone\n{ONE}")).contains("line 2"));
        assert!(fails(&"00".repeat(32)).contains("the same byte"));
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let shown = format!("{:?}", Keys::parse(ONE).unwrap());
        assert!(shown.starts_with("Keys([") && shown.len() < 50, "{shown}");
        assert!(!shown.contains("0405"), "{shown}");
    }
}
