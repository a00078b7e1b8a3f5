//! Ctrl-C and SIGTERM for commands that have something to clean up.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// The readable end of a pipe into which both signals put a byte.
#[derive(Debug)]
pub(crate) struct Interrupt {
    reader: UnixStream,
    seen: AtomicBool,
}

impl Interrupt {
    /// Takes both signals over for the rest of the process's life.
    pub(crate) fn watch() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        pipe::register(SIGINT, writer.try_clone()?)?;
        pipe::register(SIGTERM, writer)?;
        Ok(Self { reader, seen: AtomicBool::new(false) })
    }

    /// Whether one has come, now or before; waits at most `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        if !self.seen.load(Ordering::Relaxed) {
            // A timeout of nothing would be none at all.
            let _ = self.reader.set_nonblocking(patience.is_zero());
            let _ = self.reader.set_read_timeout(Some(patience).filter(|p| !p.is_zero()));
            let came = matches!((&self.reader).read(&mut [0; 16]), Ok(1..));
            self.seen.fetch_or(came, Ordering::Relaxed);
        }
        self.seen.load(Ordering::Relaxed)
    }
}
