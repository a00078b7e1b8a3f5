//! The commands whose arguments are more than keys, values and numbers: each in the order in which `parse` packs it.

use super::{Read, SetFlags, Unpacker, Write};
use crate::kv::bits::{BitRange, MAX_BITS, Unit};
use crate::kv::expire::{Replaces, Tells};
use crate::kv::float::Extended;
use crate::kv::lcs::LcsForm;
use crate::kv::lifetime::Lifetime;
use crate::kv::set::{Compare, Set};

impl<'a> Unpacker<'a> {
    /// A byte that is 0 or 1.
    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn set_range(&mut self) -> Option<Write<'a>> {
        Some(Write::SetRange { key: self.key()?, offset: self.varint()?, part: self.value()? })
    }

    pub(super) fn bit_offset(&mut self) -> Option<u64> {
        self.varint().filter(|&offset| offset < MAX_BITS)
    }

    pub(super) fn set_bit(&mut self) -> Option<Write<'a>> {
        Some(Write::SetBit { key: self.key()?, offset: self.bit_offset()?, bit: self.flag()? })
    }

    pub(super) fn extended(&mut self) -> Option<Extended> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Extended::from_bytes(*bytes)
    }

    pub(super) fn rename(&mut self) -> Option<Write<'a>> {
        let only_new = self.flag()?;
        Some(Write::Rename { from: self.key()?, to: self.key()?, only_new })
    }

    pub(super) fn copy(&mut self) -> Option<Write<'a>> {
        let replace = self.flag()?;
        Some(Write::Copy { from: self.key()?, to: self.key()?, replace })
    }

    fn bit_range(&mut self) -> Option<Option<BitRange>> {
        let (unit, has_end) = match self.byte()? {
            0 => return Some(None),
            1 => (Unit::Byte, false),
            2 => (Unit::Byte, true),
            3 => (Unit::Bit, true),
            _ => return None,
        };
        let start = self.signed()?;
        let end = if has_end { Some(self.signed()?) } else { None };
        Some(Some(BitRange { start, end, unit }))
    }

    pub(super) fn bit_count(&mut self) -> Option<Read<'a>> {
        Some(Read::BitCount { key: self.key()?, range: self.bit_range()? })
    }

    pub(super) fn bit_pos(&mut self) -> Option<Read<'a>> {
        Some(Read::BitPos { key: self.key()?, bit: self.flag()?, range: self.bit_range()? })
    }

    pub(super) fn lcs(&mut self) -> Option<Read<'a>> {
        let (one, other) = (self.key()?, self.key()?);
        let form = match self.byte()? {
            0 => LcsForm::Text,
            1 => LcsForm::Length,
            form @ (2 | 3) => LcsForm::Indexes { min_length: self.varint()?, with_lengths: form == 3 },
            _ => return None,
        };
        Some(Read::Lcs { one, other, form })
    }

    pub(super) fn expire(&mut self) -> Option<Write<'a>> {
        let replaces = Replaces::from_byte(self.byte()?)?;
        let lifetime =
            Lifetime::unpack(self).filter(|of| matches!(of, Lifetime::For(_) | Lifetime::Until(_)))?;
        Some(Write::Expire { replaces, lifetime, key: self.key()? })
    }

    pub(super) fn getex(&mut self) -> Option<Write<'a>> {
        let lifetime = Lifetime::unpack(self).filter(|of| *of != Lifetime::Kept)?;
        Some(Write::GetEx { lifetime, key: self.key()? })
    }

    pub(super) fn ttl(&mut self) -> Option<Read<'a>> {
        Some(Read::Ttl { tells: Tells::from_byte(self.byte()?)?, key: self.key()? })
    }

    /// A SET without a condition on the value, whose lifetime is one of its flags.
    /// SET without options that carry something.
    pub(in crate::kv) fn set(&mut self) -> Option<Set<'a>> {
        let byte = self.byte()?;
        let flags = SetFlags::from_byte(byte & !Lifetime::KEPT_FLAG)?;
        let lifetime = if byte & Lifetime::KEPT_FLAG == 0 { Lifetime::Forever } else { Lifetime::Kept };
        Some(Set { flags, compare: Compare::Any, lifetime, key: self.key()?, value: self.value()? })
    }

    pub(super) fn set_with(&mut self) -> Option<Set<'a>> {
        let flags = SetFlags::from_byte(self.byte()?)?;
        let (compare, lifetime) = (Compare::unpack(self)?, Lifetime::unpack(self)?);
        let (key, value) = (self.key()?, self.value()?);
        Some(Set { flags, compare, lifetime, key, value })
    }

    pub(super) fn delex(&mut self) -> Option<Write<'a>> {
        Some(Write::DelEx { compare: Compare::unpack(self)?, key: self.key()? })
    }

    pub(super) fn msetex(&mut self) -> Option<Write<'a>> {
        let flags = SetFlags::from_byte(self.byte()?).filter(|flags| !flags.has(SetFlags::GET))?;
        Some(Write::MSetEx { flags, lifetime: Lifetime::unpack(self)?, pairs: self.pairs()? })
    }
}
