//! What the tester of the Raft tests asks its servers.

use std::collections::BTreeMap;
use std::format;
use std::vec::Vec;

use super::servers::{MS, Servers};
use crate::raft::{NodeId, Term};
use crate::sim::cluster::Checked;

impl Servers {
    /// What the connected servers say of their terms and of who leads.
    fn roles(&self) -> Vec<(NodeId, Term, bool)> {
        let connected = self.all().into_iter().filter(|&node| self.is_connected(node));
        let role = |node| self.role(node).map(|(term, leads)| (node, term, leads));
        connected.filter_map(role).collect()
    }

    /// The leader among the connected servers, within about five seconds; no term may have two.
    pub(super) fn leader_check(&mut self) -> Checked<NodeId> {
        for _ in 0..10 {
            let pause = (450 + self.rng.below(100)) * MS;
            self.sleep(pause)?;
            let mut leaders = BTreeMap::new();
            for (node, term, _) in self.roles().into_iter().filter(|(.., leads)| *leads) {
                let first = *leaders.entry(term).or_insert(node);
                self.require(first == node, || format!("{first:?} and {node:?} both lead term {term}"))?;
            }
            if let Some((_, leader)) = leaders.pop_last() {
                return Ok(leader);
            }
        }
        Err(self.violation("no leader, although enough servers are connected".into()))
    }

    /// No connected server takes itself for the leader.
    pub(super) fn no_leader_check(&self) -> Checked<()> {
        let leader = self.roles().into_iter().find(|(.., leads)| *leads);
        self.require(leader.is_none(), || format!("a leader without a majority: {leader:?}"))
    }

    /// The term that all connected servers are in.
    pub(super) fn term_check(&self) -> Checked<Term> {
        let mut terms: Vec<Term> = self.roles().into_iter().map(|(_, term, _)| term).collect();
        terms.dedup();
        self.require(terms.len() == 1, || format!("connected servers disagree about the term: {terms:?}"))?;
        Ok(terms[0])
    }

    /// Waits, ever longer, until so many servers have applied this number. `false` when a server has left `term`.
    pub(super) fn wait_for(&mut self, number: usize, servers: usize, term: Option<Term>) -> Checked<bool> {
        let mut pause = 10 * MS;
        for _ in 0..30 {
            if self.oracle.appliers(number) >= servers {
                break;
            }
            self.sleep(pause)?;
            pause = (2 * pause).min(1_280 * MS);
            let moved =
                |term| self.all().into_iter().any(|node| self.role(node).is_some_and(|(now, _)| now > term));
            if term.is_some_and(moved) {
                return Ok(false);
            }
        }
        let applied = self.oracle.appliers(number);
        self.require(applied >= servers, || {
            format!("only {applied} of {servers} servers applied number {number}")
        })?;
        Ok(true)
    }

    /// No server has applied this number.
    pub(super) fn none_applied(&self, number: usize) -> Checked<()> {
        let applied = self.oracle.appliers(number);
        self.require(applied == 0, || format!("{applied} servers applied number {number} too early"))
    }
}
