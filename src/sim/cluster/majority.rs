//! What a majority is, counted apart from the core's own `raft/quorum.rs`: the one is held against the other.

use std::vec::Vec;

use crate::raft::{Configuration, NodeId};

/// The half of a configuration of whose voters no more than half are `counted`: how many are, and of how many. `None` when
/// those counted are a majority in each half.
pub(crate) fn short_half(
    configuration: &Configuration,
    counted: impl Fn(NodeId) -> bool,
) -> Option<(usize, usize)> {
    let halves = [&configuration.voters, &configuration.outgoing];
    let count = |voters: &Vec<NodeId>| (voters.iter().filter(|&&id| counted(id)).count(), voters.len());
    halves.into_iter().map(count).find(|&(some, all)| all > 0 && 2 * some <= all)
}

/// The first of these configurations that is short, if all of them are, by what `short` says of each.
pub(super) fn short_of_all<'a>(
    mut configurations: impl Iterator<Item = &'a Configuration>,
    short: impl Fn(&'a Configuration) -> Option<(usize, usize)>,
) -> Option<(usize, usize)> {
    let first = short(configurations.next()?)?;
    configurations.all(|configuration| short(configuration).is_some()).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_half_needs_more_than_half() {
        let ids = |ids: &[u64]| ids.iter().map(|&id| NodeId(id)).collect::<Vec<_>>();
        let simple = Configuration { voters: ids(&[1, 2, 3, 4]), ..Configuration::default() };
        assert_eq!(short_half(&simple, |id| id.0 <= 2), Some((2, 4)));
        assert_eq!(short_half(&simple, |id| id.0 <= 3), None);
        let joint = Configuration { outgoing: ids(&[5, 6, 7]), ..simple };
        assert_eq!(short_half(&joint, |id| id.0 <= 5), Some((1, 3)));
        assert_eq!(short_half(&joint, |id| (2..=6).contains(&id.0)), None);
    }
}
