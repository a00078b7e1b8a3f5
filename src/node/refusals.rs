//! The epoch rule: after a refused write every later write of the same stream and epoch is refused too, so that a
//! pipeline is never half applied out of order.

use alloc::collections::BTreeMap;

/// Most streams that are remembered. The oldest connection goes first: what it had in its pipeline has long been
/// answered by the time so many others were refused.
const STREAMS: usize = 16 << 10;

/// The epochs in which a write was refused, by connection.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<u64, u32>);

impl Refusals {
    /// A write of this connection and epoch was refused.
    pub(super) fn note(&mut self, connection: u64, epoch: u32) {
        let refused = self.0.entry(connection).or_insert(epoch);
        *refused = epoch.max(*refused);
        if self.0.len() > STREAMS {
            self.0.pop_first();
        }
    }

    /// Whether an earlier write of this connection and epoch was refused. An older epoch has been answered before the
    /// newer one began.
    pub(super) fn contain(&self, connection: u64, epoch: u32) -> bool {
        let covers =
            |refused| epoch < refused || (epoch == refused && !planted!("pipeline-goes-on-after-a-refusal"));
        !self.0.is_empty() && self.0.get(&connection).is_some_and(|refused| covers(*refused))
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, connection: u64) {
        self.0.remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_for_its_epoch_and_not_for_the_next() {
        let mut refusals = Refusals::default();
        assert!(!refusals.contain(1, 0));
        refusals.note(1, 0);
        assert!(refusals.contain(1, 0) && !refusals.contain(1, 1) && !refusals.contain(2, 0));
        refusals.note(1, 3);
        refusals.note(1, 2);
        assert!(refusals.contain(1, 3));
        refusals.forget(1);
        assert!(!refusals.contain(1, 3));
    }

    #[test]
    fn memory_is_bounded() {
        let mut refusals = Refusals::default();
        (0..STREAMS as u64 * 2).for_each(|connection| refusals.note(connection, 0));
        assert_eq!(refusals.0.len(), STREAMS);
        assert!(refusals.contain(STREAMS as u64 * 2 - 1, 0));
    }
}
