//! The hunt: seed after seed with a bug switched on, until a checker fires.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;

use super::{Bug, with};
use crate::time::Micros;

/// What came of one run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What a checker found, if one did: its name, a colon, and what was wrong.
    pub violation: Option<String>,
    /// How much time the run simulated.
    pub simulated: Micros,
}

/// A kind of run: which faults and which clients.
#[derive(Clone, Copy)]
pub struct Profile<'a> {
    /// Its name, for the replay line.
    pub name: &'a str,
    /// Runs a seed to its end, or to the first violation.
    pub run: &'a (dyn Fn(u64) -> Outcome + Sync),
}

impl fmt::Debug for Profile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Profile").field(&self.name).finish()
    }
}

/// The run that found a bug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The profile's name.
    pub profile: String,
    /// The seed.
    pub seed: u64,
    /// What the checker said.
    pub violation: String,
}

impl Found {
    /// The name of the checker that fired.
    pub fn checker(&self) -> &str {
        self.violation.split(':').next().unwrap_or_default()
    }
}

/// What came of a hunt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunt {
    /// What was hunted.
    pub bug: &'static Bug,
    /// How it was found; `None` if it survived.
    pub found: Option<Found>,
    /// Seeds that were needed, the last one included; each was run in every profile up to the one that found it.
    pub seeds: u64,
    /// Time that was simulated.
    pub simulated: Micros,
    /// How often the bug's place was asked: a survivor that was never reached tells of a fault that is missing, one that
    /// was, of a missing checker.
    pub reached: u64,
    /// Runs that ended in a panic: the code's own alarm, which does not count.
    pub panics: u64,
    /// Runs that a checker ends without the bug, too: what it found is something else.
    pub unclean: u64,
}

/// Runs the seeds from 0 to less than `seeds`, each in all profiles, with `bug` switched on, until a checker fires or
/// `goes_on` says no (asked before each run: a deadline, or a person's interrupt). It counts only what does not happen
/// without the bug.
pub fn hunt(
    bug: &'static Bug,
    profiles: &[Profile<'_>],
    seeds: u64,
    mut goes_on: impl FnMut() -> bool,
) -> Hunt {
    let mut hunt = Hunt { bug, found: None, seeds: 0, simulated: 0, reached: 0, panics: 0, unclean: 0 };
    for (seed, profile) in (0..seeds).flat_map(|seed| profiles.iter().map(move |profile| (seed, profile))) {
        if !goes_on() {
            break;
        }
        hunt.seeds = seed + 1;
        let Ok((outcome, reached)) = catch_unwind(AssertUnwindSafe(|| with(bug, || (profile.run)(seed))))
        else {
            hunt.panics += 1;
            continue;
        };
        hunt.simulated += outcome.simulated;
        hunt.reached += reached;
        if let Some(violation) = outcome.violation {
            if (profile.run)(seed).violation.is_some() {
                hunt.unclean += 1;
                continue;
            }
            hunt.found = Some(Found { profile: profile.name.into(), seed, violation });
            break;
        }
    }
    hunt
}

impl fmt::Display for Hunt {
    /// A line of a table, without its end: name, room, seeds, checker, simulated seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bug { name, room, .. } = self.bug;
        let (seeds, seconds) = (self.seeds, self.simulated / 1_000_000);
        write!(f, "{name:<28} {room:<8} {seeds:>6} {seconds:>8} s  ")?;
        match &self.found {
            Some(found) => write!(f, "{}, seed {} of {}", found.checker(), found.seed, found.profile)?,
            None => write!(f, "SURVIVED, reached {} times", self.reached)?,
        }
        match self.panics {
            0 => {}
            panics => write!(f, " ({panics} panics)")?,
        }
        match self.unclean {
            0 => Ok(()),
            unclean => write!(f, " ({unclean} runs fail without it)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn outcome(violation: Option<&str>) -> Outcome {
        Outcome { violation: violation.map(Into::into), simulated: 2_000_000 }
    }

    #[test]
    fn a_hunt_ends_with_the_first_seed_and_profile_that_finds() {
        let bug = find("vote-twice").expect("is planted");
        let calm = |_| outcome(None);
        let wild = |seed| match seed {
            1 => outcome(Some("liveness: with or without it")),
            _ => outcome((seed == 3 && planted!("vote-twice")).then_some("election safety: two")),
        };
        let profiles = [Profile { name: "calm", run: &calm }, Profile { name: "wild", run: &wild }];
        let hunted = hunt(bug, &profiles, 10, || true);
        let found = hunted.found.as_ref().expect("is found");
        assert_eq!((found.seed, &found.profile[..], found.checker()), (3, "wild", "election safety"));
        assert_eq!((hunted.seeds, hunted.simulated, hunted.reached), (4, 16_000_000, 1));
        assert_eq!(hunted.unclean, 1);
        let words: Vec<_> = hunted.to_string().split_whitespace().map(String::from).collect();
        assert_eq!(
            words.join(" "),
            "vote-twice raft 4 16 s election safety, seed 3 of wild (1 runs fail without it)"
        );
    }

    #[test]
    fn a_panic_is_no_find_and_a_survivor_is_named() {
        let bug = find("vote-twice").expect("is planted");
        let run = |seed| if seed == 0 { panic!("a debug assertion") } else { outcome(None) };
        let hunted = hunt(bug, &[Profile { name: "calm", run: &run }], 3, || true);
        assert_eq!((&hunted.found, hunted.seeds, hunted.panics), (&None, 3, 1));
        assert!(hunted.to_string().contains("SURVIVED, reached 0 times (1 panics)"), "{hunted}");
        let mut left = 2;
        let hunted = hunt(bug, &[Profile { name: "calm", run: &|_| outcome(None) }], 9, || {
            left -= 1;
            left >= 0
        });
        assert_eq!(hunted.seeds, 2);
    }
}
