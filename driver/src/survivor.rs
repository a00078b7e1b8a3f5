//! A disk whose cluster lost its majority for good: read without a node, and made into a new cluster of one node.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use quorate::kv::KvStore;
use quorate::node::Addresses;
use quorate::raft::{Config, Configuration, DiskId, LogId, LogIndex, Raft, Term};
use quorate::replica::{Replay, ReplicaRestorer, StateMachine};
use quorate::storage::{
    ClusterId, DiskError, DiskOp, FileName, Identity, LoadError, LoadSnapshot, OpenError, Opened, Recovery,
    Refounding, Remains, Settings,
};
use quorate::time::Now;

use crate::directory_lock::{self, LockError};
use crate::disk::{Disk, SEGMENT_BYTES};
use crate::job_lane::run_job;
use crate::process;

/// What the directory is called that is being made, behind the name that it will get.
const UNFINISHED: &str = ".unfinished-recovery";

/// What is left to do when a directory cannot be used and there is no majority to add its node to again.
const ANOTHER: &str = "if the cluster has lost its majority, recover it from another node's directory";

/// Why nothing could be read or made.
#[derive(Debug)]
pub(crate) enum SurvivorError {
    /// The directory cannot be used.
    Directory(String),
    /// A disk failed.
    Disk(String),
}

impl fmt::Display for SurvivorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(text) | Self::Disk(text) => f.write_str(text),
        }
    }
}

impl SurvivorError {
    fn disk(path: &Path, error: impl fmt::Display) -> Self {
        Self::Disk(format!("data directory {}: {error}", path.display()))
    }

    fn directory(path: &Path, error: impl fmt::Display) -> Self {
        Self::Directory(format!("data directory {}: {error}", path.display()))
    }

    fn open(path: &Path, error: &OpenError) -> Self {
        match error {
            OpenError::Disk(error) => Self::disk(path, error),
            error => Self::directory(path, format_args!("{error}; {ANOTHER}")),
        }
    }

    fn load(path: &Path, error: &LoadError) -> Self {
        match error {
            LoadError::Disk(error @ (DiskError::Io(..) | DiskError::NoSpace(_))) => Self::disk(path, error),
            error => Self::directory(path, format_args!("{error}; {ANOTHER}")),
        }
    }
}

impl From<LockError> for SurvivorError {
    fn from(error: LockError) -> Self {
        Self::Directory(error.to_string())
    }
}

/// What a disk holds, with everything in its log applied, committed or not.
#[derive(Debug)]
pub(crate) struct Survivor {
    pub(crate) identity: Identity,
    /// The highest term that it knows.
    pub(crate) term: Term,
    /// The last entry that its snapshot covers, if it has one.
    pub(crate) snapshot: Option<LogId>,
    /// The index up to which it knows its log to be committed.
    pub(crate) commit: LogIndex,
    /// The configuration in force at the end of its log, committed or not.
    pub(crate) configuration: Configuration,
    pub(crate) replay: Replay<KvStore>,
    /// What a person should know of.
    pub(crate) notes: Vec<String>,
    /// Keeps nodes out of the directory, if it has the file that carries the lock.
    _disk: Disk,
}

impl Survivor {
    /// Reads a member's directory, and keeps nodes out of it from then on; where that cannot be, a note says so. Writes nothing.
    pub(crate) fn read(path: &Path) -> Result<Self, SurvivorError> {
        let disk = Disk::open_to_read(path)?;
        let mut survivor = Self::read_from(&disk, path)?;
        if !disk.is_locked() {
            survivor.notes.push(format!(
                "the directory has no file '{}', without which nothing keeps a node from starting in it meanwhile: start none",
                directory_lock::NAME
            ));
        }
        Ok(survivor)
    }

    fn read_from(disk: &Disk, path: &Path) -> Result<Self, SurvivorError> {
        let mut recovery = Recovery::inspecting();
        run_job(disk, &mut recovery);
        let opened = recovery.take().map_err(|error| SurvivorError::open(path, &error))?;
        let Opened::Formed { identity, recovered, notes, .. } = opened else {
            return Err(SurvivorError::open(path, &OpenError::Unformed));
        };
        // Nothing is made of what a node would refuse: the core judges it, and says what is in force.
        let refused =
            |why: &dyn fmt::Display| SurvivorError::directory(path, format_args!("{why}; {ANOTHER}"));
        let raft = Raft::new(Config::new(identity.node, 0), recovered.clone(), Now::new(0, 0))
            .map_err(|error| refused(&error))?;
        let (configuration, status) = (raft.configuration().clone(), raft.status());
        if configuration.members.is_empty() {
            // It joined, and its leader has sent it nothing yet.
            return Err(SurvivorError::directory(path, "it holds nothing of its cluster's log"));
        }
        let restored = recovered.snapshot.as_ref().map(|meta| {
            let file = FileName::snapshot(meta.id.last);
            let mut load = LoadSnapshot::new(&identity, meta.clone(), file, ReplicaRestorer::new());
            run_job(disk, &mut load);
            load.take().map_err(|error| SurvivorError::load(path, &error))
        });
        let mut replay = Replay::new(recovered.snapshot.as_ref(), restored.transpose()?)
            .map_err(|error| refused(&error))?;
        replay.apply(&recovered.entries).map_err(|fault| refused(&fault))?;
        let (term, commit) = (status.term, status.commit);
        let (snapshot, _disk) = (status.snapshot.map(|id| id.last), disk.clone());
        Ok(Self { identity, term, snapshot, commit, configuration, replay, notes, _disk })
    }

    /// The last entry that it holds.
    pub(crate) fn last(&self) -> LogId {
        self.replay.applied()
    }

    /// How many of its entries are not known to be committed.
    pub(crate) fn uncommitted(&self) -> u64 {
        self.last().index.saturating_sub(self.commit)
    }

    /// Makes a new cluster of it, whose one node has `addresses`; its id.
    ///
    /// The directory gets its name when it is whole and was read again.
    pub(crate) fn refound(&self, site: &Site, addresses: &Addresses) -> Result<ClusterId, SurvivorError> {
        let disk = site.clear()?;
        let made = self.make(&disk, site, addresses);
        if made.is_err() {
            // What cannot be removed is not worth a second error: the next attempt removes it, too.
            let _ = site.clear_with(&disk);
            let _ = fs::remove_file(site.unfinished.join(directory_lock::NAME));
            let _ = fs::remove_dir(&site.unfinished);
            return made;
        }
        fs::rename(&site.unfinished, &site.name)
            .and_then(|()| File::open(&site.parent)?.sync_all())
            .map_err(|error| SurvivorError::disk(&site.name, error))?;
        made
    }

    fn make(&self, disk: &Disk, site: &Site, addresses: &Addresses) -> Result<ClusterId, SurvivorError> {
        let path = &site.unfinished;
        let random = || process::random_u128().map_err(|error| SurvivorError::disk(path, error));
        let (cluster, fresh_disk) = (random()?, DiskId(random()?));
        let node = self.identity.node;
        // No record is written to the log but the first, and a node keeps no spare of another length than its own.
        let settings = Settings { node, fresh_disk, segment_bytes: SEGMENT_BYTES, max_record_bytes: 0 };
        let remains = Remains {
            term: self.term,
            last: self.last(),
            stamp: self.replay.stamp(),
            view: self.replay.view(),
            peer_address: addresses.peer.clone(),
            client_address: addresses.client.clone(),
        };
        let mut refounding = Refounding::new(settings, cluster, remains);
        run_job(disk, &mut refounding);
        refounding.take().map_err(|error| SurvivorError::open(path, &error))?;
        let made = Self::read_from(disk, path)?;
        let digests = [&made, self].map(|survivor| survivor.replay.state().digest());
        if made.last() != self.last() || digests[0] != digests[1] {
            return Err(SurvivorError::disk(path, "what was written is not what is read"));
        }
        Ok(cluster)
    }
}

/// Where a new data directory is to be made.
#[derive(Debug)]
pub(crate) struct Site {
    name: PathBuf,
    parent: PathBuf,
    /// Where it is made.
    unfinished: PathBuf,
}

impl Site {
    /// A site for the directory `name`, which is not there or empty, outside of the directory `old`. Makes nothing.
    pub(crate) fn choose(name: &Path, old: &Path) -> Result<Self, SurvivorError> {
        let refused =
            |what: fmt::Arguments<'_>| SurvivorError::Directory(format!("{} {what}", name.display()));
        let Some(last) = name.file_name() else {
            return Err(refused(format_args!("does not name a directory that could be made")));
        };
        let parent = match name.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parent = fs::canonicalize(parent).map_err(|error| {
            refused(format_args!("cannot be made: {}: {error}; make that directory first", parent.display()))
        })?;
        // Where there is none, reading it will say so.
        let old = fs::canonicalize(old).unwrap_or_else(|_| old.to_owned());
        if parent.starts_with(&old) {
            return Err(refused(format_args!("is within the old directory, which is not written to")));
        }
        // Names are compared, and not what links lead to.
        match fs::symlink_metadata(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refused(format_args!("cannot be used: {error}"))),
            Ok(found) => {
                let empty =
                    found.is_dir() && fs::read_dir(name).is_ok_and(|mut files| files.next().is_none());
                if !empty {
                    return Err(refused(format_args!("is there already; name a directory that is not")));
                }
            }
        }
        let mut unfinished = OsString::from(last);
        unfinished.push(UNFINISHED);
        let unfinished = parent.join(unfinished);
        if unfinished == old || unfinished.is_symlink() {
            return Err(refused(format_args!("is made as {}, which is in the way", unfinished.display())));
        }
        Ok(Self { name: name.to_owned(), parent, unfinished })
    }

    /// Locks the directory that is to be made, and removes what an earlier attempt left of it.
    fn clear(&self) -> Result<Disk, SurvivorError> {
        let disk = Disk::open(&self.unfinished)?;
        self.clear_with(&disk)?;
        Ok(disk)
    }

    fn clear_with(&self, disk: &Disk) -> Result<(), SurvivorError> {
        let path = &self.unfinished;
        let failed = |error: io::Error| SurvivorError::disk(path, error);
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            match name.to_str().map(|text| (text, FileName::parse(text))) {
                Some((_, Some(file))) => files.push(file),
                Some((directory_lock::NAME, None)) => {}
                Some((_, None)) | None => {
                    let what = format_args!("{} is none of its files; move it away", name.display());
                    return Err(SurvivorError::directory(path, what));
                }
            }
        }
        let remove = files.into_iter().map(|file| DiskOp::Remove { file });
        for op in remove.chain([DiskOp::SyncDirectory]) {
            disk.perform(&op).map_err(|error| SurvivorError::disk(path, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::raft::{Entries, Entry, EntryKind, Member, NodeId, Recovered, Stamp};
    use quorate::storage::Formation;
    use std::collections::BTreeMap;
    use tempfile::TempDir;

    /// A directory with `old` in it, the first node of a cluster of two that holds its founding entry.
    fn old() -> (TempDir, PathBuf) {
        old_with(|_| {})
    }

    /// The same, with something else on its disk.
    fn old_with(change: impl FnOnce(&mut Recovered)) -> (TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("old");
        let disk = Disk::open(&path).unwrap();
        let settings =
            Settings { node: NodeId(1), fresh_disk: DiskId(7), segment_bytes: 1 << 16, max_record_bytes: 0 };
        let mut recovery = Recovery::new(settings);
        run_job(&disk, &mut recovery);
        let Ok(Opened::Unformed(identity)) = recovery.take() else { panic!("it is empty") };
        let member = |n: u64| Member {
            disk: DiskId(u128::from(n) + 6),
            peer_address: format!("p:{n}"),
            client_address: format!("c:{n}"),
        };
        let configuration = Configuration::of_voters([1, 2].map(|n| (NodeId(n), member(n))).into());
        let mut founding = Recovered::formed(identity.disk, &configuration);
        change(&mut founding);
        let mut formation = Formation::new(settings, identity, 0xc1, &founding);
        run_job(&disk, &mut formation);
        formation.take().unwrap();
        (root, path)
    }

    fn addresses() -> Addresses {
        Addresses { peer: "n:1".into(), client: "n:2".into() }
    }

    fn contents(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
        let files = fs::read_dir(path).unwrap().map(Result::unwrap);
        files.map(|file| (file.file_name(), fs::read(file.path()).unwrap())).collect()
    }

    fn refusal(name: &Path, old: &Path) -> String {
        match Site::choose(name, old) {
            Err(SurvivorError::Directory(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_made_is_a_cluster_of_its_own_and_the_old_directory_stays_as_it_was() {
        let (root, path) = old();
        let before = contents(&path);
        let survivor = Survivor::read(&path).unwrap();
        assert_eq!((survivor.last(), survivor.uncommitted()), (LogId::new(0, 1), 0));
        assert_eq!(survivor.configuration.members.len(), 2);
        assert!(matches!(Disk::open(&path), Err(LockError::Held { .. })), "no node starts meanwhile");
        let new = root.path().join("new");
        let site = Site::choose(&new, &path).unwrap();
        let cluster = survivor.refound(&site, &addresses()).unwrap();
        drop(survivor);
        assert_eq!(contents(&path), before);
        let made = Survivor::read(&new).unwrap();
        assert_eq!((made.identity.cluster, made.identity.node), (Some(cluster), NodeId(1)));
        assert_ne!(made.identity.disk, DiskId(7));
        assert_ne!(cluster, 0xc1);
        let members: Vec<_> = made.configuration.members.into_values().map(|m| m.peer_address).collect();
        assert_eq!(members, ["n:1"]);
        let mut names: Vec<_> = contents(root.path().join("new").as_path()).into_keys().collect();
        names.retain(|name| name.to_str().and_then(FileName::parse).is_none());
        assert_eq!(names, [directory_lock::NAME]);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2, "nothing unfinished is left");
    }

    #[test]
    fn remains_of_an_earlier_attempt_are_replaced_and_foreign_files_are_not() {
        let (root, path) = old();
        let survivor = Survivor::read(&path).unwrap();
        let new = root.path().join("new");
        fs::create_dir(&new).unwrap();
        let site = Site::choose(&new, &path).unwrap();
        fs::create_dir(&site.unfinished).unwrap();
        for remains in ["identity", "segment-0000000000000009"] {
            fs::write(site.unfinished.join(remains), "half").unwrap();
        }
        fs::write(site.unfinished.join("thesis"), "mine").unwrap();
        let refused = survivor.refound(&site, &addresses()).unwrap_err().to_string();
        assert!(refused.contains("thesis is none of its files"), "{refused}");
        assert_eq!(fs::read(site.unfinished.join("identity")).unwrap(), b"half", "nothing was removed");
        fs::remove_file(site.unfinished.join("thesis")).unwrap();
        survivor.refound(&site, &addresses()).unwrap();
        assert!(!site.unfinished.exists() && !new.join("segment-0000000000000009").exists());
        Survivor::read(&new).unwrap();
    }

    #[test]
    fn an_attempt_that_fails_leaves_nothing() {
        let (root, path) = old();
        let survivor = Survivor::read(&path).unwrap();
        let site = Site::choose(&root.path().join("new"), &path).unwrap();
        // No configuration takes such an address, so that what was written cannot be read.
        let addresses = Addresses { peer: "p".repeat(1 << 25), client: "c:1".into() };
        survivor.refound(&site, &addresses).unwrap_err();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_made_or_is_used_is_refused() {
        let (root, path) = old();
        let used = root.path().join("used");
        fs::create_dir(&used).unwrap();
        fs::write(used.join("thesis"), "mine").unwrap();
        assert!(refusal(&used, &path).contains("is there already"));
        assert!(refusal(&path, &path).contains("is there already"));
        assert!(refusal(&path.join("new"), &path).contains("within the old directory"));
        assert!(refusal(&root.path().join("a/b"), &path).contains("make that directory first"));
        assert!(refusal(&root.path().join(".."), &path).contains("does not name a directory"));
        let unlucky = root.path().join(format!("new{UNFINISHED}"));
        fs::rename(&path, &unlucky).unwrap();
        assert!(refusal(&root.path().join("new"), &unlucky).contains("in the way"));
    }

    #[test]
    fn without_its_lock_a_directory_is_read_and_a_note_says_what_that_means() {
        let (_root, path) = old();
        assert!(Survivor::read(&path).unwrap().notes.is_empty());
        fs::remove_file(path.join(directory_lock::NAME)).unwrap();
        let survivor = Survivor::read(&path).unwrap();
        assert!(survivor.notes.iter().any(|note| note.contains("no file 'lock'")), "{:?}", survivor.notes);
        assert!(!path.join(directory_lock::NAME).exists(), "nothing is written");
    }

    #[test]
    fn what_a_node_would_refuse_is_no_survivor() {
        let entry = |term, kind, data: &[u8]| Entry {
            id: LogId::new(term, 2),
            kind,
            stamp: Stamp::default(),
            data: data.to_vec().into(),
        };
        for (entry, expected) in [
            (entry(3, EntryKind::NoOp, b""), "of a later term than the recovered vote"),
            (entry(0, EntryKind::Configuration, b"?"), "a configuration that cannot be read"),
        ] {
            let (_root, path) = old_with(|founding| {
                founding.entries = founding.entries.iter().cloned().chain([entry]).collect();
            });
            let text = match Survivor::read(&path) {
                Err(SurvivorError::Directory(text)) => text,
                other => panic!("{other:?}"),
            };
            assert!(text.contains(expected) && text.ends_with(ANOTHER), "{text}");
        }
    }

    #[test]
    fn a_member_that_was_sent_nothing_is_no_survivor() {
        let (_root, path) = old_with(|founding| {
            (founding.entries, founding.commit) = (Entries::empty(), 0);
        });
        let text = Survivor::read(&path).unwrap_err().to_string();
        assert!(text.ends_with("it holds nothing of its cluster's log"), "{text}");
    }

    #[test]
    fn a_directory_that_no_node_left_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = Survivor::read(root.path()).unwrap_err();
        assert!(matches!(&error, SurvivorError::Directory(text) if text.contains("belongs to no cluster")));
        assert!(Survivor::read(&root.path().join("missing")).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "nothing was made");
    }
}
