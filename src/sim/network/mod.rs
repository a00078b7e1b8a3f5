//! The network: connections between nodes that delay, lose, double and reorder frames, and break; and those of clients.
//!
//! It decides when a frame arrives, how often, or that it does not; the cluster keeps the frames themselves. Whatever it
//! does to a frame it [counts](Counts).

mod counts;
mod kind;
mod shape;
mod weather;

pub use counts::{Counts, Tally};
pub use kind::{Kind, Kinds};
pub use shape::{Cuts, Shape};
pub use weather::{ClientWeather, Region, Weather};

use std::collections::BTreeMap;

use smallvec::{SmallVec, smallvec};

use self::weather::{Climate, between};
use crate::node::LinkId;
use crate::raft::NodeId;
use crate::rng::Rng;
use crate::time::Micros;

/// What a frame can bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// It arrives once and in order, or its connection breaks, as on TCP.
    Ordered,
    /// A message between cores, which any connection may lose, double or reorder.
    Loose,
}

/// What a network needs to know of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parcel {
    /// Which weather it meets.
    pub kind: Kind,
    /// What it can bear.
    pub care: Care,
    /// Its length, with its framing.
    pub bytes: usize,
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
    /// When the last of all frames sent from here arrives, as far as it is known.
    latest: Micros,
    /// Nothing sent from here arrives any more.
    broken: bool,
}

/// All connections, and the weather between each two nodes.
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    climate: Climate,
    /// The weather between clients and nodes.
    pub clients: ClientWeather,
    /// Of a thousand loose frames into a cut, how many break their connection.
    pub broken_by_cuts: u32,
    cuts: Cuts,
    /// Until when a direction holds what is sent.
    clogs: BTreeMap<(NodeId, NodeId), Micros>,
    ends: BTreeMap<LinkId, End>,
    last_link: LinkId,
    counts: Counts,
}

impl Network {
    /// A network in fair weather whose every decision follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            climate: Climate::new(Weather::FAIR),
            clients: ClientWeather::FAIR,
            broken_by_cuts: 62,
            cuts: Cuts::new(),
            clogs: BTreeMap::new(),
            ends: BTreeMap::new(),
            last_link: 0,
            counts: Counts::default(),
        }
    }

    /// What became of what was sent.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The weather between all nodes from now on, without exceptions.
    pub fn set_weather(&mut self, weather: Weather) {
        self.climate = Climate::new(weather);
    }

    /// The weather of a part of the network from now on. Where several of these hold, the last one counts.
    pub fn set_weather_in(&mut self, region: Region, weather: Weather) {
        self.climate.set(region, weather);
    }

    /// The weather from one node to another from now on.
    pub fn set_weather_from(&mut self, from: NodeId, to: NodeId, weather: Weather) {
        self.set_weather_in(Region::direction(from, to), weather);
    }

    /// Cuts one direction: what is sent from now on does not arrive.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    /// Mends one direction.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        self.cuts.remove(&(from, to));
    }

    /// Cuts all these directions, such as those of a [`Shape`], beside those that are cut already.
    pub fn impose(&mut self, cuts: Cuts) {
        self.cuts.extend(cuts);
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
        self.cuts.clear();
    }

    /// The directions that are cut.
    pub const fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// The weather everywhere, then in each part that has one of its own, the later set ones last.
    pub fn weathers(&self) -> impl Iterator<Item = (Option<Region>, Weather)> + '_ {
        self.climate.weathers()
    }

    /// Whether frames from one node to the other are cut.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// Whether any direction is cut.
    pub fn has_cuts(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Clogs one direction: what is sent from now on is held until then, and comes all at once.
    pub fn clog(&mut self, from: NodeId, to: NodeId, until: Micros) {
        self.counts.clogs += 1;
        let clog = self.clogs.entry((from, to)).or_default();
        *clog = until.max(*clog);
    }

    /// How long something takes from one node to another now.
    pub fn delay(&mut self, from: NodeId, to: NodeId) -> Micros {
        self.climate.over(from, to, None).delay(&mut self.rng)
    }

    /// How long what a client writes now takes to a node.
    pub fn request_delay(&mut self) -> Micros {
        between(self.clients.request_delay, &mut self.rng)
    }

    /// How long what a node writes now takes to a client.
    pub fn reply_delay(&mut self) -> Micros {
        between(self.clients.reply_delay, &mut self.rng)
    }

    /// Counts what a client writes.
    pub fn count_request(&mut self, bytes: usize) {
        self.counts.requests.add(bytes);
    }

    /// Counts what a node writes to a client.
    pub fn count_reply(&mut self, bytes: usize) {
        self.counts.replies.add(bytes);
    }

    /// Whether what a client writes now is lost, and the connection with it.
    pub fn loses_request(&mut self) -> bool {
        let lost = self.happens(self.clients.lost_requests);
        self.counts.lost_requests += u64::from(lost);
        lost
    }

    /// Whether what a node writes to a client now is lost, and the connection with it.
    pub fn loses_reply(&mut self) -> bool {
        let lost = self.happens(self.clients.lost_replies);
        self.counts.lost_replies += u64::from(lost);
        lost
    }

    /// Opens a connection, unless one of the directions is cut.
    pub fn open(&mut self, now: Micros, from: NodeId, to: NodeId) -> Option<Opened> {
        if self.is_cut(from, to) || self.is_cut(to, from) {
            self.counts.refused += 1;
            return None;
        }
        let (ours, theirs) = (self.last_link + 1, self.last_link + 2);
        self.last_link = theirs;
        let dialled_at = now + self.delay(from, to);
        let dialler_at = dialled_at + self.delay(to, from);
        // What the dialled says at once may not arrive before the dialler knows of the connection.
        let (last_arrival, latest) = (dialler_at, dialler_at);
        let end = |owner, peer, other| End { owner, peer, other, last_arrival, latest, broken: false };
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
    pub fn send(&mut self, now: Micros, link: LinkId, parcel: Parcel) -> Delivery {
        let Some(end) = self.ends.get(&link) else { return Delivery::Closed };
        let (from, peer, to, last) = (end.owner, end.peer, end.other, end.last_arrival);
        if end.broken || !self.ends.contains_key(&to) {
            return Delivery::Closed;
        }
        self.counts.count(parcel.kind, parcel.bytes);
        if self.is_cut(from, peer) {
            return self.send_into_cut(now, link, to, parcel.care);
        }
        let weather = self.climate.over(from, peer, Some(parcel.kind));
        if self.happens_rarely(weather.broken) {
            let at = now + weather.delay(&mut self.rng);
            return self.break_at(link, to, at);
        }
        // Even a loose frame comes after the ordered ones, such as the handshake, that it was sent after.
        let soonest = self.release(now, from, peer, weather).max(last);
        let at = match parcel.care {
            Care::Ordered => smallvec![(now + weather.delay(&mut self.rng)).max(soonest)],
            Care::Loose => self.loose_arrivals(now, weather, soonest),
        };
        self.note_arrivals(link, parcel.care, &at);
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
        self.counts.cut += 1;
        // A loose frame may be missed without a trace. An ordered one may not: nothing may arrive after it.
        if care == Care::Loose && !self.happens(self.broken_by_cuts) {
            return Delivery::Arrives { to, at: SmallVec::new() };
        }
        let at = now + 100_000 + self.rng.below(1_000_000);
        self.break_at(link, to, at)
    }

    fn break_at(&mut self, link: LinkId, to: LinkId, at: Micros) -> Delivery {
        self.counts.broken += 1;
        if let Some(end) = self.ends.get_mut(&link) {
            end.broken = true;
        }
        Delivery::Breaks { to, at }
    }

    /// When a frame that is sent now leaves at the earliest.
    fn release(&mut self, now: Micros, from: NodeId, to: NodeId, weather: Weather) -> Micros {
        if self.happens_rarely(weather.clogged) {
            let until = now + self.rng.below(weather.clog + 1);
            self.clog(from, to, until);
        }
        let until = self.clogs.get(&(from, to)).copied().unwrap_or(0);
        if until <= now {
            return now;
        }
        self.counts.clogged += 1;
        until
    }

    fn loose_arrivals(&mut self, now: Micros, weather: Weather, soonest: Micros) -> SmallVec<[Micros; 2]> {
        if self.happens(weather.lost) {
            self.counts.lost += 1;
            return SmallVec::new();
        }
        let doubled = self.happens(weather.doubled);
        self.counts.doubled += u64::from(doubled);
        (0..=u8::from(doubled)).map(|_| self.loose_arrival(now, weather).max(soonest)).collect()
    }

    fn loose_arrival(&mut self, now: Micros, weather: Weather) -> Micros {
        if self.happens(weather.late) {
            self.counts.late += 1;
            return now + weather.delay(&mut self.rng) + weather.lateness(&mut self.rng);
        }
        if self.happens(weather.overtaken) {
            return now + self.rng.below(10 * weather.max_delay + 1);
        }
        now + weather.delay(&mut self.rng)
    }

    fn note_arrivals(&mut self, link: LinkId, care: Care, at: &[Micros]) {
        let Some(end) = self.ends.get_mut(&link) else { return };
        for &at in at {
            self.counts.overtook += u64::from(at < end.latest);
            end.latest = end.latest.max(at);
            if care == Care::Ordered {
                end.last_arrival = at;
            }
        }
    }

    fn happens(&mut self, of_a_thousand: u32) -> bool {
        of_a_thousand > 0 && self.rng.chance(of_a_thousand.into(), 1000)
    }

    fn happens_rarely(&mut self, of_a_million: u32) -> bool {
        of_a_million > 0 && self.rng.chance(of_a_million.into(), 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);
    const ORDERED: Parcel = Parcel { kind: Kind::Digest, care: Care::Ordered, bytes: 100 };
    const LOOSE: Parcel = Parcel { kind: Kind::Append, care: Care::Loose, bytes: 100 };

    fn arrivals(delivery: Delivery) -> SmallVec<[Micros; 2]> {
        match delivery {
            Delivery::Arrives { at, .. } => at,
            other => panic!("{other:?}"),
        }
    }

    fn network_in(weather: Weather) -> (Network, LinkId, LinkId) {
        let mut network = Network::new(1);
        network.set_weather(weather);
        let Opened { dialler, dialled, .. } = network.open(0, A, B).expect("opens");
        (network, dialler, dialled)
    }

    #[test]
    fn a_cut_breaks_as_many_connections_as_it_is_told_to() {
        for (broken_by_cuts, breaks) in [(0, false), (1000, true)] {
            let (mut network, a, _) = network_in(Weather::FAIR);
            network.broken_by_cuts = broken_by_cuts;
            network.cut(A, B);
            let delivery = network.send(0, a, LOOSE);
            assert_eq!(matches!(delivery, Delivery::Breaks { .. }), breaks, "{delivery:?}");
        }
    }

    #[test]
    fn ordered_frames_arrive_once_and_in_order_in_any_weather() {
        let (mut network, a, _) = network_in(Weather { late: 500, late_tail: 9_000, ..Weather::FOUL });
        let times: Vec<_> = (0..500).flat_map(|now| arrivals(network.send(now, a, ORDERED))).collect();
        assert_eq!(times.len(), 500);
        assert!(times.is_sorted());
        assert_eq!(network.counts().sent(Kinds::ALL), Tally { frames: 500, bytes: 50_000 });
    }

    #[test]
    fn loose_frames_are_lost_doubled_and_overtaken_as_often_as_told() {
        let (mut network, a, _) = network_in(Weather::FOUL);
        let all: Vec<_> = (0..3000).map(|now| arrivals(network.send(now, a, LOOSE))).collect();
        let of = |copies| all.iter().filter(|at| at.len() == copies).count() as u64;
        let counts = network.counts();
        assert_eq!((counts.lost, counts.doubled), (of(0), of(2)));
        assert!((200..400).contains(&counts.lost), "{counts:?}");
        assert!((200..400).contains(&counts.doubled), "{counts:?}");
        let mut latest = 0;
        let overtook = all.iter().flatten().filter(|&&at| {
            latest = latest.max(at);
            at < latest
        });
        assert_eq!(counts.overtook, overtook.count() as u64);
        assert!(counts.overtook > 1000);
    }

    #[test]
    fn late_frames_are_as_many_and_as_late_as_told() {
        let weather = Weather { late: 100, late_least: 50_000, late_tail: 100_000, ..Weather::FAIR };
        let (mut network, a, _) = network_in(weather);
        let late = (0..3000).filter(|&now| arrivals(network.send(now, a, LOOSE))[0] >= now + 50_000).count();
        assert_eq!(late as u64, network.counts().late);
        assert!((200..400).contains(&late), "{late}");
    }

    #[test]
    fn weather_may_differ_by_direction_and_kind() {
        let (mut network, a, b) = network_in(Weather::FAIR);
        network.set_weather_in(
            Region { from: Some(B), to: Some(A), kinds: Kinds::CORE_REPLIES },
            Weather { lost: 1000, ..Weather::FAIR },
        );
        let reply = Parcel { kind: Kind::AppendAccepted, ..LOOSE };
        let mut arrives = |link, parcel| arrivals(network.send(0, link, parcel)).len();
        assert_eq!(
            [arrives(a, LOOSE), arrives(a, reply), arrives(b, LOOSE), arrives(b, reply)],
            [1, 1, 1, 0]
        );
    }

    #[test]
    fn a_clogged_direction_holds_everything_and_releases_it_in_order() {
        let (mut network, a, b) = network_in(Weather::FAIR);
        network.clog(A, B, 70_000);
        for now in [10, 20_000, 69_999] {
            for parcel in [ORDERED, LOOSE] {
                let at = arrivals(network.send(now, a, parcel))[0];
                assert!((70_000..70_300).contains(&at), "{at}");
            }
        }
        assert!(arrivals(network.send(10, b, LOOSE))[0] < 1_000, "the other direction flows");
        assert!(arrivals(network.send(70_000, a, ORDERED))[0] > 70_000);
        assert_eq!((network.counts().clogs, network.counts().clogged), (1, 6));
    }

    #[test]
    fn the_weather_clogs_directions_and_breaks_connections_as_often_as_told() {
        let (mut network, a, _) = network_in(Weather { clogged: 10_000, clog: 50, ..Weather::FAIR });
        (0..3000).for_each(|now| drop(network.send(100 * now, a, LOOSE)));
        assert!((15..60).contains(&network.counts().clogs), "{:?}", network.counts());

        let (mut network, ..) = network_in(Weather { broken: 100_000, ..Weather::FAIR });
        let mut broken = 0;
        for now in 0..1000 {
            let Opened { dialler, dialled, .. } = network.open(now, A, B).expect("opens");
            if let Delivery::Breaks { to, .. } = network.send(now, dialler, ORDERED) {
                broken += 1;
                assert_eq!(to, dialled);
                assert_eq!(network.send(now, dialler, LOOSE), Delivery::Closed);
            }
        }
        assert_eq!(network.counts().broken, broken);
        assert!((60..140).contains(&broken), "{broken}");
    }

    #[test]
    fn clients_lose_requests_and_replies_as_often_as_told() {
        let mut network = Network::new(1);
        assert!((0..1000).all(|_| !network.loses_request() && !network.loses_reply()));
        network.clients.lost_replies = 100;
        let lost = (0..1000).filter(|_| network.loses_reply()).count();
        assert!((60..140).contains(&lost), "{lost}");
        assert_eq!((network.counts().lost_requests, network.counts().lost_replies), (0, lost as u64));
    }

    #[test]
    fn a_loose_frame_does_not_overtake_the_handshake() {
        let (mut network, a, _) = network_in(Weather::FOUL);
        let handshake = arrivals(network.send(0, a, ORDERED))[0];
        assert!((0..200).flat_map(|_| arrivals(network.send(0, a, LOOSE))).all(|at| at >= handshake));
    }

    #[test]
    fn a_cut_is_one_way_and_breaks_a_connection_that_must_keep_order() {
        let (mut network, a, b) = network_in(Weather::FAIR);
        network.cut(A, B);
        assert_eq!(arrivals(network.send(0, b, ORDERED)).len(), 1);
        assert!(matches!(network.send(0, a, ORDERED), Delivery::Breaks { to, .. } if to == b));
        network.heal();
        assert_eq!(network.send(0, a, ORDERED), Delivery::Closed, "nothing comes after a gap");
        assert_eq!((network.counts().cut, network.counts().broken), (1, 1));
    }

    #[test]
    fn nothing_is_opened_through_a_cut() {
        let mut network = Network::new(1);
        network.partition(&[A], [A, B, C]);
        assert_eq!((network.open(0, A, B), network.open(0, C, A)), (None, None));
        assert!(network.open(0, B, C).is_some());
        network.mend(A, B);
        assert!(network.open(0, A, B).is_none());
        network.mend(B, A);
        assert!(network.open(0, A, B).is_some() && network.has_cuts());
        network.heal();
        assert!(network.open(0, A, C).is_some() && !network.has_cuts());
        assert_eq!(network.counts().refused, 3);
        network.impose(Shape::OneWay.cuts(&[C, B]));
        assert!(network.is_cut(C, B) && !network.is_cut(B, C));
    }

    #[test]
    fn what_the_dialled_says_first_does_not_overtake_the_opening() {
        let mut network = Network::new(1);
        network.set_weather(Weather::FOUL);
        for _ in 0..100 {
            let opened = network.open(0, A, B).expect("opens");
            assert!(opened.dialled_at < opened.dialler_at);
            let first = arrivals(network.send(opened.dialled_at, opened.dialled, ORDERED))[0];
            assert!(first >= opened.dialler_at);
        }
    }

    #[test]
    fn a_closed_end_is_gone_and_the_other_hears_of_it_last() {
        let (mut network, a, b) = network_in(Weather::FOUL);
        let last = arrivals(network.send(0, a, ORDERED))[0];
        let (other, at) = network.close(0, a).expect("was open");
        assert_eq!(other, b);
        assert!(at >= last && !network.is_open(a) && network.is_open(b));
        assert_eq!(network.send(1, b, ORDERED), Delivery::Closed);
        assert_eq!(network.close(2, b), None);
        assert_eq!(network.links_of(B).count(), 0);
    }
}
