//! Requests to stop: SIGTERM, SIGINT, or the end of standard input for a node that must not outlive its parent.

use std::io::{self, Read};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::thread;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// The readable end of a pipe into which every request to stop puts a byte.
#[derive(Debug)]
pub struct StopSignal {
    reader: UnixStream,
    writer: StdUnixStream,
}

impl StopSignal {
    /// Takes SIGTERM and SIGINT over for the rest of the process's life.
    pub fn install() -> io::Result<Self> {
        let (reader, writer) = StdUnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        pipe::register(SIGTERM, writer.try_clone()?)?;
        pipe::register(SIGINT, writer.try_clone()?)?;
        Ok(Self { reader: UnixStream::from_std(reader), writer })
    }

    /// Makes the end of standard input a request to stop, too.
    pub fn watch_stdin(&self) -> io::Result<()> {
        let writer = self.writer.try_clone()?;
        thread::Builder::new().name("parent".into()).spawn(move || {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            let _ = io::Write::write(&mut &writer, b"s");
        })?;
        Ok(())
    }

    /// Has the poll tell when a request comes.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.reader, token, Interest::READABLE)
    }

    /// How many requests have come since the last call.
    pub(crate) fn take(&mut self) -> usize {
        let mut bytes = [0; 16];
        let mut requests = 0;
        while let Ok(n @ 1..) = self.reader.read(&mut bytes) {
            requests += n;
        }
        requests
    }
}
