//! How a fault strikes what lies on a disk: in places that are known to be missed when they are lost.

use std::string::String;
use std::vec::Vec;

use super::{Disk, DiskFault, Expectation, OpKind, Wound};
use crate::node::Fault;
use crate::rng::Rng;
use crate::storage::FileName;
use crate::storage::survey::{self, Part, Survey};

impl Disk {
    /// Lets a fault strike, in a place that `rng` chooses. What the node must do about it; `None` when the disk has nothing
    /// now that the fault could strike and that is sure to be missed, or when a disk cannot do it alone
    /// ([`DiskFault::Wiped`], [`DiskFault::RolledBack`]).
    pub fn strike(&mut self, fault: DiskFault, rng: &mut Rng) -> Option<Expectation> {
        match fault {
            DiskFault::FailedRead => self.fail_after(OpKind::Read, rng.below(4)),
            DiskFault::FailedWrite => self.fail_after(OpKind::Write, rng.below(20)),
            DiskFault::FailedSync => self.fail_after(OpKind::Sync, rng.below(20)),
            DiskFault::FailedNames => self.fail_after(OpKind::Names, rng.below(4)),
            // Less than a snapshot takes, or enough for some.
            DiskFault::Full => {
                let most = if rng.chance(1, 2) { 2 << 10 } else { 100 << 10 };
                self.fill_up(rng.below(most));
            }
            DiskFault::Slow => self.weather.pace.percent = 1000,
            DiskFault::Wiped | DiskFault::RolledBack => return None,
            DiskFault::RottenRecord
            | DiskFault::RottenSegmentHeader
            | DiskFault::WildLength
            | DiskFault::RottenSnapshot
            | DiskFault::ShortSnapshot
            | DiskFault::RottenVoteCopy
            | DiskFault::RottenVote
            | DiskFault::RottenIdentityCopy
            | DiskFault::RottenIdentity
            | DiskFault::UnknownVersion
            | DiskFault::StaleWrite
            | DiskFault::MisdirectedWrite => return self.spoil_by(fault, rng),
        }
        Some(fault.expected())
    }

    /// What was lost that had been synced: the next start must refuse, by one of them.
    pub fn wounds(&self) -> &[Wound] {
        &self.wounds
    }

    /// Whether a start that ended like this is what the disk's wounds demand: a refusal that names one of them, or none
    /// when there is none.
    ///
    /// # Errors
    ///
    /// What it did instead, in words.
    pub fn judge_start(&self, fault: Option<&Fault>) -> Result<(), String> {
        let verdicts: Vec<_> = self.wounds.iter().map(|wound| wound.expected().met_by(fault)).collect();
        match verdicts.iter().find(|verdict| verdict.is_ok()).or(verdicts.first()) {
            Some(verdict) => verdict.clone(),
            None => Expectation::Survives.met_by(fault),
        }
    }

    /// What lies where, as a reader finds it now; `None` unless it is a member's.
    pub fn survey(&self) -> Option<Survey> {
        Survey::of(self.contents_by_name().map(|(name, contents)| (name, contents.seen())))
    }

    fn spoil_by(&mut self, fault: DiskFault, rng: &mut Rng) -> Option<Expectation> {
        let survey = self.survey()?;
        let wound = match fault {
            DiskFault::RottenVoteCopy => return self.rot_one(fault, &survey.vote, rng),
            DiskFault::RottenIdentityCopy => return self.rot_one(fault, &survey.identity, rng),
            DiskFault::RottenVote if survey.vote_proven => self.rot_all(fault, &survey.vote, rng)?,
            DiskFault::RottenIdentity => self.rot_all(fault, &survey.identity, rng)?,
            DiskFault::RottenSnapshot => self.rot_all(fault, self.whole_snapshot(&survey).as_slice(), rng)?,
            DiskFault::ShortSnapshot => {
                let snapshot = self.whole_snapshot(&survey)?;
                self.contents(snapshot.file).ok()?.shorten(rng.below(snapshot.len) as usize);
                wound(fault, &snapshot)
            }
            DiskFault::UnknownVersion => {
                let file = *pick(&[FileName::Identity, FileName::Vote], rng)?;
                let mut bytes = self.read(file)?.to_vec();
                let part = survey::raise_version(file, &mut bytes)?;
                self.spoil(file, 0, &bytes);
                wound(fault, &part)
            }
            DiskFault::RottenSegmentHeader => {
                let proven = |header: &&Part| survey.proven().any(|r| follows(header, &r.part));
                let headers: Vec<Part> = survey.segments.iter().filter(proven).copied().collect();
                let header = *pick(&headers, rng)?;
                self.rot_all(fault, &[header], rng)?
            }
            DiskFault::RottenRecord => {
                let records: Vec<_> = survey.proven().collect();
                let record = *pick(&records, rng)?;
                self.rot_bit(&record.part, rng);
                Wound { index: Some(record.index), ..wound(fault, &record.part) }
            }
            DiskFault::WildLength => {
                let records: Vec<_> = survey.proven().collect();
                let record = *pick(&records, rng)?;
                let length = *pick(&record.lengths(), rng)?;
                // Of a length that no file has, or of one that is just too long.
                let most = u64::MAX >> rng.below(60);
                self.spoil(length.file, length.offset, &(most - rng.below(7)).to_le_bytes());
                Wound { index: Some(record.index), ..wound(fault, &record.part) }
            }
            DiskFault::StaleWrite => self.lose_record(&survey, rng)?,
            DiskFault::MisdirectedWrite => self.misplace_record(&survey, rng)?,
            _ => return None,
        };
        self.wounds.push(wound);
        Some(wound.expected())
    }

    /// The snapshot that the log goes on from, if its file is as long as the log says.
    fn whole_snapshot(&self, survey: &Survey) -> Option<Part> {
        survey.snapshot.filter(|s| self.read(s.file).map(<[u8]>::len) == Some(s.len as usize))
    }

    fn rot_bit(&mut self, part: &Part, rng: &mut Rng) {
        self.rot(part.file, part.offset + rng.below(part.len), 1 << rng.below(8));
    }

    fn rot_one(&mut self, fault: DiskFault, parts: &[Part], rng: &mut Rng) -> Option<Expectation> {
        let part = *pick(parts, rng)?;
        self.rot_bit(&part, rng);
        Some(fault.expected())
    }

    fn rot_all(&mut self, fault: DiskFault, parts: &[Part], rng: &mut Rng) -> Option<Wound> {
        parts.iter().for_each(|part| self.rot_bit(part, rng));
        parts.first().map(|part| wound(fault, part))
    }

    fn lose_record(&mut self, survey: &Survey, rng: &mut Rng) -> Option<Wound> {
        let records: Vec<_> = survey.proven().collect();
        let record = *pick(&records, rng)?;
        self.counts.stale_writes += 1;
        self.spoil(record.part.file, record.part.offset, &std::vec![0; record.part.len as usize]);
        Some(Wound { index: Some(record.index), ..wound(DiskFault::StaleWrite, &record.part) })
    }

    fn misplace_record(&mut self, survey: &Survey, rng: &mut Rng) -> Option<Wound> {
        let records: Vec<_> = survey.proven().collect();
        let (from, to) = (*pick(&records, rng)?, *pick(&records, rng)?);
        let bytes = self.read(from.part.file)?.get(from.part.offset as usize..)?;
        let bytes = bytes.get(..from.part.len as usize)?.to_vec();
        let hit = |r: &Part| *r == from.part || r.touches(to.part.file, to.part.offset, from.part.len);
        let hits: Vec<_> = survey.records.iter().filter(|r| hit(&r.part)).collect();
        if from == to || hits.iter().any(|record| !record.proven) {
            return None;
        }
        self.counts.misdirected_writes += 1;
        self.spoil(from.part.file, from.part.offset, &std::vec![0; bytes.len()]);
        self.spoil(to.part.file, to.part.offset, &bytes);
        let first = hits.first()?;
        Some(Wound { index: Some(first.index), ..wound(DiskFault::MisdirectedWrite, &first.part) })
    }

    pub(super) fn spoil(&mut self, file: FileName, offset: u64, bytes: &[u8]) {
        if let Ok(contents) = self.contents(file) {
            contents.spoil(offset as usize, bytes);
        }
    }
}

/// Whether the record is the first of the segment with this header.
pub(super) fn follows(header: &Part, record: &Part) -> bool {
    record.file == header.file && record.offset == header.offset + header.len
}

pub(super) fn wound(fault: DiskFault, part: &Part) -> Wound {
    Wound { fault, file: part.file, offset: part.offset, index: None }
}

pub(super) fn pick<'a, T>(of: &'a [T], rng: &mut Rng) -> Option<&'a T> {
    of.get(rng.below(of.len() as u64) as usize)
}
