//! What a run did, as one number: two runs of one seed have the same, or something depends on more than the seed.

use std::collections::VecDeque;
use std::format;
use std::string::String;
use std::vec::Vec;

use xxhash_rust::xxh3::Xxh3;

use crate::raft::NodeId;
use crate::storage::{DiskOp, DiskResult};
use crate::time::Micros;

/// Lines kept for a person, when they are kept at all.
const LINES: usize = 2000;

/// A running hash over everything that nodes asked for and disks answered, and on request the last lines of it.
#[derive(Default)]
pub struct Trace {
    hash: Xxh3,
    events: u64,
    lines: Option<VecDeque<String>>,
}

impl core::fmt::Debug for Trace {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Trace({:016x} after {} events)", self.hash(), self.events)
    }
}

impl Trace {
    /// Keeps the last lines from now on.
    pub fn keep_lines(&mut self) {
        self.lines = Some(VecDeque::with_capacity(LINES));
    }

    /// The lines kept.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.hash.digest()
    }

    /// How many events were recorded.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Records something that happened at a node; `what` is asked for words only when lines are kept.
    pub fn record(
        &mut self,
        at: Micros,
        node: NodeId,
        kind: &'static str,
        bytes: &[&[u8]],
        what: impl FnOnce() -> String,
    ) {
        self.events += 1;
        self.hash.update(&at.to_le_bytes());
        self.hash.update(&node.0.to_le_bytes());
        self.hash.update(kind.as_bytes());
        for part in bytes {
            self.hash.update(&(part.len() as u64).to_le_bytes());
            self.hash.update(part);
        }
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(format!("{:>12} {node:?} {kind} {}", at, what()));
        }
    }

    /// Records a disk operation and how it ended.
    pub fn record_disk(&mut self, at: Micros, node: NodeId, op: &DiskOp, result: &DiskResult) {
        let words = in_words(op);
        let mut parts: Vec<&[u8]> = std::vec![words.as_bytes()];
        if let DiskOp::WriteAt { data, .. } = op {
            parts.extend(data.iter().map(|piece| &piece[..]));
        }
        let failed = result.is_err();
        parts.push(if failed { b"failed" } else { b"" });
        self.record(at, node, "disk", &parts, || match result {
            Ok(_) => words.clone(),
            Err(error) => format!("{words}: {error}"),
        });
    }
}

/// An operation without its bytes.
fn in_words(op: &DiskOp) -> String {
    match op {
        DiskOp::List => "list".into(),
        DiskOp::ReadAt { file, offset, len } => format!("read {file} {offset}+{len}"),
        DiskOp::Create { file } => format!("create {file}"),
        DiskOp::WriteAt { file, offset, data } => {
            format!("write {file} {offset}+{}", data.iter().map(|piece| piece.len()).sum::<usize>())
        }
        DiskOp::Zero { file, offset, len } => format!("zero {file} {offset}+{len}"),
        DiskOp::Sync { file } => format!("sync {file}"),
        DiskOp::Rename { from, to } => format!("rename {from} {to}"),
        DiskOp::Remove { file } => format!("remove {file}"),
        DiskOp::SyncDirectory => "sync directory".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_difference_shows_and_lines_do_not_change_the_hash() {
        let run = |at, kind, bytes: &[&[u8]], lines: bool| {
            let mut trace = Trace::default();
            if lines {
                trace.keep_lines();
            }
            trace.record(at, NodeId(1), kind, bytes, String::new);
            trace.hash()
        };
        let base = run(1, "send", &[b"ab"], false);
        assert_eq!(base, run(1, "send", &[b"ab"], true));
        for other in [
            run(2, "send", &[b"ab"], false),
            run(1, "reply", &[b"ab"], false),
            run(1, "send", &[b"a", b"b"], false),
        ] {
            assert_ne!(base, other);
        }
    }
}
