//! Writes that go astray: acknowledged, synced, and never where they should be. As long as the operating system has them in
//! its cache no one can tell.

use std::vec::Vec;

use bytes::Bytes;

use super::contents::Astray;
use super::strike::{follows, pick, wound};
use super::{Contents, Disk, DiskFault, Trap, Wound, whole};
use crate::rng::Rng;
use crate::storage::survey::{Part, Survey};
use crate::storage::{DiskError, FileName};

impl Disk {
    /// A write; one to the log may go astray, which shows only when the cache is gone.
    pub(super) fn write_or_stray(
        &mut self,
        file: FileName,
        offset: u64,
        data: &[Bytes],
        rng: &mut Rng,
    ) -> Result<(), DiskError> {
        let data = whole(data);
        if !matches!(file, FileName::Segment(_)) {
            return self.write(file, offset, data);
        }
        let stale = self.springs(Trap::Stale, self.weather.stale_writes, rng);
        let misdirected = self.springs(Trap::Misdirected, self.weather.misdirected_writes, rng);
        if !stale && !misdirected {
            return self.write(file, offset, data);
        }
        let start = offset as usize;
        let there = self.read(file).and_then(|bytes| bytes.get(start..)).unwrap_or_default();
        let mut before = there[..there.len().min(data.len())].to_vec();
        before.resize(data.len(), 0);
        self.write(file, offset, data.clone())?;
        let fault = if misdirected { DiskFault::MisdirectedWrite } else { DiskFault::StaleWrite };
        self.contents(file)?.leads_astray(Astray { fault, offset: start, bytes: before });
        if misdirected {
            let segments: Vec<_> =
                self.list().into_iter().filter(|(name, _)| matches!(name, FileName::Segment(_))).collect();
            if let Some(&(victim, len)) = pick(&segments, rng) {
                let offset = rng.below(len / 128) as usize * 128;
                let fault = DiskFault::MisdirectedWrite;
                self.contents(victim)?.leads_astray(Astray { fault, offset, bytes: data.to_vec() });
            }
        }
        Ok(())
    }

    /// The cache is gone: what went astray shows, except where nothing on the disk proves that something else was synced
    /// there.
    pub(super) fn show_astray(&mut self) {
        let mut astray: Vec<(FileName, Astray)> = Vec::new();
        for (name, inode) in self.names.names() {
            let found = self.files.get_mut(&inode).map(Contents::take_astray);
            astray.extend(found.into_iter().flatten().map(|astray| (name, astray)));
        }
        self.files.values_mut().for_each(|nameless| drop(nameless.take_astray()));
        if astray.is_empty() {
            return;
        }
        let Some(survey) = self.survey() else { return };
        for (file, astray) in astray {
            self.show_one(&survey, file, &astray);
        }
    }

    fn show_one(&mut self, survey: &Survey, file: FileName, astray: &Astray) {
        let (start, len) = (astray.offset as u64, astray.bytes.len() as u64);
        let now = self.read(file).unwrap_or_default();
        // Recovery writes the same bytes again: it does not matter where they go.
        let differs = |part: &Part| {
            let range = part.offset.max(start) as usize..(part.offset + part.len).min(start + len) as usize;
            let there = now.get(range.clone());
            there != astray.bytes.get(range.start - astray.offset..range.end - astray.offset)
        };
        let hit = |part: &Part| part.touches(file, start, len) && differs(part);
        let records: Vec<_> = survey.records.iter().filter(|record| hit(&record.part)).collect();
        let headers = survey.segments.iter().filter(|header| hit(header));
        let beginnings = headers.filter(|header| !records.iter().any(|r| follows(header, &r.part))).count();
        let Some(first) = records.first() else { return };
        if beginnings > 0 || records.iter().any(|record| !record.proven) {
            return;
        }
        let begins = survey.segments.iter().any(hit);
        let index = (!begins).then_some(first.index);
        self.wounds.push(Wound { index, ..wound(astray.fault, &first.part) });
        match astray.fault {
            DiskFault::StaleWrite => self.counts.stale_writes += 1,
            _ => self.counts.misdirected_writes += 1,
        }
        self.spoil(file, start, &astray.bytes);
    }
}
