//! LCS: a longest common subsequence of two values, the very one that Redis finds.
//!
//! There may be several of one length. Which of them is answered depends on which way the search back through the table
//! of lengths turns where both are as good, so the table and the turns are Redis's.

use alloc::vec::Vec;

use super::record::Record;
use super::store::KvStore;
use super::{MAX_VALUE, reply};

/// What LCS answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LcsForm {
    /// The subsequence.
    Text,
    /// Its length.
    Length,
    /// Where it is in both values, as runs that are next to each other in both.
    Indexes {
        /// Shorter runs are left out.
        min_length: u64,
        /// Each run with its length.
        with_lengths: bool,
    },
}

impl KvStore {
    pub(super) fn lcs(&self, one: &[u8], other: &[u8], form: LcsForm, out: &mut Vec<u8>) {
        let value = |key| self.record(key).map_or(&[][..], Record::value);
        let (one, other) = (value(one), value(other));
        let Some(table) = Table::new(one, other) else {
            let text = b"ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
            return reply::error(out, text);
        };
        match form {
            LcsForm::Length => reply::count(out, table.length()),
            LcsForm::Text => {
                let mut text: Vec<u8> = table.matches().filter_map(|(at, _)| one.get(at).copied()).collect();
                text.reverse();
                reply::bulk(out, &text);
            }
            LcsForm::Indexes { min_length, with_lengths } => {
                let mut runs = table.runs();
                runs.retain(|run| run.len as u64 >= min_length);
                reply::map(out, 2);
                reply::bulk(out, b"matches");
                reply::array(out, runs.len());
                for run in runs {
                    run.reply(with_lengths, out);
                }
                reply::bulk(out, b"len");
                reply::count(out, table.length());
            }
        }
    }
}

/// The lengths of a longest common subsequence of every two beginnings.
struct Table<'a> {
    one: &'a [u8],
    other: &'a [u8],
    /// Row by row, a row for each beginning of the shorter value: few long rows take less time than many short ones.
    lengths: Vec<u32>,
    /// From one row to the next.
    width: usize,
}

impl<'a> Table<'a> {
    /// `None` when the table, and with it the work, would be too large.
    fn new(one: &'a [u8], other: &'a [u8]) -> Option<Self> {
        let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
        let width = long.len() + 1;
        let cells = (short.len() + 1).checked_mul(width)?;
        if cells > MAX_VALUE / size_of::<u32>() {
            return None;
        }
        let mut lengths = alloc::vec![0; cells];
        let mut rows = lengths.chunks_exact_mut(width);
        let mut above = rows.next()?;
        for (&a, row) in short.iter().zip(rows) {
            let (mut left, mut diagonal) = (0, 0);
            // The first cell of each row is 0, that of the empty beginning.
            let (cells, ups) = (row.get_mut(1..)?, above.get(1..)?);
            for ((cell, &up), &b) in cells.iter_mut().zip(ups).zip(long) {
                // Where the bytes are equal the third is never less than the others; a branch would be foreseen badly.
                left = left.max(up.max(diagonal + u32::from(a == b)));
                *cell = left;
                diagonal = up;
            }
            above = row;
        }
        Some(Self { one, other, lengths, width })
    }

    /// That of `one[..i]` and `other[..j]`.
    fn at(&self, i: usize, j: usize) -> u32 {
        let (row, column) = if self.one.len() <= self.other.len() { (i, j) } else { (j, i) };
        self.lengths.get(row * self.width + column).copied().unwrap_or_default()
    }

    fn length(&self) -> usize {
        self.at(self.one.len(), self.other.len()) as usize
    }

    /// The positions of the subsequence's bytes in both values, the last ones first.
    fn matches(&self) -> impl Iterator<Item = (usize, usize)> {
        let (mut i, mut j) = (self.one.len(), self.other.len());
        core::iter::from_fn(move || {
            while let (Some(a), Some(b)) = (i.checked_sub(1), j.checked_sub(1)) {
                if self.one.get(a) == self.other.get(b) {
                    (i, j) = (a, b);
                    return Some((a, b));
                }
                if self.at(a, j) > self.at(i, b) {
                    i = a;
                } else {
                    j = b;
                }
            }
            None
        })
    }

    /// The same as runs.
    fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (one, other) in self.matches() {
            match runs.last_mut() {
                Some(run) if (run.one, run.other) == (one + 1, other + 1) => {
                    *run = Run { one, other, len: run.len + 1 };
                }
                _ => runs.push(Run { one, other, len: 1 }),
            }
        }
        runs
    }
}

/// Bytes that are next to each other in both values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    one: usize,
    other: usize,
    len: usize,
}

impl Run {
    fn reply(self, with_length: bool, out: &mut Vec<u8>) {
        reply::array(out, if with_length { 3 } else { 2 });
        for start in [self.one, self.other] {
            reply::array(out, 2);
            reply::count(out, start);
            reply::count(out, (start + self.len).saturating_sub(1));
        }
        if with_length {
            reply::count(out, self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The definition.
    fn longest(one: &[u8], other: &[u8]) -> usize {
        match (one.split_last(), other.split_last()) {
            (Some((a, before)), Some((b, rest))) if a == b => longest(before, rest) + 1,
            (Some((_, before)), Some((_, rest))) => longest(before, other).max(longest(one, rest)),
            _ => 0,
        }
    }

    #[test]
    fn what_is_found_is_a_common_subsequence_and_as_long_as_any() {
        let mut rng = Rng::new(9);
        for _ in 0..3_000 {
            let mut draw =
                |most: u64| (0..rng.below(most)).map(|_| b"abc"[rng.below(3) as usize]).collect::<Vec<_>>();
            let (one, other) = (draw(10), draw(10));
            let table = Table::new(&one, &other).expect("small");
            assert_eq!(table.length(), longest(&one, &other), "{one:?} {other:?}");
            let matches: Vec<_> = table.matches().collect();
            assert_eq!(matches.len(), table.length());
            assert!(matches.iter().all(|&(a, b)| one[a] == other[b]));
            assert!(matches.is_sorted_by(|x, y| x.0 > y.0 && x.1 > y.1));
            let of_runs = table.runs().into_iter();
            let of_runs: Vec<_> =
                of_runs.flat_map(|r| (0..r.len).rev().map(move |n| (r.one + n, r.other + n))).collect();
            assert_eq!(of_runs, matches);
        }
    }

    #[test]
    fn a_table_takes_what_the_longest_value_takes_and_no_more() {
        let value = alloc::vec![b'x'; MAX_VALUE];
        let cells = MAX_VALUE / 4;
        assert!(Table::new(&[], &value[..cells - 1]).is_some());
        assert!(Table::new(&[], &value[..cells]).is_none());
        assert!(Table::new(&value[..1023], &value[..cells / 1024 - 1]).is_some());
        assert!(Table::new(&value[..1023], &value[..cells / 1024]).is_none());
        assert!(Table::new(&value, &value).is_none());
    }
}
