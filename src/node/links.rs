//! The table of connections to peers. A pure noun: who is dialled when, which connection is whose.
//!
//! Of two nodes the one with the higher id dials; the other one does after a while, for it may be the only one to know of
//! both. After a failure it dials again: at once a little later, then ever
//! more rarely, with jitter. A connection belongs to a peer only after its handshake; of two the newest counts.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::LinkId;
use super::handshake::Memory;
use crate::raft::NodeId;
use crate::rng::Rng;
use crate::time::Micros;

/// The first wait before dialling again.
const BACKOFF_MIN: Micros = 50_000;

/// How much later than usual the one with the lower id dials.
const LATE: Micros = 1_000_000;

/// Most connections to nodes that are no members as far as this node knows.
const GUESTS: usize = 16;

/// The longest.
const BACKOFF_MAX: Micros = 1_000_000;

/// How long a handshake may take.
const HANDSHAKE: Micros = 3_000_000;

/// Most connections that have not shown who they are.
const STRANGERS: usize = 64;

/// All connections, and all peers.
#[derive(Debug)]
pub(super) struct Links {
    own: NodeId,
    links: BTreeMap<LinkId, Stage>,
    peers: BTreeMap<NodeId, Peer>,
    /// Where this node's settings say that others are: tried in turn with where they are as members.
    told: BTreeMap<NodeId, String>,
    /// What was proved is remembered even of a peer that is no member for a while.
    memories: BTreeMap<NodeId, Memory>,
    rng: Rng,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// We dialled and said hello.
    Dialled { peer: NodeId, until: Micros },
    /// Someone dialled us and has to say hello.
    Incoming { until: Micros },
    /// Its peer is known.
    Open(NodeId),
}

#[derive(Debug)]
struct Peer {
    address: String,
    /// It is looked for where the settings say, because it was not found at its address.
    looks_elsewhere: bool,
    link: Option<LinkId>,
    dial: Dial,
    backoff: Micros,
    /// No member as far as this node knows, which may be behind.
    is_guest: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dial {
    /// Connected, or a guest: the peer is the one to dial.
    Rest,
    At(Micros),
    UnderWay,
}

impl Links {
    pub(super) fn new(own: NodeId, told: BTreeMap<NodeId, String>, rng: Rng) -> Self {
        let (links, peers, memories) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { own, links, peers, told, memories, rng }
    }

    /// The peers are these, by their addresses. What is returned is to be closed: connections of others, but for that of the
    /// `leader`, who may have been removed and be about to hand over.
    pub(super) fn set_peers<'a>(
        &mut self,
        peers: impl Iterator<Item = (NodeId, &'a str)>,
        leader: Option<NodeId>,
        now: Micros,
    ) -> Vec<LinkId> {
        let own = self.own;
        let mut old = core::mem::take(&mut self.peers);
        for (id, address) in peers.filter(|(id, _)| *id != own) {
            let dial = Dial::At(if own > id { now } else { now.saturating_add(LATE) });
            let mut peer = old.remove(&id).unwrap_or(Peer {
                address: String::new(),
                looks_elsewhere: false,
                link: None,
                dial,
                backoff: BACKOFF_MIN,
                is_guest: false,
            });
            peer.is_guest = false;
            if peer.address != address {
                peer.address = address.into();
            }
            self.peers.insert(id, peer);
        }
        let mut gone = Vec::new();
        for (id, peer) in old {
            match peer.link {
                Some(_) if peer.is_guest => drop(self.peers.insert(id, peer)),
                Some(_) if leader == Some(id) => {
                    self.peers.insert(id, peer);
                }
                Some(link) => gone.push(link),
                None => {}
            }
        }
        for link in &gone {
            self.links.remove(link);
        }
        gone
    }

    /// The peers that are to be dialled now, with their addresses.
    pub(super) fn due(&mut self, now: Micros) -> Vec<(NodeId, String)> {
        let mut due = Vec::new();
        for (id, peer) in &mut self.peers {
            if matches!(peer.dial, Dial::At(at) if at <= now) {
                peer.dial = Dial::UnderWay;
                let told = self.told.get(id).filter(|_| peer.looks_elsewhere);
                due.push((*id, told.unwrap_or(&peer.address).clone()));
            }
        }
        due
    }

    /// A connection is open; `false` when it is to be closed: nobody wanted it.
    pub(super) fn opened(&mut self, link: LinkId, dialled: Option<NodeId>, now: Micros) -> bool {
        let until = now.saturating_add(HANDSHAKE);
        let stage = match dialled {
            Some(peer) if self.peers.get(&peer).is_some_and(|p| p.dial == Dial::UnderWay) => {
                Stage::Dialled { peer, until }
            }
            Some(_) => return false,
            None if self.links.values().filter(|s| matches!(s, Stage::Incoming { .. })).count()
                < STRANGERS =>
            {
                Stage::Incoming { until }
            }
            None => return false,
        };
        self.links.insert(link, stage);
        true
    }

    /// The handshake of `link` is to be that of a node which is no member as far as this one knows. False when there are too
    /// many of these.
    pub(super) fn receive_guest(&mut self, peer: NodeId) -> bool {
        if self.peers.contains_key(&peer) {
            return true;
        }
        let guests = self.peers.values().filter(|peer| peer.is_guest).count();
        if guests < GUESTS {
            let (address, backoff) = (String::new(), BACKOFF_MIN);
            let (dial, looks_elsewhere) = (Dial::Rest, false);
            let guest = Peer { address, looks_elsewhere, link: None, dial, backoff, is_guest: true };
            self.peers.insert(peer, guest);
        }
        guests < GUESTS
    }

    /// The handshake of `link` is done: it is `peer`'s. What is returned is the peer's older connection, to be closed.
    pub(super) fn establish(&mut self, link: LinkId, peer: NodeId) -> Option<LinkId> {
        let entry = self.peers.get_mut(&peer)?;
        self.links.insert(link, Stage::Open(peer));
        entry.backoff = BACKOFF_MIN;
        entry.dial = Dial::Rest;
        let older = entry.link.replace(link)?;
        self.links.remove(&older);
        Some(older)
    }

    /// The connection is gone, or is being closed; the peer whose connection it was. It is dialled again when that is
    /// for us to do.
    pub(super) fn closed(&mut self, link: LinkId, now: Micros) -> Option<NodeId> {
        match self.links.remove(&link)? {
            Stage::Incoming { .. } => None,
            Stage::Dialled { peer, .. } => {
                if !planted!("failed-handshake-is-not-redialled") {
                    self.retry(peer, now);
                }
                None
            }
            Stage::Open(peer) => {
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.link = None;
                }
                if self.peers.get(&peer).is_some_and(|entry| entry.is_guest) {
                    self.peers.remove(&peer);
                }
                self.retry(peer, now);
                Some(peer)
            }
        }
    }

    /// A dial failed.
    pub(super) fn dial_failed(&mut self, peer: NodeId, now: Micros) {
        if self.peers.get(&peer).is_some_and(|p| p.dial == Dial::UnderWay) {
            self.retry(peer, now);
        }
    }

    fn retry(&mut self, peer: NodeId, now: Micros) {
        let late = if self.own > peer { 0 } else { LATE };
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.looks_elsewhere = !entry.looks_elsewhere;
        let wait = late + entry.backoff / 2 + self.rng.below(entry.backoff / 2 + 1);
        entry.dial = Dial::At(now.saturating_add(wait));
        entry.backoff = (entry.backoff * 2).min(BACKOFF_MAX);
    }

    /// Whoever refused this node may welcome it now: nobody waits to dial again.
    pub(super) fn hurry(&mut self, now: Micros) {
        for peer in self.peers.values_mut() {
            peer.backoff = BACKOFF_MIN;
            if let Dial::At(at) = &mut peer.dial {
                *at = now;
            }
        }
    }

    /// Connections whose handshake has taken too long, to be closed.
    pub(super) fn overdue(&self, now: Micros) -> Vec<LinkId> {
        let late = |stage: &Stage| match stage {
            Stage::Dialled { until, .. } | Stage::Incoming { until } => *until <= now,
            Stage::Open(_) => false,
        };
        self.links.iter().filter(|(_, stage)| late(stage)).map(|(link, _)| *link).collect()
    }

    /// When [`due`](Self::due) or [`overdue`](Self::overdue) will have something to say.
    pub(super) fn wake_at(&self) -> Option<Micros> {
        let dials = self.peers.values().filter_map(|peer| match peer.dial {
            Dial::At(at) => Some(at),
            Dial::Rest | Dial::UnderWay => None,
        });
        let handshakes = self.links.values().filter_map(|stage| match stage {
            Stage::Dialled { until, .. } | Stage::Incoming { until } => Some(*until),
            Stage::Open(_) => None,
        });
        dials.chain(handshakes).min()
    }

    pub(super) fn stage(&self, link: LinkId) -> Option<Stage> {
        self.links.get(&link).copied()
    }

    /// The working connection of a peer.
    pub(super) fn link_of(&self, peer: NodeId) -> Option<LinkId> {
        self.peers.get(&peer)?.link
    }

    /// The peer of a connection whose handshake is done.
    pub(super) fn peer_of(&self, link: LinkId) -> Option<NodeId> {
        match self.links.get(&link)? {
            Stage::Open(peer) => Some(*peer),
            Stage::Dialled { .. } | Stage::Incoming { .. } => None,
        }
    }

    /// Peers with a working connection, and that connection.
    pub(super) fn open(&self) -> impl Iterator<Item = (NodeId, LinkId)> + '_ {
        self.peers.iter().filter_map(|(id, peer)| Some((*id, peer.link?)))
    }

    /// All peers.
    pub(super) fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.keys().copied()
    }

    pub(super) fn memory(&self, peer: NodeId) -> Memory {
        self.memories.get(&peer).copied().unwrap_or_default()
    }

    pub(super) fn memory_mut(&mut self, peer: NodeId) -> &mut Memory {
        self.memories.entry(peer).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(own: u64, others: &[u64]) -> Links {
        let mut links = Links::new(NodeId(own), BTreeMap::new(), Rng::new(1));
        links.set_peers(others.iter().map(|id| (NodeId(*id), "h:1")), None, 0);
        links
    }

    fn dialled(links: &mut Links, now: Micros) -> Vec<u64> {
        links.due(now).into_iter().map(|(id, _)| id.0).collect()
    }

    #[test]
    fn the_higher_id_dials_the_lower_and_the_lower_only_later() {
        assert_eq!(dialled(&mut links(2, &[1, 2, 3]), 0), [1]);
        let mut lowest = links(1, &[2, 3]);
        assert_eq!(dialled(&mut lowest, LATE - 1), []);
        assert_eq!(dialled(&mut lowest, LATE), [2, 3]);
    }

    #[test]
    fn guests_are_bounded_and_forgotten_with_their_connection() {
        let mut links = links(1, &[2]);
        assert!((10..10 + GUESTS as u64).all(|id| links.receive_guest(NodeId(id))));
        assert!(!links.receive_guest(NodeId(99)) && links.receive_guest(NodeId(2)));
        assert!(links.opened(7, None, 0));
        links.establish(7, NodeId(10));
        assert_eq!(links.set_peers([(NodeId(3), "h:1")].into_iter(), None, 0), [], "guests stay");
        assert_eq!(links.peer_of(7), Some(NodeId(10)));
        assert_eq!(links.closed(7, 0), Some(NodeId(10)));
        assert!(!links.peers().any(|id| id == NodeId(10)));
    }

    #[test]
    fn a_failed_dial_is_tried_again_ever_more_rarely() {
        let mut links = links(2, &[1]);
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert_eq!(dialled(&mut links, now), [1]);
            assert_eq!(dialled(&mut links, now + 10_000_000), [], "one dial at a time");
            links.dial_failed(NodeId(1), now);
            let at = links.wake_at().expect("it is tried again");
            waits.push(at - now);
            now = at;
        }
        assert!((BACKOFF_MIN / 2..=BACKOFF_MIN).contains(&waits[0]), "{waits:?}");
        assert!((BACKOFF_MAX / 2..=BACKOFF_MAX).contains(&waits[7]), "{waits:?}");
        assert!(links.opened(9, None, now));
    }

    #[test]
    fn who_is_not_found_where_the_log_says_is_looked_for_where_the_settings_say() {
        let told = BTreeMap::from([(NodeId(1), "new:1".into())]);
        let mut links = Links::new(NodeId(3), told, Rng::new(1));
        links.set_peers([(NodeId(1), "old:1"), (NodeId(2), "h:2")].into_iter(), None, 0);
        let mut looked = Vec::new();
        for _ in 0..4 {
            let now = links.wake_at().expect("it is tried again");
            looked.extend(links.due(now).into_iter().filter(|(id, _)| *id == NodeId(1)));
            links.dial_failed(NodeId(1), now);
            links.dial_failed(NodeId(2), now);
        }
        let addresses: Vec<&str> = looked.iter().map(|(_, address)| address.as_str()).collect();
        assert_eq!(addresses[..2], ["old:1", "new:1"]);
    }

    #[test]
    fn who_has_become_a_member_waits_no_longer() {
        let mut links = links(2, &[1]);
        for _ in 0..8 {
            let now = links.wake_at().expect("it is tried again");
            links.due(now);
            links.dial_failed(NodeId(1), now);
        }
        links.hurry(7);
        assert_eq!(dialled(&mut links, 7), [1]);
        links.dial_failed(NodeId(1), 7);
        assert!(links.wake_at().is_some_and(|at| at <= 7 + BACKOFF_MIN));
    }

    #[test]
    fn a_handshake_resets_the_back_off_and_the_newest_connection_counts() {
        let mut links = links(2, &[1]);
        dialled(&mut links, 0);
        assert!(links.opened(5, Some(NodeId(1)), 0));
        assert_eq!(links.peer_of(5), None);
        assert_eq!(links.establish(5, NodeId(1)), None);
        assert!(links.opened(6, None, 0));
        assert_eq!(links.establish(6, NodeId(1)), Some(5));
        assert_eq!((links.link_of(NodeId(1)), links.stage(5)), (Some(6), None));
        assert_eq!(links.closed(5, 0), None);
        assert_eq!(links.closed(6, 0), Some(NodeId(1)));
        assert!(links.wake_at().is_some_and(|at| at <= BACKOFF_MIN));
    }

    #[test]
    fn strangers_are_bounded_and_have_a_deadline() {
        let mut links = links(1, &[2]);
        assert!((0..STRANGERS as u64).all(|link| links.opened(link, None, 0)));
        assert!(!links.opened(99, None, 0));
        assert_eq!(links.wake_at(), Some(LATE));
        assert_eq!(links.overdue(HANDSHAKE).len(), STRANGERS);
    }

    #[test]
    fn a_connection_of_a_former_member_is_closed() {
        let mut links = links(1, &[2, 3]);
        assert!(links.opened(7, None, 0));
        links.establish(7, NodeId(2));
        assert_eq!(links.set_peers([(NodeId(3), "h:1")].into_iter(), None, 0), [7]);
        assert_eq!(links.peer_of(7), None);
        assert!(!links.opened(8, Some(NodeId(2)), 0), "nobody dialled that");
    }

    /// Found with real processes: whoever was to lead next closed the connection over which it was to be told.
    #[test]
    fn a_removed_leader_is_heard_until_another_one_leads() {
        let mut links = links(1, &[2, 3]);
        assert!(links.opened(7, None, 0));
        links.establish(7, NodeId(2));
        let members = || [(NodeId(3), "h:1")].into_iter();
        assert_eq!(links.set_peers(members(), Some(NodeId(2)), 0), []);
        assert_eq!(links.peer_of(7), Some(NodeId(2)));
        assert_eq!(links.set_peers(members(), None, 0), [7]);
    }
}
