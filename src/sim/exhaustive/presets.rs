//! Bounds that are worth exploring.

use super::bounds::{Bounds, Budget};

impl Bounds {
    /// Two nodes, in a few seconds.
    pub const fn two_nodes() -> Self {
        let budget = Budget { timeouts: 2, proposals: 1, crashes: 1, ..Budget::NONE };
        Self { budget, ..Self::new(2) }
    }

    /// Three nodes, in a few seconds.
    pub const fn three_nodes() -> Self {
        let budget = Budget { timeouts: 1, proposals: 1, ..Budget::NONE };
        Self { budget, ..Self::new(3) }
    }
}
