//! Snapshots on their way: pieces read for followers, pieces written from a leader, the whole loaded beside the running
//! state. The core decides what and when; here it becomes jobs and frames.

use alloc::boxed::Box;
use alloc::format;
use core::mem;

use bytes::Bytes;

use super::job::Work;
use super::{Action, Actions, Fault, Job, Node, Note};
use crate::codec::peer::PeerMessage;
use crate::raft::{Message, NodeId, SnapshotId, SnapshotMeta, Term};
use crate::replica::{self, Garbage, ReplicaRestorer, Restored, StateMachine};
use crate::storage::{DiskError, FileName, LoadError, LoadSnapshot, ReadChunk, RemoveFile, WriteChunk};

/// So many pieces, once they are written, are loaded by one job.
const LOADED_AT_ONCE: u64 = 8;

/// A snapshot that a leader sends: its state is loaded while its pieces come, so that the last piece is not waited for with
/// all of the loading to be done.
pub(super) struct Receiving<S: StateMachine> {
    pub(super) snapshot: SnapshotMeta,
    /// Tells its jobs from those of another reception, even of the same snapshot, whose file was another.
    pub(super) number: u64,
    pub(super) written: u64,
    load: Loading<S>,
}

enum Loading<S: StateMachine> {
    /// What it has read so far is all that was written when it was sent.
    Here(Box<LoadSnapshot<ReplicaRestorer<S>>>),
    /// A job loads on.
    Away {
        all_is_there: bool,
    },
    Failed,
}

impl<S: StateMachine> Node<S> {
    /// A piece for a follower: read beside the log lane, unless there is no connection to send it on; the core asks again.
    pub(super) fn read_chunk(
        &mut self,
        to: NodeId,
        term: Term,
        snapshot: Box<SnapshotMeta>,
        offset: u64,
        len: u64,
        out: &mut Actions<S>,
    ) {
        if self.links.link_of(to).is_none() {
            return;
        }
        self.pin(to, Some(snapshot.id));
        let read = ReadChunk::new(&snapshot, offset, len);
        out.push(Action::Job(Job::new(Work::ReadChunk { to, term, snapshot, offset, read })));
    }

    /// The piece is read: it leaves as a message of the core.
    pub(super) fn chunk_read(
        &mut self,
        to: NodeId,
        term: Term,
        snapshot: Box<SnapshotMeta>,
        offset: u64,
        read: Result<Bytes, DiskError>,
        out: &mut Actions<S>,
    ) {
        match read {
            Ok(data) => {
                let message = Message::SnapshotChunk { term, snapshot, offset, data };
                self.send(to, &PeerMessage::Raft(message), out);
            }
            Err(error) => self.disk_trouble("a piece of a snapshot was not read", error, out),
        }
    }

    /// The file that `peer` is being sent from now on stays; the one before may go.
    pub(super) fn pin(&mut self, peer: NodeId, snapshot: Option<SnapshotId>) {
        let Some(member) = &mut self.member else { return };
        if self.sending.get(&peer).copied() == snapshot {
            return;
        }
        if let Some(snapshot) = snapshot {
            member.log.pin(snapshot);
        }
        let older = match snapshot {
            Some(snapshot) => self.sending.insert(peer, snapshot),
            None => self.sending.remove(&peer),
        };
        if let Some(older) = older {
            member.log.unpin(older);
        }
    }

    /// `peer` needs no more of `snapshot`. If that is not the one that it is being sent by now, that one's file stays: all its
    /// pieces may have been read but one that is lost on the way.
    pub(super) fn transferred(&mut self, peer: NodeId, snapshot: SnapshotId) {
        if self.sending.get(&peer) == Some(&snapshot) {
            self.pin(peer, None);
        }
    }

    /// The file of `snapshot` is in the directory, whether or not the core has a use for it: upkeep is to remove it one day.
    pub(super) fn keep_track(&mut self, snapshot: SnapshotId) {
        if let Some(member) = &mut self.member {
            member.log.keep_track(snapshot);
        }
    }

    /// This node does not lead any more: it sends nothing.
    pub(super) fn unpin_all(&mut self) {
        while let Some((peer, _)) = self.sending.first_key_value() {
            let peer = *peer;
            self.pin(peer, None);
        }
    }

    /// A piece from a leader. The first begins the file anew.
    pub(super) fn write_chunk(
        &mut self,
        snapshot: SnapshotMeta,
        offset: u64,
        data: Bytes,
        out: &mut Actions<S>,
    ) {
        let id = snapshot.id;
        if offset == 0 {
            self.begin_reception(snapshot, out);
        }
        let write = WriteChunk::new(id, offset, data);
        out.push(Action::Job(Job::new(Work::WriteChunk { snapshot: id, reception: self.receptions, write })));
    }

    fn begin_reception(&mut self, snapshot: SnapshotMeta, out: &mut Actions<S>) {
        self.end_reception(out);
        let Some(identity) = &self.identity else { return };
        self.receptions += 1;
        let load = LoadSnapshot::growing(identity, snapshot.clone(), ReplicaRestorer::new());
        let load = Loading::Here(Box::new(load));
        self.receiving = Some(Receiving { snapshot, number: self.receptions, written: 0, load });
    }

    fn end_reception(&mut self, out: &mut Actions<S>) {
        if let Some(Receiving { load: Loading::Here(load), .. }) = self.receiving.take() {
            out.push(Action::Discard(Garbage::Leftovers(load)));
        }
    }

    /// More of a snapshot is written.
    pub(super) fn chunk_written(&mut self, reception: u64, written: u64, out: &mut Actions<S>) {
        let Some(receiving) = self.receiving.as_mut().filter(|receiving| receiving.number == reception)
        else {
            return;
        };
        receiving.written = receiving.written.max(written);
        self.load_on(out);
    }

    /// There may be a gap, and the pieces behind it say that they are written: what this snapshot is, is seen when it is whole.
    pub(super) fn chunk_not_written(&mut self, reception: u64, out: &mut Actions<S>) {
        if self.receiving.as_ref().is_some_and(|receiving| receiving.number == reception) {
            self.end_reception(out);
        }
    }

    /// Loads what is written meanwhile, when that is enough to be worth a job. The last of it is for the installation: only the
    /// core says whether the file is to have its own name.
    fn load_on(&mut self, out: &mut Actions<S>) {
        let enough = self.config.raft.snapshot_chunk_bytes.saturating_mul(LOADED_AT_ONCE);
        let Some(Receiving { snapshot, number, written, load }) = &mut self.receiving else { return };
        let Loading::Here(here) = load else { return };
        if *written >= snapshot.len {
            return;
        }
        here.go_on(*written);
        if here.unread() >= enough
            && let Loading::Here(load) = mem::replace(load, Loading::Away { all_is_there: false })
        {
            out.push(Action::Job(Job::new(Work::LoadOn { reception: *number, load })));
        }
    }

    /// What was written is loaded.
    pub(super) fn loaded_on(
        &mut self,
        reception: u64,
        loaded: Box<LoadSnapshot<ReplicaRestorer<S>>>,
        out: &mut Actions<S>,
    ) {
        let Some(receiving) = self.receiving.as_mut().filter(|receiving| receiving.number == reception)
        else {
            return out.push(Action::Discard(Garbage::Leftovers(loaded)));
        };
        let all_is_there = matches!(receiving.load, Loading::Away { all_is_there: true });
        // What could not be loaded piece by piece is judged when it is whole.
        receiving.load = if loaded.has_failed() { Loading::Failed } else { Loading::Here(loaded) };
        if all_is_there {
            let snapshot = receiving.snapshot.clone();
            return self.install(snapshot, ReplicaRestorer::new(), out);
        }
        self.load_on(out);
    }

    /// All pieces are there: what is not loaded yet is.
    pub(super) fn install(
        &mut self,
        snapshot: SnapshotMeta,
        restorer: ReplicaRestorer<S>,
        out: &mut Actions<S>,
    ) {
        let Some(identity) = &self.identity else { return };
        let id = snapshot.id;
        let begun = self.receiving.as_mut().filter(|receiving| receiving.snapshot == snapshot);
        if let Some(Receiving { load: Loading::Away { all_is_there }, .. }) = begun {
            *all_is_there = true;
            return;
        }
        let load = match self.receiving.take_if(|receiving| receiving.snapshot == snapshot) {
            Some(Receiving { load: Loading::Here(mut load), .. }) => {
                load.go_on(snapshot.len);
                *load
            }
            _ => {
                let file = FileName::Incoming { index: id.last.index, term: id.last.term };
                LoadSnapshot::new(identity, snapshot, file, restorer)
            }
        };
        out.push(Action::Job(Job::new(Work::Install { snapshot: id, load })));
    }

    /// The state of a leader's snapshot is loaded, or its bytes did not verify.
    pub(super) fn installed(
        &mut self,
        snapshot: SnapshotId,
        loaded: Result<Restored<S>, LoadError>,
        out: &mut Actions<S>,
    ) {
        match loaded {
            Ok(restored) => {
                self.counters.snapshots_installed += 1;
                self.keep_track(snapshot);
                out.push(Action::Note(Note(format!("a snapshot up to {:?} is installed", snapshot.last))));
                let restored = Box::new(restored);
                self.inbox.push(replica::Event::SnapshotInstalled { snapshot, restored });
            }
            Err(LoadError::Disk(error @ DiskError::Io(..))) => self.fault = Some(Fault::Disk(error)),
            Err(error) => {
                out.push(Action::Note(Note(format!("a snapshot from the leader was refused: {error}"))));
                self.inbox.push(replica::Event::SnapshotFailed { snapshot });
            }
        }
    }

    /// A received snapshot is not needed any more.
    pub(super) fn drop_incoming(&mut self, snapshot: SnapshotId, out: &mut Actions<S>) {
        if self.receiving.as_ref().is_some_and(|receiving| receiving.snapshot.id == snapshot) {
            self.end_reception(out);
        }
        let file = FileName::Incoming { index: snapshot.last.index, term: snapshot.last.term };
        out.push(Action::Job(Job::new(Work::Remove { file, remove: RemoveFile::new(file) })));
    }
}
