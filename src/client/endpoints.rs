//! Whom to ask next, and when.

use alloc::string::String;
use alloc::vec::Vec;

use crate::rng::Rng;
use crate::time::Micros;

/// Redirects that are followed without a pause: after an election the members may disagree for a while.
const MAX_REDIRECTS: u32 = 3;

/// A member that says so often that one should try again is left for another.
const MAX_REFUSALS: u32 = 4;

/// The endpoints in a drawn order, and the pause between attempts.
#[derive(Debug)]
pub(super) struct Endpoints {
    known: Vec<String>,
    next: usize,
    /// Where a redirect pointed; tried before all others, once.
    preferred: Option<String>,
    rng: Rng,
    failures: u32,
    /// Redirects since something worked.
    redirects: u32,
    backoff: (Micros, Micros),
}

impl Endpoints {
    pub(super) fn new(mut known: Vec<String>, seed: u64, backoff: (Micros, Micros)) -> Self {
        let mut rng = Rng::new(seed);
        for last in (1..known.len()).rev() {
            known.swap(last, rng.below(last as u64 + 1) as usize);
        }
        Self { known, next: 0, preferred: None, rng, failures: 0, redirects: 0, backoff }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whom to connect to now.
    pub(super) fn pick(&mut self) -> Option<String> {
        if let Some(preferred) = self.preferred.take() {
            // If it fails the search goes on behind it.
            if let Some(at) = self.known.iter().position(|known| *known == preferred) {
                self.next = at + 1;
            }
            return Some(preferred);
        }
        let at = self.next.checked_rem(self.known.len())?;
        self.next = at + 1;
        self.known.get(at).cloned()
    }

    /// A member says that this one leads. `false` when they have been saying so without end: then it is better to pause.
    pub(super) fn prefer(&mut self, endpoint: &str) -> bool {
        self.preferred = Some(endpoint.into());
        self.redirects = self.redirects.saturating_add(1);
        self.redirects <= MAX_REDIRECTS
    }

    /// Something worked.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.redirects = 0;
    }

    /// Whether nothing has worked for so long that another one may be worth a try.
    pub(super) fn fails_on(&self) -> bool {
        self.failures >= MAX_REFUSALS
    }

    /// Something did not: how long to pause. Half of it is drawn, so that clerks do not come back all at once.
    pub(super) fn failed(&mut self) -> Micros {
        let (least, most) = self.backoff;
        let whole = least.saturating_mul(1 << self.failures.min(20)).min(most);
        self.failures = self.failures.saturating_add(1);
        whole - self.rng.below(whole / 2 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(seed: u64) -> Endpoints {
        Endpoints::new(["a", "b", "c"].map(String::from).to_vec(), seed, (10, 1000))
    }

    #[test]
    fn all_are_tried_in_a_drawn_order_and_a_redirect_comes_first() {
        let mut e = endpoints(3);
        let round: Vec<String> = (0..3).filter_map(|_| e.pick()).collect();
        let mut sorted = round.clone();
        sorted.sort();
        assert_eq!(sorted, ["a", "b", "c"]);
        e.prefer(&round[1]);
        assert_eq!((e.pick().as_deref(), e.pick().as_deref()), (Some(&*round[1]), Some(&*round[2])));
        e.prefer("elsewhere");
        assert_eq!((e.pick().as_deref(), e.pick().as_deref()), (Some("elsewhere"), Some(&*round[0])));
        let orders: alloc::collections::BTreeSet<_> = (0..50).map(|seed| endpoints(seed).known).collect();
        assert_eq!(orders.len(), 6);
        assert_eq!(Endpoints::new(Vec::new(), 1, (1, 2)).pick(), None);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut e = endpoints(1);
        for whole in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            let pause = e.failed();
            assert!(pause <= whole && pause >= whole / 2, "{pause} of {whole}");
        }
        e.succeeded();
        assert!(e.failed() <= 10);
    }
}
