//! Who may read what is on disk: its owner, and nobody else.
//!
//! What this version makes is made so. What it finds may have come with an older umask, or from a
//! backup that was copied back.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The group's and all others'.
const OTHERS: u32 = 0o077;

/// Takes the rights of others away, with one word in the log for all that had them. Where that is
/// not permitted, because the files are somebody else's, it is said and everything goes on.
pub(super) fn keep_to_owner(paths: impl IntoIterator<Item = PathBuf>) {
    let (mut closed, mut open) = (Vec::new(), Vec::new());
    for path in paths {
        match close(&path) {
            Ok(None) => {}
            Ok(Some(mode)) => closed.push((path, mode)),
            Err(error) => open.push((path, error)),
        }
    }
    if let [(path, mode), more @ ..] = &closed[..] {
        tracing::warn!(
            path = %path.display(),
            mode = %format_args!("{mode:04o}"),
            more = more.len(),
            "others could read a part of the store, or write to it: their rights are taken away",
        );
    }
    if let [(path, error), more @ ..] = &open[..] {
        tracing::warn!(
            path = %path.display(),
            %error,
            more = more.len(),
            "others may read a part of the store, and their rights cannot be taken away: do it by \
             hand (chmod go=)",
        );
    }
}

/// Says which rights it had, where they were too many.
fn close(path: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(None);
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & !OTHERS))?;
    Ok(Some(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_not_permitted_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
        // Of a process nobody may change these, not even root (proc(5)).
        let fixed = PathBuf::from("/proc/self/stat");
        assert!(close(&fixed).is_err());
        keep_to_owner([fixed, folder.path().join("gone"), file.clone()]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    }
}
