//! Seeded runs with crashes, partitions, stalled disks and pipelines: what clients are told is the truth.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::world::World;
use crate::node::RequestId;
use crate::replica::{Outcome, Request};
use crate::rng::Rng;

/// A client's connection to one process: pipelines writes, and begins a new epoch when it learns of a refusal.
struct Client {
    connection: u64,
    machine: u64,
    epoch: u32,
    writes: Vec<(RequestId, u32, String)>,
    noted: usize,
}

impl Client {
    fn new(connection: u64, machine: u64) -> Self {
        Self { connection, machine, epoch: 0, writes: Vec::new(), noted: 0 }
    }

    fn act(&mut self, world: &mut World, rng: &mut Rng) {
        while let Some((name, epoch, _)) = self.writes.get(self.noted) {
            let Some(outcomes) = world.machines[&self.machine].replies.get(name) else { break };
            if matches!(outcomes[0], Outcome::Refused(_)) && *epoch == self.epoch {
                self.epoch += 1;
            }
            self.noted += 1;
        }
        for _ in 0..rng.below(4) {
            let command = format!("{}.{}", self.connection, self.writes.len());
            let write = Request::Write(Bytes::from(command.clone().into_bytes()));
            let name = world.ask_in(self.machine, self.connection, self.epoch, write);
            self.writes.push((name, self.epoch, command));
        }
        if rng.chance(1, 8) {
            let read = Request::Read(Bytes::from_static(b"count"));
            world.ask_in(self.machine, self.connection, self.epoch, read);
        }
    }
}

struct Run {
    world: World,
    rng: Rng,
    clients: Vec<Client>,
    next: u64,
    asked: BTreeMap<u64, u64>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut world = World::new(3);
        for id in 1..=3 {
            let config = &mut world.machine(id).config;
            config.raft.seed = seed;
            config.raft.max_uncommitted_bytes = 2 << 10;
            config.raft.trailing_bytes = 512;
            if seed % 2 == 1 {
                // Snapshots are loaded while they come.
                config.raft.snapshot_chunk_bytes = 256;
            }
            config.snapshot_log_bytes = Some(8 << 10);
            config.request_timeout = 2_000_000;
        }
        (1..=3).for_each(|id| world.start(id));
        world.settle();
        world.rng = Some(Rng::stream(seed, 1));
        Self { world, rng: Rng::stream(seed, 2), clients: Vec::new(), next: 1, asked: BTreeMap::new() }
    }

    fn trouble(&mut self) {
        let id = self.rng.below(3) + 1;
        match self.rng.below(10) {
            0 => {
                if self.world.machines[&id].node.is_some() {
                    self.world.crash(id);
                }
            }
            1 | 2 => {
                if self.world.machines[&id].node.is_none() {
                    self.world.start(id);
                }
            }
            3 => self.world.isolate(id, true),
            4 | 5 => self.world.isolate(id, false),
            6 => self.world.break_links(id, id % 3 + 1),
            7 => self.world.machine(id).disk_stalls = true,
            _ => self.world.machine(id).disk_stalls = false,
        }
    }

    fn steps(&mut self) {
        for _ in 0..150 {
            if self.rng.chance(1, 6) {
                self.trouble();
            }
            if self.rng.chance(1, 3) {
                let machine = self.rng.below(3) + 1;
                self.clients.push(Client::new(self.next, machine));
                self.next += 1;
            }
            let oldest = self.clients.len().saturating_sub(6);
            for client in &mut self.clients[oldest..] {
                if self.world.machines[&client.machine].node.is_some() {
                    client.act(&mut self.world, &mut self.rng);
                }
            }
            self.world.run_for(self.rng.below(60_000));
        }
    }

    fn heal(&mut self) {
        for id in 1..=3 {
            self.world.isolate(id, false);
            self.world.machine(id).disk_stalls = false;
            if self.world.machines[&id].node.is_none() {
                self.world.start(id);
            }
        }
        self.world.run_for(4_000_000);
        self.world.settle();
    }

    fn tape(&mut self) -> BTreeMap<String, Vec<usize>> {
        let leader = self.world.leader();
        let member = self.world.node(leader).member.as_ref().expect("it runs");
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, item) in member.replica.state().items().iter().enumerate() {
            places.entry(String::from_utf8(item.clone()).expect("a name")).or_default().push(at);
        }
        places
    }

    fn check(&mut self, seed: u64) -> [usize; 4] {
        let places = self.tape();
        let digests: Vec<u128> = (1..=3).map(|id| self.world.node(id).status().digest).collect();
        assert!(digests.iter().all(|d| *d == digests[0]), "seed {seed}: equal logs, equal states");
        let mut seen = [0; 4];
        for machine in self.world.machines.values() {
            assert_eq!(machine.halted, None, "seed {seed}");
            for (name, outcomes) in &machine.replies {
                assert_eq!(outcomes.len(), 1, "seed {seed}: {name:?} is answered once");
            }
        }
        for client in &self.clients {
            let mut last = None;
            let mut refused = None;
            for (name, epoch, command) in &client.writes {
                let at = places.get(command);
                let what = format!("seed {seed}: {command} of epoch {epoch}");
                assert!(at.is_none_or(|at| at.len() == 1), "{what} at most once");
                let place = at.map(|at| at[0]);
                assert!(place.is_none() || place > last, "{what}: in the order of the pipeline");
                last = place.or(last);
                assert!(place.is_none() || refused != Some(*epoch), "{what} after a refusal in its epoch");
                match self.world.machines[&client.machine].replies.get(name).map(|outcomes| &outcomes[0]) {
                    Some(Outcome::Reply(_)) => {
                        seen[0] += 1;
                        assert!(place.is_some(), "{what} was acknowledged");
                    }
                    Some(Outcome::Refused(_)) => {
                        seen[1] += 1;
                        assert!(place.is_none(), "{what} was refused");
                        refused = Some(*epoch);
                    }
                    Some(Outcome::Undetermined) => seen[2] += 1,
                    Some(other) => panic!("{what}: {other:?}"),
                    None => seen[3] += 1,
                }
            }
        }
        seen
    }
}

#[test]
fn what_clients_are_told_is_the_truth_whatever_happens() {
    let mut total = [0; 4];
    for seed in 0..40 {
        let mut run = Run::new(seed);
        run.steps();
        run.heal();
        let seen = run.check(seed);
        total.iter_mut().zip(seen).for_each(|(total, seen)| *total += seen);
    }
    // The run is worth something only if everything happened.
    assert!(total[0] > 2_000 && total[1] > 200 && total[2] > 20, "{total:?}");
}

#[test]
fn a_process_that_lives_answers_everything_exactly_once() {
    for seed in 100..120 {
        let mut run = Run::new(seed);
        for _ in 0..100 {
            if run.rng.chance(1, 4) {
                let id = run.rng.below(3) + 1;
                match run.rng.below(5) {
                    0 => run.world.isolate(id, true),
                    1 | 2 => run.world.isolate(id, false),
                    3 => run.world.break_links(id, id % 3 + 1),
                    _ => run.world.machine(id).disk_stalls ^= true,
                }
            }
            for machine in 1..=3 {
                let request = match run.rng.below(6) {
                    0 => Request::Read(Bytes::from_static(b"count")),
                    1 => Request::ReadLocal(Bytes::from_static(b"count")),
                    2 => Request::OpenSession { nonce: Bytes::new() },
                    3 => Request::Once { session: 1, seq: 1, ack: 0, command: Bytes::from_static(b"x") },
                    4 => Request::CloseSession { session: 1 },
                    _ => Request::Write(Bytes::from_static(b"x")),
                };
                run.world.ask_in(machine, machine, 0, request);
                *run.asked.entry(machine).or_default() += 1;
            }
            run.world.run_for(run.rng.below(100_000));
        }
        run.heal();
        for (id, machine) in &run.world.machines {
            assert_eq!(machine.replies.len() as u64, run.asked[id], "seed {seed}, node {id}");
            assert!(machine.replies.values().all(|outcomes| outcomes.len() == 1), "seed {seed}, node {id}");
        }
    }
}

#[test]
fn the_same_events_give_the_same_actions_to_the_byte() {
    let trace = |seed| {
        let mut run = Run::new(seed);
        run.world.trace = Some(0);
        run.steps();
        run.world.trace
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}
