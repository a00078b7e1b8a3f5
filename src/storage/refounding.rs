//! Refounding: what is left of a cluster that lost its majority for good becomes a new cluster of one node.

use alloc::string::String;
use core::{fmt, mem};

use super::{
    ClusterId, DiskJob, DiskOp, DiskResult, Formation, Identity, OpenError, Opened, Recovery, SaveSnapshot,
    Settings,
};
use crate::raft::{
    Configuration, Entries, HardState, LogId, Member, Recovered, SnapshotMeta, SnapshotPoint, Stamp, Term,
};
use crate::replica::View;

/// What is left of a cluster, and where the node that goes on with it will be reached.
#[derive(Debug)]
pub struct Remains<V> {
    /// The highest term that is known.
    pub term: Term,
    /// The last entry that the state has applied.
    pub last: LogId,
    /// The log's clocks there.
    pub stamp: Stamp,
    /// The state.
    pub view: V,
    /// Where peers will reach the node, `host:port`.
    pub peer_address: String,
    /// Where clients will reach it, `host:port`.
    pub client_address: String,
}

impl<V> Remains<V> {
    /// Where the snapshot of the new cluster stands: under a configuration of this node and this disk alone.
    fn split(self, identity: &Identity) -> (Term, SnapshotPoint, V) {
        let Self { term, last, stamp, view, peer_address, client_address } = self;
        let member = Member { disk: identity.disk, peer_address, client_address };
        let configuration = Configuration::of_voters([(identity.node, member)].into());
        (term.max(last.term), SnapshotPoint { last, stamp, configuration }, view)
    }
}

/// Which job is under way.
enum Phase<V: View> {
    /// An identity that belongs to no cluster.
    Identity(Recovery, Remains<V>),
    /// The state.
    Snapshot(SaveSnapshot<V>, Identity, Term),
    /// Vote, log, and last the identity with the cluster's id.
    Log(Formation),
    Done(Result<Identity, OpenError>),
}

/// Job: founds a cluster of one node, with a state, in an empty directory: the snapshot, then a vote, an empty log that goes on
/// from the snapshot, and last the identity with the cluster's id, each synced before the next.
///
/// A crash before the end leaves a directory that a node refuses, or one without a cluster. Nothing of the old cluster's
/// directory comes along but the state: cluster and disk have new names, so that the nodes of the old one and this one refuse
/// each other (STORAGE row 18), and no vote or acknowledgement of the one counts in the other.
pub struct Refounding<V: View> {
    settings: Settings,
    cluster: ClusterId,
    phase: Phase<V>,
}

impl<V: View> fmt::Debug for Refounding<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refounding").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl<V: View> Refounding<V> {
    /// Refounding as `cluster`, an id that no other cluster has. `settings` are those of the node, with a fresh name for the
    /// disk.
    pub fn new(settings: Settings, cluster: ClusterId, remains: Remains<V>) -> Self {
        Self { settings, cluster, phase: Phase::Identity(Recovery::new(settings), remains) }
    }

    /// The outcome, when the job is done.
    pub fn take(self) -> Result<Identity, OpenError> {
        match self.phase {
            Phase::Done(outcome) => outcome,
            Phase::Identity(..) | Phase::Snapshot(..) | Phase::Log(_) => Err(OpenError::Unfinished),
        }
    }

    /// What comes after a job that has no more operations.
    fn follow(&self, phase: Phase<V>) -> Result<Phase<V>, OpenError> {
        Ok(match phase {
            Phase::Identity(job, remains) => {
                // A member's directory is not empty.
                let Opened::Unformed(identity) = job.take()? else { return Err(OpenError::Unfinished) };
                let (term, point, view) = remains.split(&identity);
                let owner = Identity { cluster: Some(self.cluster), ..identity };
                Phase::Snapshot(SaveSnapshot::new(&owner, point, view), identity, term)
            }
            Phase::Snapshot(job, identity, term) => {
                let recovered = after(&identity, term, job.take()?);
                Phase::Log(Formation::new(self.settings, identity, self.cluster, &recovered))
            }
            Phase::Log(job) => Phase::Done(Ok(job.take()?.0)),
            Phase::Done(outcome) => Phase::Done(outcome),
        })
    }
}

/// An empty log after `snapshot`. Nobody was voted for in `term`: the votes of the old cluster do not count in this one.
fn after(identity: &Identity, term: Term, snapshot: SnapshotMeta) -> Recovered {
    Recovered {
        disk: identity.disk,
        vote: HardState { term, vote: None },
        commit: snapshot.id.last.index,
        snapshot: Some(snapshot),
        entries: Entries::empty(),
        life: identity.boots,
    }
}

impl<V: View> DiskJob for Refounding<V> {
    fn next(&mut self, mut last: Option<DiskResult>) -> Option<DiskOp> {
        loop {
            let op = match &mut self.phase {
                Phase::Identity(job, _) => job.next(last.take()),
                Phase::Snapshot(job, ..) => job.next(last.take()),
                Phase::Log(job) => job.next(last.take()),
                Phase::Done(_) => return None,
            };
            if op.is_some() {
                return op;
            }
            let phase = mem::replace(&mut self.phase, Phase::Done(Err(OpenError::Unfinished)));
            self.phase = self.follow(phase).unwrap_or_else(|error| Phase::Done(Err(error)));
        }
    }
}
