//! What must hold between the nodes, in every situation: figure 3 of the paper, and that what is committed is on a
//! majority of disks.

use std::format;
use std::string::String;

use smallvec::SmallVec;

use super::cast::{Cast, EntryId, Progressed, View};
use super::world::{Node, World};
use crate::raft::{LogIndex, Role};

/// State machine safety (§5.4.3): everybody applies the same entry at one index.
pub(super) fn applied(
    committed: &mut SmallVec<[EntryId; 6]>,
    progressed: Progressed,
    cast: &Cast,
) -> Result<(), String> {
    let (id, entry) = match progressed {
        Progressed::Entry(entry) => (cast.entry(entry).id, Some(entry)),
        Progressed::Snapshot(last) => (last, None),
    };
    let known = (id.index as usize).checked_sub(1).and_then(|at| committed.get(at)).copied();
    match (known, entry) {
        (Some(known), Some(entry)) if known == entry => Ok(()),
        (Some(known), None) if cast.entry(known).id == id => Ok(()),
        (None, Some(entry)) if id.index == committed.len() as LogIndex + 1 => {
            committed.push(entry);
            Ok(())
        }
        (known, _) => Err(format!(
            "state machine safety: {id:?} is applied, but {:?} is committed",
            known.or(committed.last().copied()).map(|entry| cast.entry(entry).id)
        )),
    }
}

/// The rest, after `node` took a step from `before`.
pub(super) fn world(world: &mut World, before: &World, node: Node, cast: &Cast) -> Result<(), String> {
    let at = usize::from(node);
    let (own, was) = (cast.view_of(world.members[at]), cast.view_of(before.members[at]));
    if own.role == Role::Leader {
        leads(world, node, own)?;
    }
    let committed_more = world.committed.len() > before.committed.len();
    if committed_more || own.disk != was.disk || own.disk_base != was.disk_base {
        majority_holds(world, cast)?;
    }
    if own.log != was.log || own.base != was.base {
        for (other, &member) in (0..).zip(&world.members) {
            if other != node {
                matching((node, own), (other, cast.view_of(member)), cast)?;
            }
        }
    }
    if committed_more || own.role == Role::Leader {
        leader_completeness(world, cast)?;
    }
    Ok(())
}

/// Election safety (§5.2): one leader a term, also at different times.
fn leads(world: &mut World, node: Node, view: &View) -> Result<(), String> {
    match world.leaders.binary_search_by_key(&view.term, |&(term, _)| term) {
        Ok(at) if world.leaders[at].1 == node => Ok(()),
        Ok(at) => Err(format!(
            "election safety: n{} and n{} led term {}",
            world.leaders[at].1 + 1,
            node + 1,
            view.term
        )),
        Err(at) => {
            world.leaders.insert(at, (view.term, node));
            Ok(())
        }
    }
}

/// What is committed is on a majority of disks (promise 7).
fn majority_holds(world: &World, cast: &Cast) -> Result<(), String> {
    for (&entry, index) in world.committed.iter().zip(1..) {
        let holds =
            |view: &View| index <= view.disk_base || at(view.disk_base, &view.disk, index) == Some(entry);
        let disks = world.members.iter().filter(|&&member| holds(cast.view_of(member))).count();
        if disks <= world.members.len() / 2 {
            let id = cast.entry(entry).id;
            return Err(format!(
                "durability: {id:?} is committed, and on {disks} of {} disks",
                world.members.len()
            ));
        }
    }
    Ok(())
}

/// Log matching (§5.3): where two logs have an entry of one index and term, they are the same up to there.
fn matching(a: (Node, &View), b: (Node, &View), cast: &Cast) -> Result<(), String> {
    let end = |view: &View| view.base + view.log.len() as LogIndex;
    let (first, last) = (a.1.base.max(b.1.base) + 1, end(a.1).min(end(b.1)));
    let mut agree = false;
    for index in (first..=last).rev() {
        let entries = (at(a.1.base, &a.1.log, index), at(b.1.base, &b.1.log, index));
        let (Some(x), Some(y)) = entries else { continue };
        agree |= cast.entry(x).id == cast.entry(y).id;
        if agree && x != y {
            return Err(format!("log matching: n{} and n{} differ at index {index}", a.0 + 1, b.0 + 1));
        }
    }
    Ok(())
}

/// Leader completeness (§5.4): who leads the latest term has all that is committed.
fn leader_completeness(world: &World, cast: &Cast) -> Result<(), String> {
    let Some(&(term, node)) = world.leaders.last() else { return Ok(()) };
    let view = cast.view_of(world.members[usize::from(node)]);
    if view.role != Role::Leader || view.term != term {
        return Ok(());
    }
    for (&entry, index) in world.committed.iter().zip(1..) {
        if index > view.base && at(view.base, &view.log, index) != Some(entry) {
            let id = cast.entry(entry).id;
            return Err(format!(
                "leader completeness: n{} leads term {term} without {id:?}, which is committed",
                node + 1
            ));
        }
    }
    Ok(())
}

/// The entry at `index` of a log after `base`.
fn at(base: LogIndex, log: &[EntryId], index: LogIndex) -> Option<EntryId> {
    log.get(index.checked_sub(base)?.checked_sub(1)? as usize).copied()
}
