//! The ways to where explorations begin.

use std::string::String;
use std::vec::Vec;

use super::bounds::{Budget, Start};
use super::cast::{Cast, Stimulus};
use super::member::Flight;
use super::world::{Move, Node, World};
use crate::raft::{Message, NodeId};

impl World {
    /// Goes on from the foundation to where an exploration begins.
    pub(super) fn begin(&mut self, start: Start, cast: &mut Cast) -> Result<(), String> {
        let enough = Budget { timeouts: 1, proposals: 2, snapshots: 1, ..Budget::NONE };
        let left = core::mem::replace(&mut self.left, enough);
        match start {
            Start::Founded => {}
            Start::Established => self.establish(cast)?,
            Start::SnapshotComes => {
                self.establish(cast)?;
                self.send_snapshot(cast)?;
            }
        }
        self.left = left;
        Ok(())
    }

    /// The first node is elected, and all that follows happens.
    fn establish(&mut self, cast: &mut Cast) -> Result<(), String> {
        for node in 1..self.members.len() as Node {
            if cast.view_of(self.members[usize::from(node)]).sticky {
                self.happen(node, Stimulus::Lapse, cast)?;
            }
        }
        self.happen(0, Stimulus::Silence, cast)?;
        self.settle(cast, |_| true)
    }

    /// The leader commits an entry that its last follower does not get, compacts its log, and sends a snapshot instead.
    fn send_snapshot(&mut self, cast: &mut Cast) -> Result<(), String> {
        let (leader, last) = (NodeId(1), NodeId(self.members.len() as u64));
        self.happen(0, Stimulus::Propose, cast)?;
        self.settle(cast, |flight| {
            let is_entry = matches!(&flight.message, Message::Append { entries, .. } if !entries.is_empty());
            flight.to != last && (flight.to == leader || is_entry)
        })?;
        // Who has not heard that it is committed shall not.
        self.flights.clear();
        self.happen(0, Stimulus::Save, cast)?;
        // The append of another one shows what the last node lacks.
        self.happen(0, Stimulus::Propose, cast)?;
        self.settle(cast, |flight| [flight.from, flight.to].contains(&last))?;
        self.happen(last.0 as Node - 1, Stimulus::JobDone, cast)?;
        self.flights.clear();
        Ok(())
    }

    /// What is under way happens, of messages those that `may_arrive`, until nothing is.
    fn settle(&mut self, cast: &mut Cast, may_arrive: impl Fn(&Flight) -> bool) -> Result<(), String> {
        let mut moves = Vec::new();
        loop {
            self.moves(cast, &mut moves);
            let happens = |step: &&Move| match step.stimulus {
                Stimulus::Hear(flight) => may_arrive(cast.flight(flight)),
                stimulus => stimulus == Stimulus::Synced,
            };
            let Some(&step) = moves.iter().find(happens) else { return Ok(()) };
            *self = self.after(step, cast)?;
        }
    }

    fn happen(&mut self, node: Node, stimulus: Stimulus, cast: &mut Cast) -> Result<(), String> {
        *self = self.after(Move { node, stimulus, repeats: false }, cast)?;
        Ok(())
    }
}
