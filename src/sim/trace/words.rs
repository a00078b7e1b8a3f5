//! Events in words, one line each, for timelines, pictures and whoever greps.

use core::fmt::{self, Display, Formatter};
use std::string::String;

use super::event::{Change, Fate, Step, What};
use super::said::{EntryMark, Said, Value};
use crate::raft::NodeId;
use crate::sim::cluster::Crash;
use crate::sim::network::{Kind, Kinds, Region, Weather};

/// Most characters of a client's word that are shown.
const WORD: usize = 40;

impl Display for What {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { life: 1 } => f.write_str("starts"),
            Self::Start { life } => write!(f, "starts again, life {life}"),
            Self::Crash(Crash::Process) => f.write_str("is killed"),
            Self::Crash(Crash::Power) => f.write_str("loses power"),
            Self::Pause { until } => write!(f, "is paused until {} ms", until / 1000),
            Self::Resume => f.write_str("goes on"),
            Self::Slow { percent } => write!(f, "takes {percent} % of the usual time for everything"),
            Self::Halt { fault } => write!(f, "halts: {fault}"),
            Self::Wipe => f.write_str("gets an empty disk"),
            Self::RollBack => f.write_str("gets an older image of its disk"),
            Self::SetClock { before, after } => {
                let jump = after.wall_ahead_ms.saturating_sub(before.wall_ahead_ms);
                write!(f, "wall clock jumps by {jump:+} ms, drift {} ppm", after.drift_ppm)
            }
            Self::Fault { text } => write!(f, "fault: {text}"),
            Self::DiskError { text } => write!(f, "disk error: {text}"),
            Self::Persist { batch, bytes } => write!(f, "hands batch {batch} of {bytes} bytes to its disk"),
            Self::Persisted { batch, error: None } => write!(f, "batch {batch} is on disk"),
            Self::Persisted { batch, error: Some(error) } => write!(f, "batch {batch} failed: {error}"),
            Self::Send { to, fate, said, .. } => {
                write!(f, "→ {to:?} {said}")?;
                match fate {
                    Fate::Arrives(at) if at.len() > 1 => f.write_str(" (doubled)"),
                    Fate::Arrives(_) => Ok(()),
                    Fate::Lost => f.write_str(" (lost)"),
                    Fate::Breaks => f.write_str(" (lost, and the connection breaks)"),
                    Fate::Closed => f.write_str(" (the connection is gone)"),
                }
            }
            Self::Receive { from, said, .. } => write!(f, "← {from:?} {said}"),
            Self::Step(step) => step.fmt(f),
            Self::Note { text } => write!(f, "notes: {text}"),
            Self::Partition { cut } if cut.is_empty() => f.write_str("the network is whole"),
            Self::Partition { cut } => {
                f.write_str("the network is cut:")?;
                cut.iter().try_for_each(|(from, to)| write!(f, " {from:?}→{to:?}"))
            }
            Self::Weather { region: None, weather } => write!(f, "weather: {}", Figures(weather)),
            Self::Weather { region: Some(region), weather } => {
                write!(f, "weather {}: {}", Part(region), Figures(weather))
            }
            Self::Invoke { client, words, .. } => {
                write!(f, "{client}:")?;
                words.iter().try_for_each(|word| write!(f, " {}", shortened(&in_text(word))))
            }
            Self::Return { client, reply, .. } => write!(f, "{client}: → {}", shortened(reply)),
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let says_term = [Change::Recover, Change::BecomeLeader, Change::Timeout, Change::GrantVote];
        let says_term = self.changes.iter().any(|change| says_term.contains(change));
        let says_commit =
            self.changes.contains(&Change::AdvanceCommit) && self.state.applied == self.state.commit;
        let told = self.changes.iter().filter(|&&change| match change {
            Change::UpdateTerm => !says_term,
            Change::Apply => !says_commit,
            _ => true,
        });
        let mut separator = "";
        for &change in told {
            f.write_str(separator)?;
            self.tell(change, f)?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("nothing changes") } else { Ok(()) }
    }
}

impl Step {
    fn tell(&self, change: Change, f: &mut Formatter<'_>) -> fmt::Result {
        let state = &self.state;
        let (term, last) = (state.term, state.last);
        match change {
            Change::Recover => {
                write!(f, "recovers in term {term}, log up to {last:?}, committed {}", state.commit)
            }
            Change::BecomeLeader => write!(f, "leads term {term}"),
            Change::Timeout => write!(f, "campaigns in term {term}"),
            Change::BecomePreCandidate => write!(f, "asks whether it would win term {}", term + 1),
            Change::StepDown => f.write_str("leads no more"),
            Change::BecomeFollower => f.write_str("campaigns no more"),
            Change::InstallSnapshot => match state.snapshot {
                Some(snapshot) => write!(f, "installs a snapshot up to {snapshot:?}"),
                None => f.write_str("installs a snapshot"),
            },
            Change::TruncateLog => {
                write!(f, "cuts its log after {}", self.log.as_ref().map_or(last.index, |log| log.after))
            }
            Change::ChangeConfiguration => {
                f.write_str("voters")?;
                state.voters.iter().try_for_each(|voter| write!(f, " {voter:?}"))?;
                if state.outgoing.is_empty() {
                    return Ok(());
                }
                f.write_str(" and of old")?;
                state.outgoing.iter().try_for_each(|voter| write!(f, " {voter:?}"))
            }
            Change::GrantVote => match state.vote {
                Some(candidate) => write!(f, "votes for {candidate:?} in term {term}"),
                None => f.write_str("votes"),
            },
            Change::UpdateTerm => write!(f, "hears of term {term}"),
            Change::FollowLeader => match state.leader {
                Some(leader) => write!(f, "follows {leader:?}"),
                None => f.write_str("follows nobody"),
            },
            Change::AdvanceCommit => write!(f, "commits up to {}", state.commit),
            Change::AppendLog => write!(f, "log up to {last:?}"),
            Change::TakeSnapshot => match state.snapshot {
                Some(snapshot) => write!(f, "has saved a snapshot up to {snapshot:?}"),
                None => f.write_str("has saved a snapshot"),
            },
            Change::PersistLog => write!(f, "on disk up to {}", state.persisted),
            Change::Apply => write!(f, "applied up to {}", state.applied),
        }
    }
}

impl Display for Said {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)?;
        self.fields.iter().try_for_each(|(name, value)| match value {
            Value::Entries(entries) => write!(f, ", {}", Count(entries)),
            value => write!(f, ", {name} {value}"),
        })
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
            Self::Position(position) => write!(f, "{position:?}"),
            Self::Text(text) => f.write_str(text),
            Self::Entries(entries) => Count(entries).fmt(f),
        }
    }
}

/// A part of the network.
struct Part<'a>(&'a Region);

impl Display for Part<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Region { from, to, kinds } = self.0;
        let node = |id: &Option<NodeId>| id.map_or_else(|| "any".into(), |id| std::format!("{id:?}"));
        write!(f, "{}→{}", node(from), node(to))?;
        match kinds_of(*kinds) {
            None => Ok(()),
            Some(mut kinds) => kinds.try_for_each(|kind| write!(f, " {kind:?}")),
        }
    }
}

/// The kinds of a set, unless it holds all of them.
pub(super) fn kinds_of(kinds: Kinds) -> Option<impl Iterator<Item = Kind>> {
    (kinds != Kinds::ALL).then(|| Kind::ALL.into_iter().filter(move |&kind| kinds.contains(kind)))
}

/// What of a weather is worth saying.
struct Figures<'a>(&'a Weather);

impl Display for Figures<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Weather { min_delay, max_delay, lost, doubled, overtaken, late, clogged, broken, .. } = self.0;
        write!(f, "{min_delay} to {max_delay} µs")?;
        let shares = [(lost, "lost"), (doubled, "doubled"), (overtaken, "overtaken"), (late, "late")];
        for (share, what) in shares.into_iter().filter(|(share, _)| **share > 0) {
            write!(f, ", {share} ‰ {what}")?;
        }
        for (share, what) in
            [(clogged, "clog"), (broken, "break")].into_iter().filter(|(share, _)| **share > 0)
        {
            write!(f, ", {share} of a million {what}")?;
        }
        Ok(())
    }
}

/// How many entries.
struct Count<'a>(&'a [EntryMark]);

impl Display for Count<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no entries"),
            [_] => f.write_str("1 entry"),
            entries => write!(f, "{} entries", entries.len()),
        }
    }
}

/// Bytes as text, so that different bytes are different texts: a backslash is doubled, and what is no UTF-8 or cannot be seen
/// is `\xNN`.
pub(in crate::sim) fn in_text(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => out.push_str("\\\\"),
                '\0'..='\x1f' | '\x7f' => out.push_str(&std::format!("\\x{:02x}", u32::from(char))),
                _ => out.push(char),
            }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&std::format!("\\x{byte:02x}")));
    }
    out
}

/// The beginning of a text, and how much there is besides.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(WORD) {
        Some((end, _)) => std::format!("{}…+{}", &text[..end], text.len() - end),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_differ_are_texts_that_differ() {
        assert_eq!(in_text("grün".as_bytes()), "grün");
        assert_eq!(in_text(b"a\\xff\xff\n"), "a\\\\xff\\xff\\x0a");
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let long = "ü".repeat(WORD + 3);
        assert_eq!(shortened(&long), std::format!("{}…+6", "ü".repeat(WORD)));
        assert_eq!(shortened("short"), "short");
    }
}
