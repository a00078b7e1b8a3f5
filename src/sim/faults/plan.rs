//! A run before it is run: everything that the seed decides in advance.

use std::vec::Vec;

use super::{Errand, Fault, Profile, Quirk, duration};
use crate::rng::Rng;
use crate::sim::cluster::Settings;
use crate::time::Micros;

const SECOND: Micros = 1_000_000;

/// Machines beyond the founders that an operator may take into the cluster.
const SPARES: u64 = 3;

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
    /// What the operator does, and when, in order of time.
    pub errands: Vec<(Micros, Errand)>,
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
    /// How its commands travel.
    pub manner: Manner,
    /// How long it waits for one, if it has a clerk.
    pub patience: Micros,
}

/// How the commands of a client travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// By a clerk, the writes as commands of a session: they run exactly once.
    Session,
    /// By a clerk; what is not known to be done or not is reported so.
    Plain,
    /// In batches on one connection, each command sent once, as most Redis libraries do.
    Pipeline,
}

impl Manner {
    /// One of them; half of all are sessions.
    pub fn draw(rng: &mut Rng) -> Self {
        [Self::Session, Self::Session, Self::Plain, Self::Pipeline][rng.below(4) as usize]
    }
}

impl Population {
    /// What a clerk waits unless it is told otherwise.
    pub const PATIENCE: Micros = 15 * SECOND;

    /// Mostly the usual patience; sometimes little.
    pub fn draw_patience(rng: &mut Rng) -> Micros {
        if rng.chance(1, 4) { duration(rng, 100_000, 4 * SECOND) } else { Self::PATIENCE }
    }
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
        let errands = profile.errands(&mut Rng::stream(seed, 305), begin, faults_end);
        Self { seed, profile, nodes, faults_end, end, quirks, faults, errands, clients }
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
            manner: Manner::draw(rng),
            patience: Population::draw_patience(rng),
        };
        (0..count).map(client).collect()
    }

    /// A plan made of choices: as many nodes, quirks by the bits of a number, faults by their kinds with what else they need
    /// drawn by a number, at distances of each other, and clients that think so long. For fuzzers.
    pub fn of_choices(
        seed: u64,
        nodes: u64,
        quirks: u32,
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
        let errands = Vec::new();
        Self { seed, profile, nodes, faults_end, end: faults_end, quirks, faults, errands, clients }
    }

    /// The cluster's settings.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.seed, self.nodes);
        settings.spares = if self.errands.is_empty() { 0 } else { SPARES };
        for quirk in &self.quirks {
            quirk.apply(&mut settings);
        }
        settings
    }
}
