//! A run before it is run: everything that the seed decides in advance.

use std::vec::Vec;

use super::{Fault, Profile, Quirk, duration};
use crate::rng::Rng;
use crate::sim::cluster::Settings;
use crate::time::Micros;

const SECOND: Micros = 1_000_000;

/// How long a run goes on after its last fault has ended, to become well again.
const RECOVERY: Micros = 30 * SECOND;

/// A run as data: the same plan gives the same run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides what the plan does not.
    pub seed: u64,
    /// What kind of run it was drawn as.
    pub profile: Profile,
    /// How many nodes.
    pub nodes: u64,
    /// When the last fault ends, in microseconds: everything is mended then.
    pub faults_end: Micros,
    /// When the run ends: all must be well by then.
    pub end: Micros,
    /// Choices of our own.
    pub quirks: Vec<Quirk>,
    /// What happens, and when, in order of time.
    pub faults: Vec<(Micros, Fault)>,
    /// Who asks.
    pub clients: Vec<Population>,
}

/// One client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// Its name, which decides what it asks.
    pub number: u64,
    /// How long it thinks between two operations, on average.
    pub thinks: Micros,
    /// Most operations it asks at once.
    pub burst: u64,
    /// Whether its writes are commands of a session, and so run exactly once.
    pub session: bool,
    /// How long it goes on about one operation; longer than a node's own deadline by default.
    pub patience: Micros,
}

impl Population {
    /// As patient as a clerk is by default.
    pub const PATIENCE: Micros = 15 * SECOND;
}

impl Plan {
    /// The plan of a seed. What is not given is drawn.
    pub fn draw(seed: u64, profile: Option<Profile>, nodes: Option<u64>, seconds: u64) -> Self {
        let mut rng = Rng::stream(seed, 300);
        let drawn = Profile::draw(&mut rng);
        let profile = profile.unwrap_or(drawn);
        let drawn = [1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 5, 6, 7][rng.below(20) as usize];
        let nodes = nodes.unwrap_or(drawn);
        let end = seconds.max(1) * SECOND;
        let faults_end = end.saturating_sub(RECOVERY).max(end / 2);
        let quirks = Quirk::draw(&mut rng, if profile == Profile::Calm { 30 } else { 7 });
        // Some runs are disturbed while the cluster forms.
        let begin = if rng.chance(1, 4) { 0 } else { 2 * SECOND.min(end / 10) };
        let faults = profile.faults(&mut rng, begin, faults_end);
        let clients = Self::draw_clients(&mut rng, seconds);
        Self { seed, profile, nodes, faults_end, end, quirks, faults, clients }
    }

    fn draw_clients(rng: &mut Rng, seconds: u64) -> Vec<Population> {
        let count = 1 + rng.below(8);
        // All of them together ask about so often in a second; long runs are not busier than they need to be.
        let most = if seconds > 120 { 24 } else { 200 };
        let rate = duration(rng, 3, most);
        let client = |number| Population {
            number,
            thinks: (count * SECOND / rate).max(500),
            burst: if rng.chance(1, 3) { 1 + rng.below(16) } else { 1 },
            session: rng.chance(3, 4),
            patience: Population::PATIENCE,
        };
        (0..count).map(client).collect()
    }

    /// A plan made of choices: as many nodes, quirks by the bits of a number, faults by their kinds with what else they need
    /// drawn by a number, at distances of each other, and clients that think so long. For fuzzers.
    pub fn of_choices(
        seed: u64,
        nodes: u64,
        quirks: u16,
        faults: &[(Micros, u8, u64)],
        clients: &[Population],
    ) -> Self {
        let mut at = SECOND;
        let fault = |&(after, kind, draw): &(Micros, u8, u64)| {
            at += after;
            (at, super::profile::of_kind(kind.into(), &mut Rng::new(draw)))
        };
        let faults: Vec<_> = faults.iter().map(fault).collect();
        let faults_end = at + SECOND;
        let has = |(bit, _): &(u32, Quirk)| quirks & (1 << bit) != 0;
        let quirks = (0..).zip(Quirk::ALL).filter(has).map(|(_, quirk)| quirk).collect();
        let clients = clients.to_vec();
        let profile = Profile::Wild;
        Self { seed, profile, nodes, faults_end, end: faults_end, quirks, faults, clients }
    }

    /// The cluster's settings.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.seed, self.nodes);
        for quirk in &self.quirks {
            quirk.apply(&mut settings);
        }
        settings
    }
}
