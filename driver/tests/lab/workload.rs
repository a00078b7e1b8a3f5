//! The lab's generic test: clients that write and read for a while, on a net that is cut and mended, over servers that are
//! killed and started again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use quorate::rng::Rng;

use crate::history::Clerk;
use crate::network::Network;
use crate::pace::Pace;
use crate::report::{Report, Turn};
use crate::service::Service;

/// How often the whole is done.
const ITERATIONS: u64 = 3;

/// Clients number their writes from multiples of this on, so that no two write the same.
const DISTINCT: u64 = 1_000_000;

/// One row of the lab's table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) title: &'static str,
    pub(crate) clients: u64,
    pub(crate) servers: u64,
    pub(crate) unreliable: bool,
    pub(crate) crash: bool,
    pub(crate) partitions: bool,
    /// Clients share keys instead of having one each.
    pub(crate) random_keys: bool,
    /// The bytes of log at which a server takes a snapshot.
    pub(crate) max_state: Option<u64>,
}

impl Row {
    /// One client, five servers, and nothing happens to them.
    pub(crate) const CALM: Self = Self {
        title: "",
        clients: 1,
        servers: 5,
        unreliable: false,
        crash: false,
        partitions: false,
        random_keys: false,
        max_state: None,
    };

    pub(crate) fn run(self) {
        let _turn = Turn::wait();
        // Rows differ in what happens to them; so do their draws.
        let seed = self.title.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(31) ^ u64::from(byte));
        let mut service = Service::start(self.servers, self.max_state, seed);
        let report = Report::begin(self.title, &service);
        service.network.set_unreliable(self.unreliable);
        for iteration in 0..ITERATIONS {
            self.iterate(&mut service, iteration, &mut Rng::stream(seed, iteration));
        }
        service.book.check();
        report.passed(&service);
    }

    fn iterate(&self, service: &mut Service, iteration: u64, rng: &mut Rng) {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..self.clients)
            .map(|client| {
                let (row, clerk, stop) = (*self, service.clerk(client), Arc::clone(&stop));
                let (rng, first) = (Rng::new(rng.next_u64()), iteration * DISTINCT);
                thread::spawn(move || row.write_and_read(clerk, client, first, rng, &stop))
            })
            .collect();
        let partitioner = self.partitions.then(|| {
            thread::sleep(service.pace.pause());
            let rng = Rng::new(rng.next_u64());
            partition_again_and_again(&service.network, service.ids(), service.pace, rng, &stop)
        });
        thread::sleep(service.pace.run());
        stop.store(true, Ordering::Relaxed);
        if let Some(partitioner) = partitioner {
            partitioner.join().unwrap();
            service.network.heal();
            thread::sleep(service.pace.pause());
        }
        if self.crash {
            service.kill_all();
            thread::sleep(service.pace.pause());
            service.restart_all();
        }
        let mut reader = service.clerk(self.clients);
        for (client, thread) in clients.into_iter().enumerate() {
            let written = thread.join().unwrap_or_else(|_| panic!("client {client}\n{}", service.logs()));
            let found = reader.get(&client.to_string());
            if !self.random_keys {
                assert_eq!(found, written, "client {client}'s appends, each once and in order");
            }
        }
        reader.finish();
        service.check_sizes(self.max_state);
    }

    /// What one client does until it is told to stop; the value that its own key must have.
    fn write_and_read(
        self,
        mut clerk: Clerk,
        client: u64,
        first: u64,
        mut rng: Rng,
        stop: &AtomicBool,
    ) -> String {
        let (mut key, mut expected) = (client.to_string(), String::new());
        if !self.random_keys {
            clerk.put(&key, "");
        }
        let mut number = first;
        while !stop.load(Ordering::Relaxed) {
            if self.random_keys {
                key = rng.below(self.clients).to_string();
            }
            let value = format!("x {client} {number} y");
            if rng.chance(500, 1000) {
                clerk.append(&key, &value);
                expected += &value;
                number += 1;
            } else if self.random_keys && rng.chance(100, 1000) {
                clerk.put(&key, &value);
                number += 1;
            } else {
                let found = clerk.get(&key);
                if !self.random_keys {
                    assert_eq!(found, expected, "client {client} reads what it wrote");
                }
            }
        }
        clerk.finish();
        expected
    }
}

/// Puts each server into one of two groups by a fair coin, and others a while later, until it is told to stop.
fn partition_again_and_again(
    network: &Arc<Network>,
    servers: Vec<u64>,
    pace: &'static Pace,
    mut rng: Rng,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (network, stop) = (Arc::clone(network), Arc::clone(stop));
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let (one, other): (Vec<u64>, Vec<u64>) = servers.iter().partition(|_| rng.chance(1, 2));
            network.partition(&one, &other);
            let lasts = pace.partition_ms + rng.below(pace.partition_more_ms + 1);
            thread::sleep(Duration::from_millis(lasts));
        }
    })
}
