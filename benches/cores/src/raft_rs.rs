//! Three cores of raft-rs in one thread, in the shape of `trio`: messages are handed over directly, and what is ready is
//! taken to be on disk at once.

use std::hint::black_box;

use raft::prelude::{Config, Message};
use raft::storage::MemStorage;
use raft::{RawNode, StateRole};
use slog::{Discard, Logger, o};

use crate::trio::COMPACT_EVERY;

/// The cores, the first of which leads.
pub struct Trio {
    nodes: Vec<Node>,
    // Reused, as a driver does.
    sent: Vec<Message>,
    delivered: Vec<Message>,
}

struct Node {
    raw: RawNode<MemStorage>,
    applied: u64,
    compacted: u64,
}

impl Trio {
    /// Cores whose leader tells the commit index by messages of its own, or (`skip_bcast_commit`) by the next append.
    pub fn new(tells_at_once: bool) -> Self {
        let logger = Logger::root(Discard, o!());
        let node = |id| {
            let config = Config {
                id,
                election_tick: 10,
                heartbeat_tick: 3,
                max_size_per_msg: 256 << 10,
                max_inflight_msgs: 64,
                // One append for all that is proposed between two readies: what is best for batches.
                batch_append: true,
                skip_bcast_commit: !tells_at_once,
                ..Config::default()
            };
            let storage = MemStorage::new_with_conf_state((vec![1, 2, 3], vec![]));
            let raw = RawNode::new(&config, storage, &logger).expect("valid settings");
            Node { raw, applied: 0, compacted: 0 }
        };
        let mut trio = Self { nodes: (1..=3).map(node).collect(), sent: Vec::new(), delivered: Vec::new() };
        trio.nodes[0].raw.campaign().expect("a voter may campaign");
        trio.run();
        assert_eq!(trio.nodes[0].raw.raft.state, StateRole::Leader);
        trio
    }

    /// Appends these and runs until nobody has anything to do; the leader has applied them then.
    pub fn propose(&mut self, payloads: impl IntoIterator<Item = Vec<u8>>) {
        let leader = &mut self.nodes[0];
        for payload in payloads {
            leader.raw.propose(Vec::new(), payload).expect("the leader takes proposals");
        }
        let target = leader.raw.raft.raft_log.last_index();
        self.run();
        let applied = self.applied();
        assert!(applied[0] >= target, "applied {applied:?} of {target}");
        for node in &mut self.nodes {
            if node.applied >= node.compacted + COMPACT_EVERY {
                node.raw.store().wl().compact(node.applied).expect("applied and in the log");
                node.compacted = node.applied;
            }
        }
    }

    /// The last index that each core has applied.
    pub fn applied(&self) -> [u64; 3] {
        core::array::from_fn(|i| self.nodes[i].applied)
    }

    /// Hands messages over until nobody has any.
    fn run(&mut self) {
        loop {
            for node in &mut self.nodes {
                while node.raw.has_ready() {
                    node.ready(&mut self.sent);
                }
            }
            if self.sent.is_empty() {
                return;
            }
            std::mem::swap(&mut self.sent, &mut self.delivered);
            for message in self.delivered.drain(..) {
                let to = message.to as usize - 1;
                self.nodes[to].raw.step(message).expect("a message of a peer");
            }
        }
    }
}

impl Node {
    /// What the documentation of `raft` says must be done, in its order.
    fn ready(&mut self, sent: &mut Vec<Message>) {
        let mut ready = self.raw.ready();
        sent.extend(ready.take_messages());
        self.apply(ready.take_committed_entries());
        if !ready.entries().is_empty() {
            self.raw.store().wl().append(ready.entries()).expect("entries follow the log");
        }
        if let Some(hard) = ready.hs() {
            self.raw.store().wl().set_hardstate(hard.clone());
        }
        sent.extend(ready.take_persisted_messages());
        let mut light = self.raw.advance(ready);
        if let Some(commit) = light.commit_index() {
            self.raw.store().wl().mut_hard_state().set_commit(commit);
        }
        sent.extend(light.take_messages());
        self.apply(light.take_committed_entries());
        self.raw.advance_apply();
    }

    fn apply(&mut self, entries: Vec<raft::prelude::Entry>) {
        self.applied = entries.last().map_or(self.applied, |last| last.index);
        black_box(entries);
    }
}
