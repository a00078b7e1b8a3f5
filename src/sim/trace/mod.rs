//! What a run did.
//!
//! As one number: two runs of one seed have the same [hash](Trace::hash), or something depends on more than the seed. As lines
//! for who looks for a bug in the simulator itself. And on request as [`TraceEvent`]s, from which come the files and
//! pictures that people read.

mod event;
mod html;
mod json;
pub mod ndjson;
mod recorder;
mod said;
#[cfg(test)]
mod tests;
mod timeline;
mod words;

pub use event::{Change, ClientName, Ending, Fate, LogChange, MessageId, State, Step, TraceEvent, What};
pub use html::render_html;
pub use ndjson::write_ndjson;
pub(in crate::sim) use recorder::{Condition, Recorder};
pub use said::{EntryMark, Said, Value};
pub use timeline::timeline;
pub(in crate::sim) use words::in_text;

use core::fmt::Write;
use std::boxed::Box;
use std::collections::VecDeque;
use std::format;
use std::string::String;
use std::vec::Vec;

use xxhash_rust::xxh3::Xxh3;

use super::cluster::Violation;
use crate::codec::frame::Frame;
use crate::node::LinkId;
use crate::raft::NodeId;
use crate::storage::{DiskOp, DiskResult};
use crate::time::Micros;

/// What a file or a picture of a run says of the whole.
#[derive(Debug, Clone)]
pub struct RunFacts {
    /// What decided everything.
    pub seed: u64,
    /// What the run was like, by its name.
    pub profile: String,
    /// The command that runs it again.
    pub replay: String,
    /// The nodes.
    pub nodes: Vec<NodeId>,
    /// Events before the first that was [kept](Trace::forgotten).
    pub forgotten: u64,
    /// How it ended, if it ended badly.
    pub violation: Option<Violation>,
}

/// Lines kept for a person, when they are kept at all.
const LINES: usize = 2000;

/// A running hash over everything that nodes asked for and disks answered, and on request the last lines of it.
#[derive(Default)]
pub struct Trace {
    hash: Xxh3,
    events: u64,
    lines: Option<VecDeque<String>>,
    recorder: Option<Box<Recorder>>,
    messages: MessageId,
    /// Empty between records; kept for its space.
    words: String,
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

    /// Keeps the last `limit` events from now on.
    pub fn keep_events(&mut self, limit: usize) {
        self.recorder = Some(Recorder::new(limit).into());
    }

    /// The events kept, in order.
    pub fn kept(&self) -> impl Iterator<Item = &TraceEvent> {
        self.recorder.iter().flat_map(|recorder| recorder.events())
    }

    /// How many earlier events were not kept because there were more than the limit.
    pub fn forgotten(&self) -> u64 {
        self.recorder.as_ref().map_or(0, |recorder| recorder.forgotten())
    }

    /// Takes the events kept; later ones are kept as before.
    pub fn take_kept(&mut self) -> Vec<TraceEvent> {
        self.recorder.as_mut().map_or_else(Vec::new, |recorder| recorder.take())
    }

    /// Keeps an event, if events are kept. The hash knows nothing of it.
    pub fn event(&mut self, at: Micros, node: impl Into<Option<NodeId>>, what: impl FnOnce() -> What) {
        if let Some(recorder) = &mut self.recorder {
            recorder.push(at, node.into(), what());
        }
    }

    /// Who finds out what to keep, if events are kept.
    pub(in crate::sim) fn recorder(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_deref_mut()
    }

    /// A name for the next frame.
    pub(in crate::sim) fn name_message(&mut self) -> MessageId {
        self.messages += 1;
        self.messages
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
        self.begin(at, node, kind);
        bytes.iter().for_each(|part| self.part(part));
        self.line(at, node, kind, what);
    }

    /// Records a frame that a node sends.
    pub(in crate::sim) fn record_frame(&mut self, at: Micros, node: NodeId, link: LinkId, frame: &Frame) {
        self.begin(at, node, "send");
        self.part(&link.to_le_bytes());
        self.hash.update(&(frame.wire_len() as u64).to_le_bytes());
        frame.0.iter().for_each(|piece| self.hash.update(piece));
        self.line(at, node, "send", || format!("link {link}, {} bytes", frame.wire_len()));
    }

    /// Records a disk operation and how it ended.
    pub fn record_disk(&mut self, at: Micros, node: NodeId, op: &DiskOp, result: &DiskResult) {
        let mut words = core::mem::take(&mut self.words);
        // A string takes all that is written to it.
        let _ = put_in_words(&mut words, op);
        self.begin(at, node, "disk");
        self.part(words.as_bytes());
        if let DiskOp::WriteAt { data, .. } = op {
            data.iter().for_each(|piece| self.part(piece));
        }
        self.part(if result.is_err() { b"failed" } else { b"" });
        if let Err(error) = result {
            self.event(at, node, || What::DiskError { text: format!("{words}: {error}") });
        }
        self.line(at, node, "disk", || match result {
            Ok(_) => words.clone(),
            Err(error) => format!("{words}: {error}"),
        });
        words.clear();
        self.words = words;
    }

    fn begin(&mut self, at: Micros, node: NodeId, kind: &'static str) {
        self.events += 1;
        let mut head = [0; 16];
        head[..8].copy_from_slice(&at.to_le_bytes());
        head[8..].copy_from_slice(&node.0.to_le_bytes());
        self.hash.update(&head);
        self.hash.update(kind.as_bytes());
    }

    fn part(&mut self, part: &[u8]) {
        self.hash.update(&(part.len() as u64).to_le_bytes());
        self.hash.update(part);
    }

    fn line(&mut self, at: Micros, node: NodeId, kind: &'static str, what: impl FnOnce() -> String) {
        let Some(lines) = &mut self.lines else { return };
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(format!("{at:>12} {node:?} {kind} {}", what()));
    }
}

/// An operation without its bytes.
fn put_in_words(to: &mut String, op: &DiskOp) -> core::fmt::Result {
    match op {
        DiskOp::List => to.write_str("list"),
        DiskOp::ReadAt { file, offset, len } => write!(to, "read {file} {offset}+{len}"),
        DiskOp::Create { file } => write!(to, "create {file}"),
        DiskOp::WriteAt { file, offset, data } => {
            write!(to, "write {file} {offset}+{}", data.iter().map(|piece| piece.len()).sum::<usize>())
        }
        DiskOp::Zero { file, offset, len } => write!(to, "zero {file} {offset}+{len}"),
        DiskOp::Sync { file } => write!(to, "sync {file}"),
        DiskOp::Rename { from, to: name } => write!(to, "rename {from} {name}"),
        DiskOp::Remove { file } => write!(to, "remove {file}"),
        DiskOp::SyncDirectory => to.write_str("sync directory"),
    }
}
