//! Where segments are: a directory, or in tests a disk that can be made to fail.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::rights::keep_to_owner;

/// Numbered files.
pub(in crate::store) trait Volume: Debug + Send + Sync {
    /// Their numbers, in order.
    fn list(&self) -> io::Result<Vec<u64>>;
    /// An empty one. Its name is there for good after a [`Volume::sync`].
    fn create(&self, number: u64) -> io::Result<Arc<dyn Piece>>;
    fn open(&self, number: u64) -> io::Result<Arc<dyn Piece>>;
    fn remove(&self, number: u64) -> io::Result<()>;
    /// What was created and removed is so for good.
    fn sync(&self) -> io::Result<()>;
}

/// One of them.
pub(in crate::store) trait Piece: Debug + Send + Sync {
    /// In bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `bytes`, or fails.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// At or before the end.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn cut(&self, length: u64) -> io::Result<()>;
    /// What it holds is there for good.
    fn sync(&self) -> io::Result<()>;
}

const SUFFIX: &str = ".segment";

/// A directory that its owner alone can read. Files in it that are not segments are left alone.
#[derive(Debug)]
pub(in crate::store) struct Directory(PathBuf);

impl Directory {
    /// Beside the file of redb, with its name and `.journal` behind it.
    pub(in crate::store) fn path_beside(file: &Path) -> PathBuf {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".journal");
        file.with_file_name(name)
    }

    /// Opens it or makes it, within one that there is.
    pub(in crate::store) fn open(path: PathBuf) -> io::Result<Directory> {
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
        keep_to_owner([path.clone()]);
        let directory = Directory(path);
        keep_to_owner(directory.list()?.into_iter().map(|number| directory.name(number)));
        Ok(directory)
    }

    /// How much the segments take, in bytes; those that cannot be seen take nothing.
    pub(in crate::store) fn bytes(path: &Path) -> u64 {
        let Ok(entries) = fs::read_dir(path) else { return 0 };
        entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
    }

    fn name(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:010}{SUFFIX}"))
    }
}

impl Volume for Directory {
    fn list(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn create(&self, number: u64) -> io::Result<Arc<dyn Piece>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(options.open(self.name(number))?))
    }

    fn open(&self, number: u64) -> io::Result<Arc<dyn Piece>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.name(number))?))
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.name(number))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl Piece for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
