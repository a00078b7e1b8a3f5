//! What a core's future depends on, as input to a hash: two cores of one fingerprint answer the same events alike.
//!
//! An explorer of all interleavings meets the same situation at many times of day, under many write ids and in every
//! permutation of the nodes. So absolute time, ids of writes and names are left out: a time counts by what it still
//! decides (an age up to the limit that it is held against), a write by its place in the stream, a node by the name that
//! the caller gives it. Left out entirely are
//!
//! * the settings, which do not change;
//! * the generator, and the deadlines drawn from it: a caller must let more than two election timeouts pass before the
//!   `Wake` that is to end one;
//! * the clocks of log time: a caller must keep its wall clocks at 0, and a term of office shorter than a millisecond;
//! * what follows from the rest: remembered runs, contents of configurations, what was last announced and asked for.
//!
//! Every structure is taken apart without `..`, so that a new field does not compile before its place here is decided.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use super::lease::Lease;
use super::progress::{LONGEST_TRIP, Progress, Sending, Transfer};
use super::queries::Queries;
use super::role::{Incoming, Leading, Owed, State, Votes};
use super::transfer::Handover;
use super::writes::Write;
use super::{HardState, LogIndex, NodeId, Raft, SnapshotMeta};
use crate::time::Micros;

impl Raft {
    /// Feeds `hasher` all that decides how this core will answer, with every node called by the name that `names` gives
    /// it. `H` is cloned for parts that have no order.
    pub fn fingerprint<H: Hasher + Clone>(&self, names: &dyn Fn(NodeId) -> NodeId, hasher: &mut H) {
        let Self {
            config,
            disk: _,
            rng: _,
            now,
            hard: HardState { term, vote },
            hard_is_new,
            hard_write,
            log,
            membership,
            snapshot,
            switch,
            writes,
            staged_bytes,
            commit,
            applied,
            life,
            was_member,
            queries,
            state,
            leader,
            owed,
            incoming,
            incoming_term,
            election_after: _,
            election_at: _,
            sticky_until,
            announced: _,
            armed: _,
            halted,
        } = self;
        (names(config.id), term, vote.map(names), hard_is_new).hash(hasher);
        let issued = writes.issued();
        place(*hard_write, writes.done(), issued).hash(hasher);
        (log.base(), log.stamp(log.base().index), log.last().index).hash(hasher);
        log.between(log.base().index + 1, LogIndex::MAX - 1).for_each(|entry| entry.hash(hasher));
        membership.history.iter().for_each(|(since, _)| since.hash(hasher));
        snapshot.as_ref().map(position).hash(hasher);
        switch.as_ref().map(|s| (position(&s.snapshot), s.keeps_suffix)).hash(hasher);
        (writes.handed(), writes.persisted(), staged_bytes, commit, applied).hash(hasher);
        for Write { id: _, last, bytes } in &writes.under_way {
            (last, bytes).hash(hasher);
        }
        (leader.map(names), now.mono < *sticky_until, halted, was_member).hash(hasher);
        let Queries { waiting, last, asked_at } = queries;
        // Which life it is decides nothing before the first query.
        if *last > 0 || !waiting.is_empty() {
            let age = self.age(*asked_at, config.heartbeat_interval);
            (life, waiting, last, age).hash(hasher);
        }
        let Owed { vote, beat, installed, agreed, acknowledged, acknowledge } = owed;
        let installed = installed.map(|(write, snapshot)| (place(write, writes.done(), issued), snapshot));
        (vote.map(names), beat, installed, agreed, acknowledged, acknowledge).hash(hasher);
        if let Some(Incoming { meta, received, written, installing }) = incoming {
            (position(meta), received, written, installing, incoming_term).hash(hasher);
        }
        self.fingerprint_state(state, names, hasher);
    }

    fn fingerprint_state<H: Hasher + Clone>(
        &self,
        state: &State,
        names: &dyn Fn(NodeId) -> NodeId,
        hasher: &mut H,
    ) {
        core::mem::discriminant(state).hash(hasher);
        let timeout = self.config.election_timeout;
        match state {
            State::Follower => {}
            State::PreCandidate(Votes { given, clocks: _, by_transfer })
            | State::Candidate(Votes { given, clocks: _, by_transfer }) => {
                let mut votes: Vec<_> = given.iter().map(|(&id, granted)| (names(id), granted)).collect();
                votes.sort_unstable();
                (votes, by_transfer).hash(hasher);
            }
            State::Leader(lead) => {
                let Leading {
                    peers,
                    round,
                    beat_at,
                    tell_at,
                    widen_at,
                    clock: _,
                    stamp: _,
                    uncommitted,
                    reads,
                    first,
                    settled,
                    handover,
                    lease: Lease { departed, until, revoked },
                } = &**lead;
                let left = |at: Micros| at.saturating_sub(self.now.mono);
                (round, left(*beat_at), tell_at.map(left), uncommitted, reads.named(names), first, settled)
                    .hash(hasher);
                widen_at.map(left).hash(hasher);
                // Of equally near peers the one with the lowest number is asked, whatever it is called.
                self.nearest().map(|few| few.into_iter().map(names).collect::<Vec<_>>()).hash(hasher);
                if let Some(Handover { to, deadline, told, transfer }) = handover {
                    (names(*to), left(*deadline), told, transfer).hash(hasher);
                }
                let departed: Vec<_> =
                    departed.iter().map(|(round, at)| (round, self.age(*at, timeout))).collect();
                (departed, left(*until), revoked).hash(hasher);
                let view = |(id, peer): (NodeId, &Progress)| {
                    let mut hasher = hasher.clone();
                    self.fingerprint_peer(peer, &mut hasher);
                    (names(id), hasher.finish())
                };
                let mut views: Vec<_> = peers.iter().map(view).collect();
                views.sort_unstable();
                views.hash(hasher);
            }
        }
    }

    fn fingerprint_peer<H: Hasher>(&self, peer: &Progress, hasher: &mut H) {
        let Progress { matched, next, sending, told, contact, asked: _, round, clock: _, timed, trip } = peer;
        let timeout = self.config.election_timeout;
        // Compared with the timeout in both ways, at least as long and longer.
        let silent = peer.silent_since().map(|since| self.age(since, timeout));
        (matched, next, told, self.age(*contact, timeout + 1), silent, round).hash(hasher);
        (timed.map(|(round, left)| (round, self.age(left, LONGEST_TRIP))), trip).hash(hasher);
        core::mem::discriminant(sending).hash(hasher);
        match sending {
            Sending::Probe { sent, bare } => {
                (sent.map(|at| self.age(at, self.config.heartbeat_interval)), bare).hash(hasher);
            }
            // When nothing is on its way, the next append sets the time anew.
            Sending::Replicate(window) if window.is_empty() => {}
            Sending::Replicate(window) => (&window.appends, self.age(window.since, timeout)).hash(hasher),
            Sending::Snapshot(transfer) => {
                let Transfer { meta, written, asked, deadline, paused } = &**transfer;
                let left = deadline.saturating_sub(self.now.mono);
                (position(meta), written, asked, left, paused).hash(hasher);
            }
        }
    }

    /// How long ago `at` was, as far as anything asks.
    fn age(&self, at: Micros, limit: Micros) -> Micros {
        self.now.mono.saturating_sub(at).min(limit)
    }
}

/// The place of a write in what is still under way; 0 when it is done.
fn place(write: u64, done: u64, issued: u64) -> u64 {
    if write <= done { 0 } else { 1 + issued.saturating_sub(write) }
}

/// What tells snapshots apart; the configuration in it follows from the entries that it covers.
fn position(meta: &SnapshotMeta) -> (super::SnapshotId, u64) {
    (meta.id, meta.len)
}
