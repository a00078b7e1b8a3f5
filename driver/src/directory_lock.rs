//! The exclusive lock on a data directory (STORAGE row 17): two processes that write to one log would destroy it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// The file that carries the lock and, for people, the id of the process that holds it.
pub(crate) const NAME: &str = "lock";

/// A lock held as long as this lives. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Why a data directory cannot be used by this process.
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError {
    /// It cannot be made or opened.
    Directory {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process has it.
    Held {
        /// Which one.
        path: PathBuf,
        /// The other process, as far as it has said so.
        holder: Option<u32>,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, error } if error.kind() == io::ErrorKind::AlreadyExists => {
                write!(f, "the data directory {} is a file; name a directory", path.display())
            }
            Self::Directory { path, error } => write!(
                f,
                "cannot use the data directory {}: {error}; name a directory that this process can make or write to",
                path.display()
            ),
            Self::Held { path, holder: Some(pid) } => write!(
                f,
                "the data directory {} is in use by process {pid}; stop it first, or give this node a directory of its own",
                path.display()
            ),
            Self::Held { path, holder: None } => write!(
                f,
                "the data directory {} is in use by another process; stop it first, or give this node a directory of its own",
                path.display()
            ),
        }
    }
}

impl std::error::Error for LockError {}

impl DirectoryLock {
    /// Locks `directory` or says who has it. Never waits.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Directory { path: directory.to_owned(), error };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(directory.join(NAME)).map_err(failed)?;
        lock(directory, &mut file, FlockOperation::NonBlockingLockExclusive)?;
        // The id serves the message above and nothing else: a full disk must not keep a node from starting.
        let _ = file.set_len(0).and_then(|()| file.rewind());
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }

    /// Keeps nodes out of `directory` as long as this lives, and writes nothing: for whoever only reads it. `None` if no node was
    /// ever there to make the file that carries the lock. Never waits.
    pub fn share(directory: &Path) -> Result<Option<Self>, LockError> {
        let mut file = match File::open(directory.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LockError::Directory { path: directory.to_owned(), error }),
        };
        lock(directory, &mut file, FlockOperation::NonBlockingLockShared)?;
        Ok(Some(Self { _file: file }))
    }
}

fn lock(directory: &Path, file: &mut File, how: FlockOperation) -> Result<(), LockError> {
    match rustix::fs::flock(&*file, how) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // Only for the message: a holder that has not written its id yet is simply not named.
            let holder = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            Err(LockError::Held { path: directory.to_owned(), holder })
        }
        Err(error) => Err(LockError::Directory { path: directory.to_owned(), error: error.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_17_a_second_holder_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(dir.path()).unwrap();
        let error = DirectoryLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(dir.path().to_str().unwrap()), "{error}");
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        DirectoryLock::take(dir.path()).unwrap();
    }

    #[test]
    fn row_17_who_only_reads_keeps_nodes_out_and_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DirectoryLock::share(dir.path()).unwrap().is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let node = DirectoryLock::take(dir.path()).unwrap();
        assert!(matches!(DirectoryLock::share(dir.path()), Err(LockError::Held { holder: Some(_), .. })));
        drop(node);
        let before = std::fs::read(dir.path().join(NAME)).unwrap();
        let readers = [(); 2].map(|()| DirectoryLock::share(dir.path()).unwrap().unwrap());
        assert!(matches!(DirectoryLock::take(dir.path()), Err(LockError::Held { .. })));
        assert_eq!(std::fs::read(dir.path().join(NAME)).unwrap(), before);
        drop(readers);
    }
}
