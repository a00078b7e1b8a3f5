//! Bounds that are worth exploring. The numbers of states are those of today's core, with all settings as here.

use super::bounds::{Bounds, Budget, Start};

const NONE: Budget = Budget::NONE;

impl Bounds {
    /// Two nodes with the default settings: two campaigns, a crash and a snapshot around one write. Seconds.
    pub const fn two_nodes() -> Self {
        Self {
            budget: Budget { timeouts: 2, proposals: 1, crashes: 1, snapshots: 1, ..NONE },
            ..Self::new(2)
        }
    }

    /// Three nodes with a leader, which loses its office or crashes around one write. Without PreVote and CheckQuorum, which
    /// keep from happening what safety must not depend on. Seconds.
    pub const fn three_nodes() -> Self {
        let budget = Budget { timeouts: 1, proposals: 1, crashes: 1, ..NONE };
        Self { budget, start: Start::Established, ..Self::new(3).with_elections(false, false) }
    }

    /// Three nodes with a leader, two campaigns after it and a crash: some 12 million states, a minute.
    pub const fn three_nodes_long() -> Self {
        Self { budget: Budget { timeouts: 2, crashes: 1, ..NONE }, ..Self::three_nodes() }
    }

    /// Small explorations that together visit every part of the core, each with its name: some 15 seconds.
    pub const fn suite() -> [(&'static str, Self); 8] {
        let led = Self { start: Start::Established, ..Self::new(3) };
        let plain = led.with_elections(false, false);
        let rivals = Budget { timeouts: 2, ..NONE };
        let repeated = Budget { timeouts: 2, proposals: 1, repeats: 1, ..NONE };
        let read = Budget { timeouts: 1, reads: 1, repeats: 1, ..NONE };
        let snapshot = Budget { timeouts: 1, crashes: 1, snapshots: 1, ..NONE };
        let write = Budget { timeouts: 1, proposals: 1, ..NONE };
        let passed = Self { start: Start::SnapshotComes, budget: Budget { timeouts: 1, ..NONE }, ..plain };
        [
            ("two nodes", Self::two_nodes()),
            ("two nodes, a message comes twice", Self { budget: repeated, ..Self::new(2) }),
            ("three nodes, rival candidates", Self { budget: rivals, start: Start::Founded, ..plain }),
            ("three nodes, a crash around a write", Self::three_nodes()),
            ("three nodes, a read", Self { budget: read, ..plain }),
            ("three nodes, a snapshot is sent", Self { budget: snapshot, ..plain }),
            ("three nodes, a snapshot that the next leader knows nothing of", passed),
            ("three nodes, PreVote and CheckQuorum", Self { budget: write, ..led }),
        ]
    }

    /// Explorations for which there is time: 25 million states, some three minutes and a gigabyte.
    pub const fn long_suite() -> [(&'static str, Self); 5] {
        let plain = Self::three_nodes();
        let write = Budget { timeouts: 1, proposals: 1, ..NONE };
        let campaigns = Budget { timeouts: 2, ..write };
        [
            ("two campaigns and a crash", Self::three_nodes_long()),
            ("a read around a write and a campaign", Self { budget: Budget { reads: 1, ..write }, ..plain }),
            (
                "a snapshot around a write and a campaign",
                Self { budget: Budget { snapshots: 1, ..write }, ..plain },
            ),
            ("two campaigns around a write, up to 20 steps", Self { budget: campaigns, depth: 20, ..plain }),
            (
                "a heartbeat around a write and a campaign, up to 22 steps",
                Self { budget: Budget { beats: 1, ..write }, depth: 22, ..plain },
            ),
        ]
    }
}
