//! Errors in a few words, for people.

use std::error::Error;
use std::io;

/// Some errors carry words of the target's; no more of them than this, in characters.
const LONGEST: usize = 200;

/// What lies at the bottom of `error`: `connection refused`, `invalid peer certificate: …`.
pub(super) fn of(error: &(dyn Error + 'static)) -> String {
    let root = root(error);
    let mut text = root.to_string();
    if let Some(code) = root.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
        let tail = format!(" (os error {code})");
        text.truncate(text.strip_suffix(&tail).map_or(text.len(), str::len));
    }
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        // Not an abbreviation.
        (Some(first), Some(second)) if second.is_lowercase() => {
            let rest = text.chars().skip(1);
            first.to_lowercase().chain(rest).take(LONGEST).collect()
        }
        _ => text.chars().take(LONGEST).collect(),
    }
}

/// Whether TLS, not the connection under it, failed.
pub(super) fn is_tls(error: &(dyn Error + 'static)) -> bool {
    root(error).is::<rustls::Error>()
}

fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut root = error;
    loop {
        // An `io::Error` names its cause's cause as its source, and so skips the cause itself.
        let inner = root.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let next = match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => root.source(),
        };
        match next {
            Some(next) => root = next,
            None => return root,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottom_of_it_is_told() {
        let refused = io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        assert_eq!(of(&refused), "connection refused");
        let wrapped = io::Error::other(io::Error::other(refused));
        assert_eq!(of(&wrapped), "connection refused");
        assert!(!is_tls(&wrapped));
        let tls = io::Error::other(rustls::Error::DecryptError);
        assert!(is_tls(&tls));
        assert_eq!(of(&io::Error::other("TLS")), "TLS");
        assert_eq!(of(&io::Error::other("é".repeat(500))).chars().count(), LONGEST);
    }
}
