//! Linearizable reads at who does not lead (dissertation §6.4): it asks the leader for the index from which on its own state
//! serves. The noun, and the verbs of the core.
//!
//! Queries are numbered. The answer to one answers all before it: they were asked of the same leader, earlier. A query of
//! an earlier life of this node, whose answer comes late, is told apart by the life's own number (trap 21).

use alloc::collections::VecDeque;

use super::role::State;
use super::{Action, Actions, LogIndex, Message, NodeId, QueryId, Raft, ReadId, Refusal};
use crate::time::Micros;

/// Reads that wait for the leader's word, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Queries {
    /// Each with the query that speaks for it; 0 when it has not left.
    pub(super) waiting: VecDeque<(ReadId, u64)>,
    /// The last query that left.
    pub(super) last: u64,
    /// When it left.
    pub(super) asked_at: Micros,
}

impl Queries {
    fn push(&mut self, read: ReadId) {
        self.waiting.push_back((read, 0));
    }

    /// A query leaves now, and speaks for every read that has come so far. `None` when none has come since the last one.
    fn depart(&mut self, now: Micros) -> Option<u64> {
        if self.waiting.back()?.1 != 0 {
            return None;
        }
        self.last += 1;
        self.asked_at = now;
        for (_, query) in self.waiting.iter_mut().rev().take_while(|(_, query)| *query == 0) {
            *query = self.last;
        }
        Some(self.last)
    }

    /// The next read that query `number` or an earlier one speaks for.
    fn pop_answered(&mut self, number: u64) -> Option<ReadId> {
        let (read, query) = self.waiting.front().copied()?;
        if query == 0 || query > number {
            return None;
        }
        self.waiting.pop_front();
        Some(read)
    }
}

impl Raft {
    /// A read at a follower. Whoever knows no leader refuses it.
    pub(super) fn on_read_elsewhere(&mut self, read: ReadId, out: &mut Actions) {
        let reason = match (&self.state, self.leader) {
            (State::Follower, Some(_)) if self.queries.waiting.len() < self.config.max_pending_reads => {
                return self.queries.push(read);
            }
            (State::Follower, Some(_)) => Refusal::ReadsFull,
            (_, leader) => Refusal::NotLeader(leader),
        };
        out.push(Action::ReadAborted { read, reason });
    }

    /// Asks the leader about the reads that have come.
    #[inline]
    pub(super) fn settle_queries(&mut self, out: &mut Actions) {
        if !self.queries.waiting.is_empty() {
            self.send_query(out);
        }
    }

    fn send_query(&mut self, out: &mut Actions) {
        let Some(leader) = self.leader else { return };
        if let Some(number) = self.queries.depart(self.now.mono) {
            self.ask(leader, number, out);
        }
    }

    /// The leader is alive: a query that it has not answered for a while is lost, or its answer is.
    pub(super) fn repeat_query(&mut self, leader: NodeId, out: &mut Actions) {
        let age = self.now.mono.saturating_sub(self.queries.asked_at);
        let asked = self.queries.waiting.front().is_some_and(|(_, query)| *query != 0);
        if asked && age >= self.config.heartbeat_interval {
            self.queries.asked_at = self.now.mono;
            self.ask(leader, self.queries.last, out);
        }
    }

    fn ask(&self, leader: NodeId, number: u64, out: &mut Actions) {
        let query = QueryId { life: self.life, number };
        self.send(leader, Message::ReadIndex { term: self.hard.term, query }, out);
    }

    /// The leader says from which index on a state answers this query and all before it.
    pub(super) fn on_read_index_reply(&mut self, query: QueryId, index: LogIndex, out: &mut Actions) {
        let ours = query.life == self.life || planted!("query-of-another-life-is-answered");
        if !ours {
            return;
        }
        while let Some(read) = self.queries.pop_answered(query.number) {
            out.push(Action::ReadReady { read, index });
        }
    }

    /// Whom they were asked of leads no more, for what this node knows.
    pub(super) fn abort_queries(&mut self, reason: Refusal, out: &mut Actions) {
        for (read, _) in self.queries.waiting.drain(..) {
            out.push(Action::ReadAborted { read, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_21_a_query_speaks_only_for_reads_that_came_before_it() {
        let mut queries = Queries::default();
        assert_eq!(queries.depart(0), None);
        queries.push(1);
        queries.push(2);
        assert_eq!(queries.depart(0), Some(1));
        assert_eq!(queries.depart(0), None);
        queries.push(3);
        assert_eq!(queries.pop_answered(9), Some(1));
        assert_eq!(queries.pop_answered(9), Some(2));
        assert_eq!(queries.pop_answered(9), None, "it has not left");
        assert_eq!(queries.depart(0), Some(2));
        assert_eq!(queries.pop_answered(1), None);
        assert_eq!(queries.pop_answered(2), Some(3));
    }
}
