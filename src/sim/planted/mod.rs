//! Tests of the tests: known mistakes at known places, and the hunt for the checker that notices.
//!
//! A simulator that finds nothing proves little until it is known what it would find. Each [`Bug`] of [`all`] is a change
//! of a line that somebody has made in a system like this one. [`with`] switches one of them on; [`hunt`] runs seed after
//! seed until a checker from outside fires. A bug that no checker finds means that a checker is missing.
//!
//! What the code itself notices does not count: a core that halts over what it found is a machine that is down, its own
//! invariants are not asked, and a panic is counted apart.

mod catalogue;
mod grounds;
mod hunt;
#[cfg(test)]
mod tests;

pub use grounds::grounds;
pub use hunt::{Found, Hunt, Outcome, Profile, hunt};

use core::fmt;
use std::cell::Cell;

/// The room of the library that a bug is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "they are the modules of these names")]
pub enum Room {
    Raft,
    Replica,
    Kv,
    Storage,
    Node,
    Gateway,
    Clerk,
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Raft => "raft",
            Self::Replica => "replica",
            Self::Kv => "kv",
            Self::Storage => "storage",
            Self::Node => "node",
            Self::Gateway => "gateway",
            Self::Clerk => "clerk",
        })
    }
}

/// One mistake at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bug {
    /// What `planted!` calls it.
    pub name: &'static str,
    /// Where it is.
    pub room: Room,
    /// What goes wrong, in a sentence.
    pub what: &'static str,
    /// Which checker should fire: a hint for people.
    pub expects: &'static str,
}

/// All bugs that the simulator is to find, by room.
pub fn all() -> &'static [Bug] {
    catalogue::ALL
}

/// The bug or guard of this name.
pub fn find(name: &str) -> Option<&'static Bug> {
    all().iter().chain(catalogue::GUARDS).find(|bug| bug.name == name)
}

/// A test of tests: those of `tests` that do not fail with the bug `name` in the code.
#[cfg(test)]
pub(crate) fn not_felt_by<'a>(name: &str, tests: &[(&'a str, fn())]) -> std::vec::Vec<&'a str> {
    let bug = find(name).unwrap_or_else(|| panic!("{name} is no planted bug"));
    let passes = |run: fn()| with(bug, || std::panic::catch_unwind(run)).0.is_ok();
    tests.iter().filter(|(_, run)| passes(*run)).map(|(test, _)| *test).collect()
}

/// Runs `run` with `bug` in the code: on this thread only, so that other threads may hunt other bugs, or test the code as
/// it is. Returns also how often the bug's place was asked, that is, how often the mistake may have been made.
pub fn with<T>(bug: &Bug, run: impl FnOnce() -> T) -> (T, u64) {
    let _active = Active::switch_on(place(bug.name));
    let result = run();
    (result, REACHED.get())
}

/// Whether a bug is switched on in this thread.
pub(crate) fn is_any_active() -> bool {
    ACTIVE.get() != NONE
}

const NONE: usize = usize::MAX;

std::thread_local! {
    /// The place in the catalogue of the bug that is switched on. A static, because the bugs are in the middle of code
    /// that is handed nothing but events; a thread's own, because a node of the simulator never leaves its thread.
    static ACTIVE: Cell<usize> = const { Cell::new(NONE) };
    /// How often it was asked for since it was switched on.
    static REACHED: Cell<u64> = const { Cell::new(0) };
}

/// Switched off again at its end, also when that is a panic.
struct Active;

impl Active {
    fn switch_on(place: usize) -> Self {
        ACTIVE.set(place);
        REACHED.set(0);
        Self
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        ACTIVE.set(NONE);
    }
}

/// The place of a bug in the catalogue, for `planted!`: a name that is not in it does not compile.
pub(crate) const fn place(name: &str) -> usize {
    if let Some(place) = position(catalogue::ALL, name) {
        return place;
    }
    match position(catalogue::GUARDS, name) {
        Some(place) => catalogue::ALL.len() + place,
        None => panic!("the catalogue of planted bugs does not have this name"),
    }
}

const fn position(bugs: &[Bug], name: &str) -> Option<usize> {
    let mut place = 0;
    while place < bugs.len() {
        if is_same(bugs[place].name.as_bytes(), name.as_bytes()) {
            return Some(place);
        }
        place += 1;
    }
    None
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Whether the bug at this place of the catalogue is switched on, for `planted!`.
pub(crate) fn is_active(place: usize) -> bool {
    let active = ACTIVE.get() == place;
    if active {
        REACHED.set(REACHED.get() + 1);
    }
    active
}
