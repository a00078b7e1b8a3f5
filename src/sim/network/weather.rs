//! What a direction between two nodes does to frames, and between whom and to which frames that holds.

use std::vec::Vec;

use super::kind::{Kind, Kinds};
use crate::raft::NodeId;
use crate::rng::Rng;
use crate::time::Micros;

/// How one direction between two nodes behaves. Times in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Shortest delay of a frame.
    pub min_delay: Micros,
    /// Longest delay of a frame.
    pub max_delay: Micros,
    /// Of a thousand loose frames, how many are lost.
    pub lost: u32,
    /// Of a thousand loose frames, how many arrive twice.
    pub doubled: u32,
    /// Of a thousand loose frames, how many may be overtaken by later ones, by up to ten times the longest delay.
    pub overtaken: u32,
    /// Of a thousand loose frames, how many are late.
    pub late: u32,
    /// By how much a late frame is late at least.
    pub late_least: Micros,
    /// The most that comes on top of that. It is drawn twice, the second time from zero to the first, so that most late
    /// frames are a little late and a few very much.
    pub late_tail: Micros,
    /// Of a million frames, how many clog their direction: it and all that follow it are held, and come all at once.
    pub clogged: u32,
    /// How long a direction stays clogged at most.
    pub clog: Micros,
    /// Of a million frames, how many break their connection.
    pub broken: u32,
}

impl Weather {
    /// A quiet local network: 50 to 150 microseconds, nothing lost.
    pub const FAIR: Self = Self {
        min_delay: 50,
        max_delay: 150,
        lost: 0,
        doubled: 0,
        overtaken: 0,
        late: 0,
        late_least: 0,
        late_tail: 0,
        clogged: 0,
        clog: 0,
        broken: 0,
    };
    /// A bad one: up to 10 milliseconds, a tenth lost, a tenth doubled, a third overtaken.
    pub const FOUL: Self =
        Self { min_delay: 100, max_delay: 10_000, lost: 100, doubled: 100, overtaken: 333, ..Self::FAIR };

    /// How long a frame takes that is neither late nor held.
    pub(super) fn delay(&self, rng: &mut Rng) -> Micros {
        between((self.min_delay, self.max_delay), rng)
    }

    /// By how much a late frame is late.
    pub(super) fn lateness(&self, rng: &mut Rng) -> Micros {
        let most = rng.below(self.late_tail + 1);
        self.late_least + rng.below(most + 1)
    }
}

/// How connections between clients and nodes behave. Their bytes arrive in order or not at all: what is lost breaks the
/// connection, and the client does not learn whether it was its request or the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientWeather {
    /// How long what a client writes takes, from the shortest to the longest, in microseconds.
    pub request_delay: (Micros, Micros),
    /// How long what a node writes takes.
    pub reply_delay: (Micros, Micros),
    /// Of a thousand times that a client writes, how often that is lost.
    pub lost_requests: u32,
    /// Of a thousand times that a node writes, how often that is lost.
    pub lost_replies: u32,
}

impl ClientWeather {
    /// A quiet local network: 20 to 120 microseconds, nothing lost.
    pub const FAIR: Self =
        Self { request_delay: (20, 120), reply_delay: (20, 120), lost_requests: 0, lost_replies: 0 };
}

/// A delay from the shortest to the longest.
pub(super) fn between((least, most): (Micros, Micros), rng: &mut Rng) -> Micros {
    least + rng.below(most.saturating_sub(least) + 1)
}

/// Where some weather prevails, and over which frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Of what this node sends; `None` for any.
    pub from: Option<NodeId>,
    /// Of what is sent to this node; `None` for any.
    pub to: Option<NodeId>,
    /// Of these kinds.
    pub kinds: Kinds,
}

impl Region {
    /// Everywhere, over frames of these kinds.
    pub const fn kinds(kinds: Kinds) -> Self {
        Self { from: None, to: None, kinds }
    }

    /// One direction, over all frames.
    pub const fn direction(from: NodeId, to: NodeId) -> Self {
        Self { from: Some(from), to: Some(to), kinds: Kinds::ALL }
    }

    fn holds(&self, from: NodeId, to: NodeId, kind: Option<Kind>) -> bool {
        self.from.is_none_or(|node| node == from)
            && self.to.is_none_or(|node| node == to)
            && kind.map_or(self.kinds == Kinds::ALL, |kind| self.kinds.contains(kind))
    }
}

/// The weather of all directions.
#[derive(Debug)]
pub(super) struct Climate {
    general: Weather,
    /// The last that holds counts.
    regions: Vec<(Region, Weather)>,
}

impl Climate {
    pub(super) const fn new(general: Weather) -> Self {
        Self { general, regions: Vec::new() }
    }

    pub(super) fn set(&mut self, region: Region, weather: Weather) {
        self.regions.retain(|(known, _)| *known != region);
        self.regions.push((region, weather));
    }

    /// The general one, and those of parts.
    pub(super) fn weathers(&self) -> impl Iterator<Item = (Option<Region>, Weather)> + '_ {
        let regions = self.regions.iter().map(|&(region, weather)| (Some(region), weather));
        core::iter::once((None, self.general)).chain(regions)
    }

    /// The weather over a frame; without a kind, over what is no frame.
    pub(super) fn over(&self, from: NodeId, to: NodeId, kind: Option<Kind>) -> Weather {
        let regions = self.regions.iter().rev();
        let found = regions.into_iter().find(|(region, _)| region.holds(from, to, kind));
        found.map_or(self.general, |(_, weather)| *weather)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_weather_that_holds_counts() {
        let (a, b) = (NodeId(1), NodeId(2));
        let slow = Weather { max_delay: 9_000, ..Weather::FAIR };
        let mut climate = Climate::new(Weather::FAIR);
        climate.set(Region::direction(a, b), slow);
        climate.set(Region::kinds(Kinds::CORE_REPLIES), Weather::FOUL);
        assert_eq!(climate.over(a, b, Some(Kind::Vote)), slow);
        assert_eq!(climate.over(b, a, Some(Kind::Vote)), Weather::FAIR);
        assert_eq!(climate.over(a, b, Some(Kind::VoteReply)), Weather::FOUL);
        assert_eq!(climate.over(a, b, None), slow, "what is no frame is of no kind");
        climate.set(Region::direction(a, b), Weather::FAIR);
        assert_eq!(climate.over(a, b, Some(Kind::VoteReply)), Weather::FAIR, "set anew, it is the last");
    }

    #[test]
    fn most_late_frames_are_a_little_late_and_a_few_very() {
        let weather = Weather { late_least: 200, late_tail: 2_000, ..Weather::FAIR };
        let mut rng = Rng::new(1);
        let late: Vec<Micros> = (0..2_000).map(|_| weather.lateness(&mut rng)).collect();
        assert!(late.iter().all(|late| (200..=2_200).contains(late)));
        let mean = late.iter().sum::<Micros>() / 2_000;
        assert!((650..750).contains(&mean), "{mean}");
        assert!(late.iter().filter(|late| **late > 1_700).count() < 200);
        assert!(late.iter().any(|late| *late > 1_900));
    }
}
