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

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use super::super::test_disk::TestDisk;
    use super::super::tests::{pack, perform, recover, reopen, settings};
    use super::super::*;
    use super::*;
    use crate::raft::{DiskId, Entry, EntryKind, LogIndex, NodeId, Persist, SnapshotSwitch, Status};
    use crate::replica::testing::Tape;
    use crate::replica::{Replay, ReplicaRestorer, ReplicaView, Restored};
    use crate::rng::Rng;
    use std::vec::Vec;

    const OLD: ClusterId = 0xc1;
    const NEW: ClusterId = 0xc2;

    fn new_settings() -> Settings {
        Settings { fresh_disk: DiskId(99), ..settings() }
    }

    fn entry(term: Term, index: LogIndex) -> Entry {
        // A write, as a replica puts it into its log, of one byte.
        let data = std::vec![1, index as u8].into();
        let stamp = Stamp { unix_ms: 1000 + index, cluster_ms: 10 * index };
        Entry { id: LogId::new(term, index), kind: EntryKind::Command, stamp, data }
    }

    fn three_voters() -> Configuration {
        let member = |n: u64| Member {
            disk: DiskId(u128::from(n) + 76),
            peer_address: std::format!("p:{n}"),
            client_address: std::format!("c:{n}"),
        };
        Configuration::of_voters((1..=3).map(|n| (NodeId(n), member(n))).collect())
    }

    fn write(disk: &mut TestDisk, log: &mut LogWriter, persist: &Persist) {
        let batch = log.persist(persist, pack(&persist.entries));
        perform(disk, &batch);
        log.done(batch.id);
    }

    /// The disk of one of three: a snapshot at 5, entries to 9, of which it knows those to 7 to be committed.
    fn old() -> TestDisk {
        let mut disk = TestDisk::default();
        let Ok(Opened::Unformed(identity)) = recover(&mut disk) else { panic!("it is empty") };
        let founding = Recovered::formed(identity.disk, &three_voters());
        let mut log = disk.finish(Formation::new(settings(), identity, OLD, &founding)).take().unwrap().1;
        let persist = |vote, snapshot, entries, commit| Persist { id: 1, vote, snapshot, entries, commit };
        let first: Entries = (2..=6).map(|index| entry(2, index)).collect();
        write(&mut disk, &mut log, &persist(None, None, first.clone(), 5));
        let mut replay = Replay::<Tape>::new(None, None).unwrap();
        replay.apply(&founding.entries).unwrap();
        replay.apply(&first.iter().take(4).cloned().collect()).unwrap();
        let (last, stamp) = (replay.applied(), replay.stamp());
        let owner = Identity { cluster: Some(OLD), ..identity };
        let point = SnapshotPoint { last, stamp, configuration: three_voters() };
        let snapshot = disk.finish(SaveSnapshot::new(&owner, point, replay.view())).take().unwrap();
        let switch = SnapshotSwitch { snapshot, keeps_suffix: true };
        write(&mut disk, &mut log, &persist(None, Some(Box::new(switch)), Entries::empty(), 5));
        let vote = HardState { term: 4, vote: Some(NodeId(2)) };
        let tail = (7..=9).map(|index| entry(3, index)).collect();
        write(&mut disk, &mut log, &persist(Some(vote), None, tail, 7));
        disk
    }

    /// What a directory holds, without writing to it.
    fn look(disk: &mut TestDisk) -> Result<(Identity, Recovered, Option<Restored<Tape>>), OpenError> {
        let before: Vec<_> = disk.names().collect();
        let before: Vec<_> = before.into_iter().map(|file| (file, disk.bytes(file))).collect();
        let opened = disk.finish(Recovery::inspecting()).take();
        let opened = opened.map(|opened| {
            let Opened::Formed { identity, recovered, .. } = opened else { panic!("it is a refusal") };
            let restored = recovered.snapshot.clone().map(|meta| {
                let from = FileName::snapshot(meta.id.last);
                let load = LoadSnapshot::new(&identity, meta, from, ReplicaRestorer::new());
                disk.finish(load).take().unwrap()
            });
            (identity, recovered, restored)
        });
        let after: Vec<_> = disk.names().collect();
        let after: Vec<_> = after.into_iter().map(|file| (file, disk.bytes(file))).collect();
        assert_eq!(before, after, "a look changes nothing");
        opened
    }

    /// Everything that a disk holds, committed or not.
    fn everything(disk: &mut TestDisk) -> Replay<Tape> {
        let (_, recovered, restored) = look(disk).unwrap();
        let mut replay = Replay::new(recovered.snapshot.as_ref(), restored).unwrap();
        replay.apply(&recovered.entries).unwrap();
        replay
    }

    fn job(replay: &Replay<Tape>) -> Refounding<ReplicaView<Tape>> {
        let remains = Remains {
            term: 4,
            last: replay.applied(),
            stamp: replay.stamp(),
            view: replay.view(),
            peer_address: "new:1".into(),
            client_address: "new:2".into(),
        };
        Refounding::new(new_settings(), NEW, remains)
    }

    #[test]
    fn what_a_disk_holds_becomes_a_cluster_of_one_voter_with_all_of_it() {
        let replay = everything(&mut old());
        assert_eq!(replay.applied(), LogId::new(3, 9));
        // The founding entry, and those after it, uncommitted ones included.
        let items: Vec<_> = (2..=9).map(|index| std::vec![index]).collect();
        assert_eq!(replay.state().items(), items);

        let mut disk = TestDisk::default();
        let founded = disk.finish(job(&replay)).take().unwrap();
        disk.lose_unsynced();
        let (identity, recovered, restored) = look(&mut disk).unwrap();
        assert_eq!((founded.cluster, founded.disk, founded.node), (Some(NEW), DiskId(99), NodeId(1)));
        assert_eq!(Identity { boots: founded.boots, ..identity }, founded);
        let snapshot = recovered.snapshot.as_ref().unwrap();
        assert_eq!((snapshot.id.last, snapshot.stamp), (replay.applied(), replay.stamp()));
        let member =
            Member { disk: DiskId(99), peer_address: "new:1".into(), client_address: "new:2".into() };
        assert_eq!(snapshot.configuration, Configuration::of_voters([(NodeId(1), member)].into()));
        assert_eq!((recovered.entries.len(), recovered.commit), (0, 9));
        assert_eq!(recovered.vote, HardState { term: 4, vote: None });
        let restored = Replay::new(Some(snapshot), restored).unwrap();
        assert_eq!(restored.state(), replay.state());
        assert_eq!(restored.state().seed(), replay.state().seed(), "keys keep their order");

        // Its log goes on behind the snapshot.
        let mut member = match disk.finish(Recovery::new(new_settings())).take() {
            Ok(Opened::Formed { mend, recovered, .. }) => (disk.finish(mend).take().unwrap(), recovered),
            other => panic!("{other:?}"),
        };
        let entries: Entries = [entry(5, 10)].into_iter().collect();
        let vote = Some(HardState { term: 5, vote: Some(NodeId(1)) });
        let persist = Persist { id: 1, vote, snapshot: None, entries: entries.clone(), commit: 9 };
        write(&mut disk, &mut member.0, &persist);
        let (_, recovered, _) = look(&mut disk).unwrap();
        assert_eq!((recovered.entries, recovered.vote.term), (entries, 5));
        assert_eq!(recovered.snapshot, member.1.snapshot);
    }

    #[test]
    fn the_one_voter_leads_at_once_and_nothing_is_committed_again() {
        use crate::raft::{Action, Config, Event, Raft, Role};
        use crate::time::Now;
        let mut disk = TestDisk::default();
        disk.finish(job(&everything(&mut old()))).take().unwrap();
        let (_, recovered, _) = look(&mut disk).unwrap();
        let mut now = Now::new(0, 0);
        let mut raft = Raft::new(Config::new(NodeId(1), 1), recovered, now).unwrap();
        let mut events = Vec::new();
        for _ in 0..100 {
            for action in raft.step(now, events.pop().unwrap_or(Event::Wake)) {
                match action {
                    Action::Persist(write) => events.push(Event::Persisted { id: write.id }),
                    Action::WakeAt(time) => now.mono = now.mono.max(time),
                    _ => {}
                }
            }
        }
        let Status { role, term, commit, last, .. } = raft.status();
        assert_eq!((role, term, commit, last), (Role::Leader, 5, 10, LogId::new(5, 10)));
    }

    #[test]
    fn a_crash_at_any_operation_leaves_nothing_that_starts_or_the_whole() {
        let replay = everything(&mut old());
        let mut whole = 0;
        for seed in 0..20 {
            let rng = &mut Rng::stream(seed, 9);
            for stop in 0.. {
                let mut disk = TestDisk::default();
                let mut fuel = stop;
                let finished = disk.run(&mut job(&replay), &mut fuel);
                disk.crash(rng);
                match disk.finish(Recovery::new(new_settings())).take() {
                    Ok(Opened::Formed { .. }) => {
                        let found = everything(&mut disk);
                        assert_eq!(found.applied(), replay.applied());
                        assert_eq!(found.state(), replay.state(), "seed {seed}, {stop}");
                        whole += usize::from(!finished);
                    }
                    Ok(Opened::Unformed(_)) | Err(OpenError::IdentityLost) => {
                        assert!(!finished, "seed {seed}: it was done, and is lost");
                    }
                    Err(error) => panic!("seed {seed}, {stop}: {error}"),
                }
                if finished {
                    break;
                }
            }
        }
        assert!(whole > 0, "the identity is synced before the job knows");
    }

    #[test]
    fn a_look_writes_nothing_whatever_it_finds() {
        let mut empty = TestDisk::default();
        assert!(matches!(look(&mut empty), Err(OpenError::Unformed)));
        let mut unformed = TestDisk::default();
        recover(&mut unformed).unwrap();
        assert!(matches!(look(&mut unformed), Err(OpenError::Unformed)));
        let mut torn = old();
        let (_, whole, _) = look(&mut torn).unwrap();
        let at = torn.bytes(FileName::Segment(1)).iter().rposition(|byte| *byte != 0).unwrap();
        torn.spoil(FileName::Segment(1), |bytes| bytes[at] ^= 1);
        let (identity, recovered, _) = look(&mut torn).unwrap();
        assert_eq!(identity.node, NodeId(1), "of whatever node");
        assert!(recovered.entries.len() < whole.entries.len(), "a torn tail is left out, and left alone");
        assert!(reopen(&mut torn).notes[0].contains("cut at offset"));
    }

    #[test]
    fn a_disk_that_fails_and_a_directory_that_is_used_are_refused() {
        let replay = everything(&mut old());
        for (full, fail_syncs) in [(true, false), (false, true)] {
            let mut disk = TestDisk::default();
            (disk.full, disk.fail_syncs) = (full, fail_syncs);
            let refused = disk.finish(job(&replay)).take();
            assert!(matches!(refused, Err(OpenError::Disk(_))), "{refused:?}");
        }
        let mut used = old();
        let before = used.bytes(FileName::Identity);
        assert!(used.finish(job(&replay)).take().is_err());
        assert_eq!(used.bytes(FileName::Identity), before);
    }
}
