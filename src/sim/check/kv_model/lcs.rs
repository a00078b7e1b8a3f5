//! The longest common subsequence of two values.

use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use super::arguments::{Refusal, SYNTAX, integer, is};
use super::command::{Command, Parsed};
use super::keys::Keys;
use super::replies::{count, error};
use crate::codec::resp::Value;
use crate::kv::MAX_VALUE;

/// LCS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lcs<'a> {
    pub(super) a: &'a Bytes,
    pub(super) b: &'a Bytes,
    /// LEN: how long it is.
    len: bool,
    /// IDX: where it is.
    idx: bool,
    /// The shortest match that is shown.
    min_match: i64,
    with_match_len: bool,
}

pub(super) fn parse<'a>(name: &[u8], arguments: &'a [Bytes]) -> Parsed<'a> {
    let (b"lcs", [a, b, options @ ..]) = (name, arguments) else { return Ok(None) };
    lcs(a, b, options).map(Command::Lcs).map(Some)
}

fn lcs<'a>(a: &'a Bytes, b: &'a Bytes, mut options: &[Bytes]) -> Result<Lcs<'a>, Refusal> {
    let mut lcs = Lcs { a, b, len: false, idx: false, min_match: 0, with_match_len: false };
    while let Some(option) = options.split_off_first() {
        if is(option, "len") {
            lcs.len = true;
        } else if is(option, "idx") {
            lcs.idx = true;
        } else if is(option, "withmatchlen") {
            lcs.with_match_len = true;
        } else if is(option, "minmatchlen")
            && let Some(least) = options.split_off_first()
        {
            lcs.min_match = integer(least)?;
        } else {
            return Err(SYNTAX.into());
        }
    }
    if lcs.len && lcs.idx {
        return Err("ERR If you want both the length and indexes, please just use IDX.".into());
    }
    Ok(lcs)
}

const TOO_LARGE: &str = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";

/// The places of the bytes of the longest common subsequence, the last first. Of several Redis has the one that a walk
/// back from both ends finds which goes back in `b` unless `a` is the better one to go back in.
fn common(a: &[u8], b: &[u8]) -> Vec<(usize, usize)> {
    let width = b.len() + 1;
    // `lengths[i * width + j]`: of what the first i and the first j bytes have in common.
    let mut lengths = vec![0_u32; (a.len() + 1) * width];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            lengths[(i + 1) * width + j + 1] = if x == y {
                lengths[i * width + j] + 1
            } else {
                lengths[i * width + j + 1].max(lengths[(i + 1) * width + j])
            };
        }
    }
    let (mut places, mut i, mut j) = (Vec::new(), a.len(), b.len());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            places.push((i, j));
        } else if lengths[(i - 1) * width + j] > lengths[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    places
}

/// Runs of places that follow each other in both strings, the last first: where each begins, and how long it is.
fn runs(places: &[(usize, usize)]) -> Vec<(usize, usize, usize)> {
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for &(i, j) in places {
        match runs.last_mut() {
            Some(run) if (run.0, run.1) == (i + 1, j + 1) => *run = (i, j, run.2 + 1),
            _ => runs.push((i, j, 1)),
        }
    }
    runs
}

impl Keys<'_> {
    pub(super) fn lcs(&self, lcs: &Lcs<'_>) -> Value {
        let a = self.get(lcs.a).cloned().unwrap_or_default();
        let b = self.get(lcs.b).cloned().unwrap_or_default();
        if 4 * (a.len() as u128 + 1) * (b.len() as u128 + 1) > MAX_VALUE as u128 {
            return error(TOO_LARGE);
        }
        let places = common(&a, &b);
        if lcs.idx {
            return lcs.matches(&places);
        }
        if lcs.len {
            return count(places.len());
        }
        Value::Bulk(places.iter().rev().map(|&(i, _)| a[i]).collect())
    }
}

impl Lcs<'_> {
    fn matches(&self, places: &[(usize, usize)]) -> Value {
        let span = |start: usize, len: usize| Value::Array(vec![count(start), count(start + len - 1)]);
        let is_shown = |&(_, _, len): &(usize, usize, usize)| len as i64 >= self.min_match;
        let shown = |(i, j, len)| {
            let mut shown = vec![span(i, len), span(j, len)];
            shown.extend(self.with_match_len.then(|| count(len)));
            Value::Array(shown)
        };
        let matches = runs(places).into_iter().filter(is_shown).map(shown).collect();
        let name = |name: &'static str| Value::Bulk(Bytes::from_static(name.as_bytes()));
        Value::Map(vec![(name("matches"), Value::Array(matches)), (name("len"), count(places.len()))])
    }
}
