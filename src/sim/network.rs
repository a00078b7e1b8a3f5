//! The network between nodes: connections that delay, lose, double and reorder frames, and break.
//!
//! It decides when a frame arrives, how often, or that it does not; the cluster keeps the frames themselves.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use crate::node::LinkId;
use crate::raft::NodeId;
use crate::rng::Rng;
use crate::time::Micros;

/// How one direction between two nodes behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Shortest delay of a frame, in microseconds.
    pub min_delay: Micros,
    /// Longest delay of a frame, in microseconds.
    pub max_delay: Micros,
    /// Of a thousand loose frames, how many are lost.
    pub lost: u32,
    /// Of a thousand loose frames, how many arrive twice.
    pub doubled: u32,
    /// Of a thousand loose frames, how many may be overtaken by later ones, by up to ten times the longest delay.
    pub overtaken: u32,
}

impl Weather {
    /// A quiet local network: 50 to 150 microseconds, nothing lost.
    pub const FAIR: Self = Self { min_delay: 50, max_delay: 150, lost: 0, doubled: 0, overtaken: 0 };
    /// A bad one: up to 10 milliseconds, a tenth lost, a tenth doubled, a third overtaken.
    pub const FOUL: Self =
        Self { min_delay: 100, max_delay: 10_000, lost: 100, doubled: 100, overtaken: 333 };
}

/// What a frame can bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// It arrives once and in order, or its connection breaks, as on TCP.
    Ordered,
    /// A message between cores, which any connection may lose, double or reorder.
    Loose,
}

/// A connection that was opened: its two ends, and when each of them hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The dialler's end.
    pub dialler: LinkId,
    /// When the dialler hears of it.
    pub dialler_at: Micros,
    /// The end of whom it dialled.
    pub dialled: LinkId,
    /// When the dialled hears of it: first, so that it may speak first.
    pub dialled_at: Micros,
}

/// What becomes of a frame that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It reaches the link `to`, which names the same connection at the other end, at each of these times.
    Arrives {
        /// The other end.
        to: LinkId,
        /// When; none when it is lost, two when it is doubled.
        at: SmallVec<[Micros; 2]>,
    },
    /// The connection is broken: both ends hear of it at this time and no later frame arrives.
    Breaks {
        /// The other end.
        to: LinkId,
        /// When both ends hear of it.
        at: Micros,
    },
    /// The connection was closed or broken before.
    Closed,
}

/// One end of a connection.
#[derive(Debug)]
struct End {
    owner: NodeId,
    peer: NodeId,
    other: LinkId,
    /// When the last ordered frame sent from here arrives: the next one may not arrive before.
    last_arrival: Micros,
    /// Nothing sent from here arrives any more.
    broken: bool,
}

/// All connections, and the weather between each two nodes.
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    weather: Weather,
    exceptions: BTreeMap<(NodeId, NodeId), Weather>,
    cut: BTreeSet<(NodeId, NodeId)>,
    ends: BTreeMap<LinkId, End>,
    last_link: LinkId,
}

impl Network {
    /// A network in fair weather whose every decision follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            weather: Weather::FAIR,
            exceptions: BTreeMap::new(),
            cut: BTreeSet::new(),
            ends: BTreeMap::new(),
            last_link: 0,
        }
    }

    /// The weather between all nodes from now on, without exceptions.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
        self.exceptions.clear();
    }

    /// The weather from one node to another from now on.
    pub fn set_weather_from(&mut self, from: NodeId, to: NodeId, weather: Weather) {
        self.exceptions.insert((from, to), weather);
    }

    /// Cuts one direction: what is sent from now on does not arrive.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    /// Cuts both directions between each node of `island` and each of `others` that is not in it.
    pub fn partition(&mut self, island: &[NodeId], others: impl IntoIterator<Item = NodeId>) {
        for other in others.into_iter().filter(|other| !island.contains(other)) {
            for &node in island {
                self.cut(node, other);
                self.cut(other, node);
            }
        }
    }

    /// Mends all cuts. Connections that broke meanwhile stay broken.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// The directions that are cut.
    pub fn cuts(&self) -> &BTreeSet<(NodeId, NodeId)> {
        &self.cut
    }

    /// The weather everywhere, then in each direction that has one of its own.
    pub fn weathers(&self) -> impl Iterator<Item = (Option<(NodeId, NodeId)>, Weather)> + '_ {
        let exceptions = self.exceptions.iter().map(|(&direction, &weather)| (Some(direction), weather));
        core::iter::once((None, self.weather)).chain(exceptions)
    }

    /// Whether frames from one node to the other are cut.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// How long something takes from one node to another now.
    pub fn delay(&mut self, from: NodeId, to: NodeId) -> Micros {
        let weather = self.weather_from(from, to);
        weather.min_delay + self.rng.below(weather.max_delay.saturating_sub(weather.min_delay) + 1)
    }

    /// Opens a connection, unless one of the directions is cut.
    pub fn open(&mut self, now: Micros, from: NodeId, to: NodeId) -> Option<Opened> {
        if self.is_cut(from, to) || self.is_cut(to, from) {
            return None;
        }
        let (ours, theirs) = (self.last_link + 1, self.last_link + 2);
        self.last_link = theirs;
        let dialled_at = now + self.delay(from, to);
        let dialler_at = dialled_at + self.delay(to, from);
        // What the dialled says at once may not arrive before the dialler knows of the connection.
        let end = |owner, peer, other| End { owner, peer, other, last_arrival: dialler_at, broken: false };
        self.ends.insert(ours, end(from, to, theirs));
        self.ends.insert(theirs, end(to, from, ours));
        Some(Opened { dialler: ours, dialler_at, dialled: theirs, dialled_at })
    }

    /// Whether this end takes part in a connection that it has not heard to be closed.
    pub fn is_open(&self, link: LinkId) -> bool {
        self.ends.contains_key(&link)
    }

    /// Whose end it is, and who is at the other one.
    pub fn ends_of(&self, link: LinkId) -> Option<(NodeId, NodeId)> {
        self.ends.get(&link).map(|end| (end.owner, end.peer))
    }

    /// All ends of `node`, ascending.
    pub fn links_of(&self, node: NodeId) -> impl Iterator<Item = LinkId> + '_ {
        self.ends.iter().filter(move |(_, end)| end.owner == node).map(|(&link, _)| link)
    }

    /// Sends a frame from one end of a connection.
    pub fn send(&mut self, now: Micros, link: LinkId, care: Care) -> Delivery {
        let Some(end) = self.ends.get(&link) else { return Delivery::Closed };
        let (from, peer, to, last, broken) = (end.owner, end.peer, end.other, end.last_arrival, end.broken);
        if broken || !self.ends.contains_key(&to) {
            return Delivery::Closed;
        }
        if self.is_cut(from, peer) {
            return self.send_into_cut(now, link, to, care);
        }
        let weather = self.weather_from(from, peer);
        let mut at = SmallVec::new();
        let arrival = now + self.delay(from, peer);
        match care {
            Care::Ordered => {
                at.push(arrival.max(last));
                if let Some(end) = self.ends.get_mut(&link) {
                    end.last_arrival = arrival.max(last);
                }
            }
            Care::Loose => {
                let copies =
                    u32::from(!self.happens(weather.lost)) + u32::from(self.happens(weather.doubled));
                for _ in 0..copies {
                    // Even a loose frame comes after the ordered ones, such as the handshake, that it was sent after.
                    at.push(self.loose_arrival(now, weather, arrival).max(last));
                }
            }
        }
        Delivery::Arrives { to, at }
    }

    /// One end closes: it is gone at once. The other end, which hears of it at the time that is returned, after all that
    /// was sent before.
    pub fn close(&mut self, now: Micros, link: LinkId) -> Option<(LinkId, Micros)> {
        let end = self.ends.remove(&link)?;
        self.ends.contains_key(&end.other).then(|| {
            let at = now + self.delay(end.owner, end.peer);
            (end.other, at.max(end.last_arrival))
        })
    }

    /// This end has heard that its connection is closed.
    pub fn forget(&mut self, link: LinkId) {
        self.ends.remove(&link);
    }

    /// A sender does not learn that its direction is cut; TCP gives up after a while.
    fn send_into_cut(&mut self, now: Micros, link: LinkId, to: LinkId, care: Care) -> Delivery {
        // A loose frame may be missed without a trace. An ordered one may not: nothing may arrive after it.
        if care == Care::Loose && !self.rng.chance(1, 16) {
            return Delivery::Arrives { to, at: SmallVec::new() };
        }
        if let Some(end) = self.ends.get_mut(&link) {
            end.broken = true;
        }
        Delivery::Breaks { to, at: now + 100_000 + self.rng.below(1_000_000) }
    }

    fn loose_arrival(&mut self, now: Micros, weather: Weather, arrival: Micros) -> Micros {
        if self.happens(weather.overtaken) {
            now + self.rng.below(10 * weather.max_delay + 1)
        } else {
            arrival
        }
    }

    fn weather_from(&self, from: NodeId, to: NodeId) -> Weather {
        self.exceptions.get(&(from, to)).copied().unwrap_or(self.weather)
    }

    fn happens(&mut self, of_a_thousand: u32) -> bool {
        of_a_thousand > 0 && self.rng.chance(of_a_thousand.into(), 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn arrivals(delivery: Delivery) -> SmallVec<[Micros; 2]> {
        match delivery {
            Delivery::Arrives { at, .. } => at,
            other => panic!("{other:?}"),
        }
    }

    fn foul() -> (Network, LinkId, LinkId) {
        let mut network = Network::new(1);
        network.set_weather(Weather::FOUL);
        let Opened { dialler, dialled, .. } = network.open(0, A, B).expect("opens");
        (network, dialler, dialled)
    }

    #[test]
    fn ordered_frames_arrive_once_and_in_order_in_any_weather() {
        let (mut network, a, _) = foul();
        let times: Vec<_> = (0..500).flat_map(|now| arrivals(network.send(now, a, Care::Ordered))).collect();
        assert_eq!(times.len(), 500);
        assert!(times.is_sorted());
    }

    #[test]
    fn loose_frames_are_lost_doubled_and_overtaken_as_often_as_told() {
        let (mut network, a, _) = foul();
        let counts: Vec<_> = (0..3000).map(|now| arrivals(network.send(now, a, Care::Loose))).collect();
        let of = |copies| counts.iter().filter(|at| at.len() == copies).count();
        assert!((200..400).contains(&of(0)), "{}", of(0));
        assert!((200..400).contains(&of(2)), "{}", of(2));
        let times: Vec<_> = counts.iter().flatten().collect();
        assert!(!times.is_sorted());
    }

    #[test]
    fn a_loose_frame_does_not_overtake_the_handshake() {
        let (mut network, a, _) = foul();
        let handshake = arrivals(network.send(0, a, Care::Ordered))[0];
        assert!((0..200).flat_map(|_| arrivals(network.send(0, a, Care::Loose))).all(|at| at >= handshake));
    }

    #[test]
    fn a_cut_is_one_way_and_breaks_a_connection_that_must_keep_order() {
        let mut network = Network::new(1);
        let Opened { dialler: a, dialled: b, .. } = network.open(0, A, B).expect("opens");
        network.cut(A, B);
        assert_eq!(arrivals(network.send(0, b, Care::Ordered)).len(), 1);
        assert!(matches!(network.send(0, a, Care::Ordered), Delivery::Breaks { to, .. } if to == b));
        network.heal();
        assert_eq!(network.send(0, a, Care::Ordered), Delivery::Closed, "nothing comes after a gap");
    }

    #[test]
    fn nothing_is_opened_through_a_cut() {
        let mut network = Network::new(1);
        network.partition(&[A], [A, B, C]);
        assert_eq!((network.open(0, A, B), network.open(0, C, A)), (None, None));
        assert!(network.open(0, B, C).is_some());
        network.heal();
        assert!(network.open(0, A, B).is_some());
    }

    #[test]
    fn what_the_dialled_says_first_does_not_overtake_the_opening() {
        let mut network = Network::new(1);
        network.set_weather(Weather::FOUL);
        for _ in 0..100 {
            let opened = network.open(0, A, B).expect("opens");
            assert!(opened.dialled_at < opened.dialler_at);
            let first = arrivals(network.send(opened.dialled_at, opened.dialled, Care::Ordered))[0];
            assert!(first >= opened.dialler_at);
        }
    }

    #[test]
    fn a_closed_end_is_gone_and_the_other_hears_of_it_last() {
        let (mut network, a, b) = foul();
        let last = arrivals(network.send(0, a, Care::Ordered))[0];
        let (other, at) = network.close(0, a).expect("was open");
        assert_eq!(other, b);
        assert!(at >= last && !network.is_open(a) && network.is_open(b));
        assert_eq!(network.send(1, b, Care::Ordered), Delivery::Closed);
        assert_eq!(network.close(2, b), None);
        assert_eq!(network.links_of(B).count(), 0);
    }
}
