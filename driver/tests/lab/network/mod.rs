//! The lab's network between real processes: a relay in the middle of each connection.
//!
//! Each server has a door for its peers, whose address stands in `--cluster`, so that all founders agree on one list; who
//! comes through it is told by the first frame, as the handshake tells it. Each clerk has a door of its own to each server. One
//! thread carries whole messages between the two sockets of a connection and gives each its [`Fate`](fate::Fate).

mod cutter;
pub(crate) mod fate;
mod relay;

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use fate::{Party, Rules};
use mio::Waker;
use relay::Relay;

/// A way to a server.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    /// Who comes through it; nodes say it themselves.
    from: Option<Party>,
    to: u64,
    /// Where the server listens.
    server: String,
}

/// What was sent so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sent {
    /// Messages that ask for an answer: what the lab counts as calls.
    pub(crate) calls: u64,
    /// All messages.
    pub(crate) messages: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// What the thread of the relay and the tests share.
#[derive(Debug)]
struct Shared {
    rules: Mutex<Rules>,
    calls: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    ended: AtomicBool,
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running network. It ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    shared: Arc<Shared>,
    doors: Sender<Door>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// A reliable network. `seed` decides what it does to messages, as far as their order does not.
    pub(crate) fn start(seed: u64) -> Self {
        let shared = Arc::new(Shared {
            rules: Mutex::new(Rules::new(seed)),
            calls: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let (doors, new_doors) = channel();
        let mut relay = Relay::new(Arc::clone(&shared), new_doors).expect("a poll");
        let waker = relay.waker();
        let thread = thread::Builder::new().name("network".into()).spawn(move || relay.run());
        Self { shared, doors, waker, thread: Some(thread.expect("a thread")) }
    }

    /// A door for all peers of server `to`, which listens at `server`; the door's address.
    pub(crate) fn door_for_peers(&self, to: u64, server: &str) -> String {
        self.open(None, to, server)
    }

    /// A door for one party to server `to`, which listens at `server`; the door's address.
    pub(crate) fn door(&self, from: Party, to: u64, server: &str) -> String {
        self.open(Some(from), to, server)
    }

    fn open(&self, from: Option<Party>, to: u64, server: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        self.doors.send(Door { listener, from, to, server: server.to_owned() }).expect("the network runs");
        self.waker.wake().expect("the network runs");
        address
    }

    /// From now on messages are late and lost, or are not.
    pub(crate) fn set_unreliable(&self, unreliable: bool) {
        self.shared.rules().set_unreliable(unreliable);
    }

    /// Servers of one group reach each other and none of the other group.
    pub(crate) fn partition(&self, one: &[u64], other: &[u64]) {
        let mut rules = self.shared.rules();
        for a in one.iter().chain(other) {
            for b in one.iter().chain(other).filter(|b| a != *b) {
                let dead = one.contains(a) != one.contains(b);
                rules.set_dead(Party::Server(*a), Party::Server(*b), dead);
            }
        }
    }

    /// A clerk reaches only these of all servers.
    pub(crate) fn limit(&self, clerk: u64, reach: &[u64], servers: &[u64]) {
        let mut rules = self.shared.rules();
        for server in servers {
            rules.set_dead(Party::Clerk(clerk), Party::Server(*server), !reach.contains(server));
        }
    }

    /// All links live.
    pub(crate) fn heal(&self) {
        self.shared.rules().heal();
    }

    /// What was sent so far, arrived or not.
    pub(crate) fn sent(&self) -> Sent {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { calls, messages, bytes, .. } = &*self.shared;
        Sent { calls: read(calls), messages: read(messages), bytes: read(bytes) }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let woken = self.waker.wake().is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            // It has told of its panic itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    use crate::support::PATIENCE;

    const CLERK: Party = Party::Clerk(1);

    /// A server that answers each PING of each connection; where it listens.
    fn server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut request = [0; 6];
                    while stream.read_exact(&mut request).is_ok() && stream.write_all(b"+PONG\r\n").is_ok() {}
                });
            }
        });
        address
    }

    fn connect(address: &str) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Whether a PING is answered; otherwise the connection has ended.
    fn ping(stream: &mut TcpStream) -> bool {
        let mut reply = [0; 7];
        stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut reply).is_ok()
            && &reply == b"+PONG\r\n"
    }

    #[test]
    fn a_dead_link_ends_a_clerks_connection_and_a_healed_one_takes_another() {
        let network = Network::start(1);
        let door = network.door(CLERK, 2, &server());
        let mut stream = connect(&door);
        assert!(ping(&mut stream) && ping(&mut stream));
        network.limit(1, &[], &[2]);
        assert!(!ping(&mut stream));
        assert!(!ping(&mut connect(&door)));
        network.heal();
        assert!(ping(&mut connect(&door)));
        assert_eq!(network.sent().calls, 5);
    }

    #[test]
    fn on_the_unreliable_net_connections_end_again_and_again() {
        let network = Network::start(2);
        let door = network.door(CLERK, 2, &server());
        network.set_unreliable(true);
        let (mut stream, mut ended, mut answered) = (connect(&door), 0, 0);
        let began = Instant::now();
        while ended < 5 || answered < 20 {
            if ping(&mut stream) {
                answered += 1;
            } else {
                ended += 1;
                stream = connect(&door);
            }
            assert!(began.elapsed() < PATIENCE);
        }
        assert!(began.elapsed() > Duration::from_millis(20), "nothing was late");
    }

    #[test]
    fn a_server_that_is_gone_ends_the_connection() {
        let network = Network::start(3);
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        assert!(!ping(&mut connect(&network.door(CLERK, 2, &nobody))));
    }
}
