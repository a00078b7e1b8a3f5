//! A real redis-server, for as long as a test runs.

use std::env;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::wire::Wire;

/// A server with limits like those of a Quorate node. It is killed when this is dropped.
pub(crate) struct Redis {
    pub(crate) address: String,
    child: Child,
    _directory: TempDir,
}

impl Redis {
    /// Starts a server; says that it is not there, and gives nothing, on a machine without one.
    pub(crate) fn start(flags: &[&str]) -> Option<Self> {
        let Some(executable) = find() else {
            println!("redis-server is not installed: the comparison with it is left out");
            return None;
        };
        // Between the look for a free port and its use another process may take it.
        let redis = (0..5).find_map(|_| Self::try_start(&executable, flags));
        Some(redis.expect("redis-server starts"))
    }

    /// Starts a server that is a cluster of one.
    pub(crate) fn start_cluster() -> Option<Self> {
        let bus = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let redis = Self::start(&["--cluster-enabled", "yes", "--cluster-port", &bus])?;
        let mut wire = Wire::connect(&redis.address).unwrap();
        wire.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).unwrap();
        let until = Instant::now() + PATIENCE;
        while !wire.ask(&["CLUSTER", "INFO"]).unwrap().windows(16).any(|text| text == b"cluster_state:ok") {
            assert!(Instant::now() < until, "a cluster of Redis with all slots");
            thread::sleep(Duration::from_millis(10));
        }
        Some(redis)
    }

    fn try_start(executable: &PathBuf, flags: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(executable)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(directory.path())
            .args(["--save", "", "--appendonly", "no", "--proto-max-bulk-len", "8mb", "--databases", "1"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut redis = Self { address: format!("127.0.0.1:{port}"), child, _directory: directory };
        let until = Instant::now() + PATIENCE;
        while redis.child.try_wait().unwrap().is_none() && Instant::now() < until {
            match Wire::connect(&redis.address).and_then(|mut wire| wire.ask(&["PING"])) {
                Ok(pong) if pong == b"+PONG\r\n" => return Some(redis),
                _ => thread::sleep(Duration::from_millis(10)),
            }
        }
        None
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join("redis-server")).find(|file| file.exists())
}
