//! The end of a run: what clients were told is held against the log, and what happened is counted.

use std::format;
use std::vec::Vec;

use super::Run;
use crate::replica::{Request, request_of};
use crate::sim::census::met;
use crate::sim::check::{Committed, Model, SessionLimits, replay};
use crate::sim::cluster::Checked;
use crate::sim::tally::Tally;
use crate::sim::workload::Workload;

impl<W: Workload> Run<'_, W> {
    /// Every disk that forgot has been refused, in the words that its fault demands.
    pub(super) fn judge_refusals(&mut self) -> Checked<()> {
        let bound = self.cluster.now() + self.nemesis.disks().patience();
        while self.cluster.now() < bound {
            if self.nemesis.disks().judge(&self.cluster).is_ok() {
                break;
            }
            let next = self.cluster.now() + 50_000;
            self.go_on_until(next, |_| false)?;
        }
        self.nemesis
            .disks()
            .judge(&self.cluster)
            .map_err(|(node, what)| self.cluster.violation(node, what))?;
        for what in self.nemesis.disks().refused() {
            self.cluster.count(what);
        }
        Ok(())
    }

    /// All replies, twice: replayed in the order of the log, and as the workload judges them.
    pub(super) fn judge_history(&mut self) -> Checked<()> {
        let log: Vec<Committed> = (1..)
            .zip(self.cluster.committed())
            .map(|(index, entry)| Committed {
                index,
                stamp: entry.stamp,
                applied: Some(entry.at),
                request: entry.command.as_ref().and_then(|data| request_of(data)),
            })
            .collect();
        for entry in &log {
            if let Some(Request::Write(command)) = &entry.request
                && W::Model::commands(command).len() > 1
            {
                self.cluster.count(met::JOINED);
            }
        }
        self.workload.complete(&mut self.history, &log);
        let limits = SessionLimits::from(&self.plan.settings().node.replica());
        let replayed = replay(self.workload.model(), limits, &log, &self.history);
        let replayed = replayed.map_err(|contradiction| self.nobody(&format!("{contradiction}")))?;
        self.cluster.count(met::REPLAYED);
        let judged = self.workload.judge(&self.history, &replayed).map_err(|what| self.nobody(&what))?;
        if let Some(what) = judged {
            self.cluster.count(what);
        }
        Ok(())
    }

    /// What the network, the disks and the nodes have counted.
    pub(super) fn count_world(&self, tally: &mut Tally) {
        let (network, disks) = (self.cluster.network.counts(), self.cluster.disk_counts());
        for (what, count) in network.faults().chain(disks.each()) {
            tally.add_many(what, count);
        }
        tally.add_many(met::LOST_NAMES, disks.lost_names);
        tally.add_many(met::DIGESTS, self.cluster.states_compared());
        tally.add_many("operations asked", self.history.operations().len() as u64);
        tally.add_many("operations answered", self.answered);
        tally.add_many("entries committed", self.cluster.committed().len() as u64);
    }
}
