//! A file of bearer tokens: one a line, as `token` or `name:token`, and after it `targets=a,b`
//! where it may be used for these targets only. Empty lines and lines that begin with `#` do not
//! count.

use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

/// Longer than any token that makes sense, in bytes.
const LONGEST: usize = 1_024;
const LONGEST_NAME: usize = 64;

#[derive(Clone, PartialEq, Eq)]
struct Token {
    /// SHA-256 of the token: the token itself is not kept.
    digest: [u8; 32],
    name: Option<Arc<str>>,
    targets: Option<Arc<[String]>>,
}

/// Never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens(Arc<[Token]>);

/// What the file says of a token that is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) targets: Option<Arc<[String]>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

impl Tokens {
    /// # Errors
    /// Names each line that is wrong, and shows nothing of what is in it.
    pub fn parse(text: &str) -> Result<Tokens, String> {
        let mut tokens: Vec<Token> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            let token = token(line).map_err(|why| format!("line {number}: {why}"))?;
            if tokens.iter().any(|other| other.digest == token.digest) {
                return Err(format!("line {number}: this token is there already"));
            }
            let same_name = |other: &Token| other.name.is_some() && other.name == token.name;
            if tokens.iter().any(same_name) {
                return Err(format!("line {number}: this name is there already"));
            }
            tokens.push(token);
        }
        if tokens.is_empty() {
            return Err("there is no token in it; write one a line".to_owned());
        }
        Ok(Tokens(tokens.into()))
    }

    /// Looks at every token to its end, so that the time it takes says nothing about them.
    pub(crate) fn find(&self, presented: &[u8]) -> Option<Found> {
        let presented = sha256(presented);
        let mut found = None;
        for token in self.0.iter() {
            let pairs = token.digest.iter().zip(presented);
            let differs = pairs.fold(0, |differs, (one, other)| differs | (one ^ other));
            if differs == 0 {
                found = Some(token);
            }
        }
        found.map(|token| Found { name: token.name.clone(), targets: token.targets.clone() })
    }

    /// Every target that one of them is limited to.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &str> {
        let lists = self.0.iter().filter_map(|token| token.targets.as_deref());
        lists.flatten().map(String::as_str)
    }
}

fn token(line: &str) -> Result<Token, String> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let (name, secret) = match first.split_once(':') {
        Some((name, secret)) => (Some(name), secret),
        None => (None, first),
    };
    if let Some(name) = name {
        let fine = (1..=LONGEST_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !fine {
            return Err(format!(
                "the name before `:` has 1 to {LONGEST_NAME} letters, digits, -, _ or ."
            ));
        }
    }
    // RFC 6750, section 2.1: b64token.
    let fine = (1..=LONGEST).contains(&secret.len())
        && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
    if !fine {
        return Err(format!(
            "a token has 1 to {LONGEST} letters, digits, and -._~+/= (`openssl rand -hex 32` \
             makes a good one)"
        ));
    }
    let mut targets = None;
    for word in words {
        let Some(list) = word.strip_prefix("targets=").filter(|_| targets.is_none()) else {
            return Err("after a token there may only be `targets=NAME,NAME`, once".to_owned());
        };
        let names: Vec<String> = list.split(',').map(str::to_owned).collect();
        if names.iter().any(String::is_empty) {
            return Err("`targets=` is followed by names of targets, with commas".to_owned());
        }
        targets = Some(names.into());
    }
    Ok(Token { digest: sha256(secret.as_bytes()), name: name.map(Arc::from), targets })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_with_what_is_said_of_them() {
        let tokens = Tokens::parse(
            "# two producers\n\nsecret-1\nshop:secret-2 targets=erp,crm\n  night:c2VjcmV0/+~=  \n",
        )
        .unwrap();
        let plain = tokens.find(b"secret-1").unwrap();
        assert_eq!((plain.name, plain.targets), (None, None));
        let shop = tokens.find(b"secret-2").unwrap();
        assert_eq!(shop.name.as_deref(), Some("shop"));
        assert_eq!(shop.targets.as_deref(), Some(&["erp".to_owned(), "crm".to_owned()][..]));
        assert!(tokens.find(b"c2VjcmV0/+~=").is_some());
        for foul in ["", "secret", "secret-11", "shop:secret-2", "shop", "# two producers"] {
            assert_eq!(tokens.find(foul.as_bytes()), None, "{foul}");
        }
        assert_eq!(tokens.targets().collect::<Vec<_>>(), ["erp", "crm"]);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line_and_not_shown() {
        for (text, why) in [
            ("", "no token"),
            ("# none\n", "no token"),
            ("fine\nhush hush", "line 2: after a token"),
            ("hush targets=", "line 1: `targets="),
            ("hush targets=a targets=b", "once"),
            ("a b:hush", "line 1"),
            (":hush", "the name before"),
            ("name:", "a token has"),
            ("h\u{fc}sh", "a token has"),
            ("hush\nother:hush", "line 2: this token is there already"),
            ("one:hush\none:hush2", "this name is there already"),
        ] {
            let error = Tokens::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
        let shown = format!("{:?}", Tokens::parse("hush").unwrap());
        assert!(!shown.contains("hush"), "{shown}");
    }
}
