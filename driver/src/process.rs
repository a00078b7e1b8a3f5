//! What the operating system knows of this process and grants it.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are not clients': listeners, links, files, the poll.
const RESERVED_DESCRIPTORS: u64 = 512;

/// Bytes of physical memory in use, where the system tells.
pub(crate) fn resident_bytes() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    resident.checked_mul(rustix::param::page_size() as u64)
}

/// Raises the limit of open files as far as the process may, and says how many clients it then has room for, at most
/// `wanted`.
pub(crate) fn room_for_clients(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = (wanted as u64).saturating_add(RESERVED_DESCRIPTORS);
    let target = limit.maximum.map_or(needed, |most| most.min(needed));
    let mut granted = limit.current.unwrap_or(u64::MAX);
    if granted < target && setrlimit(Resource::Nofile, Rlimit { current: Some(target), ..limit }).is_ok() {
        granted = target;
    }
    let room = granted.saturating_sub(RESERVED_DESCRIPTORS).max(16);
    usize::try_from(room).unwrap_or(usize::MAX).min(wanted)
}

/// 128 random bits of the operating system.
pub(crate) fn random_u128() -> std::io::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}
