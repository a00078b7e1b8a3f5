//! From an unread directory to a member: recovery, formation, the first step of the core.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::job::Work;
use super::{Action, Actions, Fault, Job, Member, Node, Note, Phase};
use crate::codec::peer::{Facts, PeerMessage};
use crate::raft::{Configuration, HardState, NodeId, Recovered};
use crate::replica::{Replica, ReplicaRestorer, Restored, StateMachine};
use crate::storage::{
    ClusterId, DiskError, EarlyLoad, FileName, Formation, Identity, LoadError, LoadSnapshot, LogWriter, Mend,
    OpenError, Opened,
};

impl<S: StateMachine> Node<S> {
    /// The directory is read.
    pub(super) fn recovered(&mut self, opened: Result<Opened, OpenError>, out: &mut Actions<S>) {
        match opened {
            Err(OpenError::Disk(error)) => self.fault = Some(Fault::Disk(error)),
            Err(error) => self.fault = Some(Fault::Directory(error.to_string())),
            Ok(Opened::Unformed(identity)) => {
                self.identity = Some(identity);
                self.founding.learn(identity.node, identity.disk, None);
                self.enter(Phase::Forming);
                let missing = self.founding.missing();
                if !missing.is_empty() {
                    let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
                    let text =
                        format!("no cluster yet: waiting for node {} to say hello", missing.join(", "));
                    out.push(Action::Note(Note(text)));
                }
                self.meet(out);
                if !self.is_founder() {
                    // Nobody knows this node and dials it, whatever its id is.
                    self.links.hurry(self.now.mono);
                }
                self.advance_formation(out);
            }
            Ok(Opened::Formed { identity, recovered, mend, notes }) => {
                out_notes(notes, out);
                self.identity = Some(identity);
                self.founding.learn(identity.node, identity.disk, identity.cluster);
                self.loading = Some((recovered, mend));
                self.find_state(out);
            }
        }
    }

    /// The newest snapshot is loaded, if there is one that can be.
    pub(super) fn loaded_early(&mut self, early: EarlyLoad<ReplicaRestorer<S>>, out: &mut Actions<S>) {
        self.early = Some(early);
        self.find_state(out);
    }

    /// When the directory is judged and the newest snapshot loaded: the state that the log goes on from is loaded, or is to be.
    fn find_state(&mut self, out: &mut Actions<S>) {
        let Some((recovered, mend)) = self.loading.take_if(|_| self.early.is_some()) else { return };
        let (Some(early), Some(identity)) = (self.early.take(), self.identity) else { return };
        let Some(snapshot) = recovered.snapshot.clone() else {
            return self.mend(recovered, None, mend, out);
        };
        if let Some(restored) = early.take(&identity, &snapshot) {
            return self.mend(recovered, Some(restored), mend, out);
        }
        // It cannot be loaded, and it is to be said why; or a crash came before the log named the newest.
        let file = FileName::snapshot(snapshot.id.last);
        let load = LoadSnapshot::new(&identity, snapshot, file, ReplicaRestorer::new());
        self.loading = Some((recovered, mend));
        out.push(Action::Job(Job::new(Work::Load(load))));
    }

    /// The state of the recovered snapshot is loaded.
    pub(super) fn loaded(&mut self, loaded: Result<Restored<S>, LoadError>, out: &mut Actions<S>) {
        let Some((recovered, mend)) = self.loading.take() else { return };
        match loaded {
            Ok(restored) => self.mend(recovered, Some(restored), mend, out),
            Err(LoadError::Disk(error @ DiskError::Io(..))) => self.fault = Some(Fault::Disk(error)),
            Err(error) => {
                let id = self.config.raft.id;
                self.fault = Some(Fault::Directory(format!(
                    "the snapshot before the log cannot be loaded: {error}; \
                     remove node {id} from the cluster and add it again with an empty directory"
                )));
            }
        }
    }

    /// Nothing on the disk is a reason to refuse it: now it may be written to.
    fn mend(
        &mut self,
        recovered: Recovered,
        restored: Option<Restored<S>>,
        mend: Mend,
        out: &mut Actions<S>,
    ) {
        self.mending = Some((recovered, restored));
        out.push(Action::Job(Job::new(Work::Mend(mend))));
    }

    /// The directory is as if its last life had ended well.
    pub(super) fn mended(&mut self, log: Result<LogWriter, DiskError>, out: &mut Actions<S>) {
        let Some((recovered, restored)) = self.mending.take() else { return };
        match log {
            Ok(log) => self.join(recovered, restored, log, out),
            Err(error) => self.fault = Some(Fault::Disk(error)),
        }
    }

    /// Founds the cluster on this disk, as soon as every founder's disk is known.
    pub(super) fn advance_formation(&mut self, out: &mut Actions<S>) {
        let Some(identity) = self.identity.filter(|identity| identity.cluster.is_none()) else { return };
        if self.forming.is_some() || self.phase != Phase::Forming || !self.is_founder() {
            return;
        }
        if let Some((cluster, configuration)) = self.founding.charter() {
            self.form(identity, cluster, Recovered::formed(identity.disk, &configuration), out);
        }
    }

    /// A member that no founder knew of: what it hears from the cluster's core proves that it was added, with this disk.
    /// Its log begins empty.
    pub(super) fn be_added(&mut self, peer: NodeId, out: &mut Actions<S>) {
        let Some(identity) = self.identity.filter(|identity| identity.cluster.is_none()) else { return };
        if self.forming.is_some() || self.phase != Phase::Forming || self.is_founder() {
            return;
        }
        let Some(cluster) = self.founding.cluster_of(peer) else { return };
        let (disk, vote) = (identity.disk, HardState::default());
        let entries = Vec::new().into();
        let empty = Recovered { disk, vote, snapshot: None, entries, commit: 0, life: identity.boots };
        self.form(identity, cluster, empty, out);
    }

    fn is_founder(&self) -> bool {
        !self.founding.joins()
    }

    fn form(&mut self, identity: Identity, cluster: ClusterId, recovered: Recovered, out: &mut Actions<S>) {
        out.push(Action::Note(Note(format!("forming cluster {cluster:032x}"))));
        let formation = Formation::new(self.config.storage(), identity, cluster, &recovered);
        self.forming = Some(recovered);
        out.push(Action::Job(Job::new(Work::Form(formation))));
    }

    /// The directory is a member's, synced.
    pub(super) fn formed(&mut self, formed: Result<(Identity, LogWriter), DiskError>, out: &mut Actions<S>) {
        let Some(mut recovered) = self.forming.take() else { return };
        let (identity, log) = match formed {
            Ok(formed) => formed,
            Err(error) => {
                self.fault = Some(Fault::Disk(error));
                return;
            }
        };
        self.identity = Some(identity);
        recovered.life = identity.boots;
        self.founding.learn(identity.node, identity.disk, identity.cluster);
        self.join(recovered, None, log, out);
        if let Some(cluster) = identity.cluster {
            self.broadcast(&PeerMessage::Formed { cluster }, out);
        }
    }

    /// The core begins. It gets its clock only when every founder is known to be formed: until then it answers, and does
    /// not campaign (RAFT.md, trap 25).
    fn join(
        &mut self,
        recovered: Recovered,
        restored: Option<Restored<S>>,
        log: LogWriter,
        out: &mut Actions<S>,
    ) {
        let last = recovered.entries.last_id().map_or(0, |last| last.index);
        let proven =
            recovered.vote.term > 0 || recovered.snapshot.is_some() || last > 1 || !self.is_founder();
        self.term = recovered.vote.term;
        self.applied_at_start = recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.id.last.index);
        let replica = match Replica::new(self.config.replica(), recovered, restored, self.now) {
            Ok(replica) => replica,
            Err(error) => {
                self.fault = Some(Fault::Directory(error.to_string()));
                return;
            }
        };
        self.compare_addresses(replica.raft().configuration(), out);
        self.member = Some(Member { replica, log });
        self.timers.replica_begun = true;
        self.enter(Phase::Forming);
        if self.stopping.is_some() {
            self.inbox.push(crate::replica::Event::Stop);
        }
        self.meet(out);
        self.links.hurry(self.now.mono);
        if proven {
            self.completed(out);
        }
        self.check_complete(out);
    }

    /// The log's addresses win over the flag's: whoever moves a node by its flag alone has to be told.
    fn compare_addresses(&self, configuration: &Configuration, out: &mut Actions<S>) {
        for (id, member) in &configuration.members {
            let Some(flag) = self.config.founders.get(id) else { continue };
            let (peer, client) = (&member.peer_address, &member.client_address);
            if (peer, client) != (&flag.peer, &flag.client) {
                let text = format!(
                    "the cluster knows node {id} as {peer}/{client}, and that counts; the settings here say {}/{}; if it has \
                     moved there: quorate member move {id}={}/{}",
                    flag.peer, flag.client, flag.peer, flag.client
                );
                out.push(Action::Note(Note(text)));
            }
        }
    }

    /// Whether every founder is now known to be formed.
    pub(super) fn check_complete(&mut self, out: &mut Actions<S>) {
        let cluster = self.identity.and_then(|identity| identity.cluster);
        if cluster.is_some_and(|cluster| self.founding.complete(cluster)) {
            self.completed(out);
        }
    }

    /// Every founder is formed: the core gets its clock.
    pub(super) fn completed(&mut self, out: &mut Actions<S>) {
        if self.complete || self.member.is_none() {
            return;
        }
        self.complete = true;
        self.enter(Phase::Running);
        self.timers.replica_woken = true;
        self.timers.housekeep_from(self.now.mono);
        if let Some(cluster) = self.identity.and_then(|identity| identity.cluster) {
            out.push(Action::Note(Note(format!("a member of cluster {cluster:032x}"))));
        }
    }

    /// Goes on to the next phase, unless the node is stopping.
    fn enter(&mut self, phase: Phase) {
        if matches!(self.phase, Phase::Recovering | Phase::Forming) {
            self.phase = phase;
        }
    }

    /// What this node says of itself; `None` while it does not know.
    pub(super) fn facts(&self) -> Option<Facts> {
        let identity = self.identity?;
        let last = match (&self.member, identity.cluster) {
            (Some(member), _) => {
                let raft = member.replica.raft().status();
                // While a snapshot takes the place of the log, the old log's entries are still on the disk and not counted
                // any more; the snapshot, past all that was ever acknowledged, is not counted yet.
                raft.persisted.max(raft.commit)
            }
            (None, None) => 0,
            (None, Some(_)) => return None,
        };
        Some(Facts {
            node: identity.node,
            disk: identity.disk,
            cluster: identity.cluster,
            boots: identity.boots,
            last,
            founders: self.founding.hash(),
            complete: self.complete,
        })
    }
}

fn out_notes<S: StateMachine>(notes: Vec<String>, out: &mut Actions<S>) {
    for note in notes {
        out.push(Action::Note(Note(note)));
    }
}
