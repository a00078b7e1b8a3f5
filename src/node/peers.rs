//! Connections to peers: the handshake, and what comes over a connection after it.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::handshake::{Known, Refusal, foreign, judge};
use super::links::Stage;
use super::{Action, Actions, Fault, LinkId, Node, Note, Roster};
use crate::codec::frame::FrameError;
use crate::codec::peer::{Facts, PeerMessage, Severity};
use crate::raft::{LogIndex, Message, NodeId, SnapshotProgress};
use crate::replica::{self, StateMachine};

/// Lines that are remembered so as not to be repeated.
const COMPLAINTS: usize = 16;

/// Most nodes that are remembered as waiting to be added.
const APPLICANTS: usize = 16;

impl<S: StateMachine> Node<S> {
    /// A connection is open. Who dialled speaks first; while this node does not know who it is, nobody is listened to.
    pub(super) fn link_opened(&mut self, link: LinkId, dialled: Option<NodeId>, out: &mut Actions<S>) {
        let facts = self.facts();
        if facts.is_none() || !self.links.opened(link, dialled, self.now.mono) {
            out.push(Action::CloseLink { link });
            return;
        }
        if let Some(facts) = facts.filter(|_| dialled.is_some()) {
            self.say(link, &PeerMessage::Hello(facts), out);
        }
    }

    /// A connection ended.
    pub(super) fn link_closed(&mut self, link: LinkId, error: Option<FrameError>, out: &mut Actions<S>) {
        if let Some(error) = error {
            self.counters.malformed_frames += 1;
            out.push(Action::Note(Note(format!("connection {link}: {error}"))));
        }
        self.forget_link(link, out);
    }

    /// Closes a connection from our side.
    pub(super) fn close_link(&mut self, link: LinkId, out: &mut Actions<S>) {
        out.push(Action::CloseLink { link });
        self.forget_link(link, out);
    }

    fn forget_link(&mut self, link: LinkId, out: &mut Actions<S>) {
        if let Some(peer) = self.links.closed(link, self.now.mono) {
            self.link_lost(peer, link, out);
        }
    }

    /// What was under way on a peer's connection is lost.
    fn link_lost(&mut self, peer: NodeId, link: LinkId, out: &mut Actions<S>) {
        self.remember(peer);
        self.forwards_lost(link, out);
        if self.member.is_some() {
            self.inbox.push(replica::Event::Unreachable { peer });
        }
    }

    /// A whole frame. Before the handshake only the handshake is listened to.
    pub(super) fn link_frame(&mut self, link: LinkId, frame: &Bytes, out: &mut Actions<S>) {
        let Some(stage) = self.links.stage(link) else { return };
        self.counters.frames_in += 1;
        let (message, packed) = match PeerMessage::open(frame) {
            Ok(opened) => opened,
            Err(error) => return self.malformed(link, error, out),
        };
        match (stage, message) {
            (Stage::Open(peer), message) => self.peer_message(peer, link, message, packed, out),
            (Stage::Dialled { peer, .. }, PeerMessage::Welcome(facts)) => {
                if facts.node == peer {
                    self.greeted(link, &facts, out);
                } else {
                    let text = format!("the address of node {peer} leads to node {}", facts.node);
                    self.refuse(link, Refusal { text, severity: Severity::Retry }, out);
                }
            }
            (Stage::Dialled { peer, .. }, PeerMessage::Refuse { text, severity }) => {
                self.refused(peer, text, severity, out);
                self.close_link(link, out);
            }
            (Stage::Incoming { .. }, PeerMessage::Hello(facts)) => {
                if self.greeted(link, &facts, out)
                    && let Some(facts) = self.facts()
                {
                    self.say(link, &PeerMessage::Welcome(facts), out);
                }
            }
            _ => self.malformed(link, FrameError::Malformed("a message before its time"), out),
        }
    }

    /// What cannot be read harms nobody: the connection is closed, and may be opened again.
    fn malformed(&mut self, link: LinkId, error: FrameError, out: &mut Actions<S>) {
        self.counters.malformed_frames += 1;
        out.push(Action::Note(Note(format!("connection {link}: {error}"))));
        self.close_link(link, out);
    }

    /// A peer has said who it is; `true` when it is believed and the connection is its own from here on.
    fn greeted(&mut self, link: LinkId, facts: &Facts, out: &mut Actions<S>) -> bool {
        let peer = facts.node;
        let cluster = self.identity.and_then(|identity| identity.cluster);
        let member = match &self.member {
            Some(member) if !member.replica.raft().configuration().members.is_empty() => {
                member.replica.raft().acquaintances().get(&peer).map(|member| Some(member.disk))
            }
            // The first configuration names the disks; before it there are only ids.
            _ => self.config.founders.contains_key(&peer).then_some(None),
        };
        self.note_applicant(facts);
        let founders = self.founding.hash();
        let memory = self.links.memory(peer);
        let commit = self.member.as_ref().map_or(0, |member| member.replica.raft().status().commit);
        let joins = self.founding.joins() && self.member.is_none();
        let known = Known { own: self.config.raft.id, cluster, joins, founders, commit, member, memory };
        // Who calls may be anybody, such as a machine of the cluster's former life. What counts is who is found where the cluster
        // knows the peer to be.
        let called = matches!(self.links.stage(link), Some(Stage::Dialled { .. }));
        if let Err(refusal) = judge(&known, facts) {
            self.refuse(link, refusal, out);
            if let Some(text) = foreign(known.own, cluster, facts).filter(|_| called && member.is_some()) {
                self.refused(peer, text, Severity::Identity, out);
            }
            return false;
        }
        if (self.member.is_some() || joins) && !self.links.receive_guest(peer) {
            self.close_link(link, out);
            return false;
        }
        if let Some(older) = self.links.establish(link, peer) {
            out.push(Action::CloseLink { link: older });
            self.link_lost(peer, older, out);
        }
        if self.links.peer_of(link) != Some(peer) {
            // The founders name it, and the table of peers does not: it is no member any more.
            self.close_link(link, out);
            return false;
        }
        self.links.memory_mut(peer).greet(facts);
        self.refused_by.remove(&peer);
        self.strange_to.remove(&peer);
        self.complaints.clear();
        if !self.complete {
            self.founding.learn(peer, facts.disk, facts.cluster);
            self.advance_formation(out);
            if facts.complete && facts.cluster == cluster && cluster.is_some() {
                self.completed(out);
            }
            self.check_complete(out);
        }
        true
    }

    fn refuse(&mut self, link: LinkId, refusal: Refusal, out: &mut Actions<S>) {
        let Refusal { text, severity } = refusal;
        self.complain(format!("refused: {text}"), out);
        // Only a formed cluster's word can stop a node.
        let formed = self.identity.is_some_and(|identity| identity.cluster.is_some());
        let severity = if formed { severity } else { Severity::Retry };
        self.say(link, &PeerMessage::Refuse { text, severity }, out);
        self.close_link(link, out);
    }

    /// A line for people, once: what is tried again every second is not said every second.
    fn complain(&mut self, text: String, out: &mut Actions<S>) {
        if self.complaints.contains(&text) {
            return;
        }
        out.push(Action::Note(Note(text.clone())));
        self.complaints.push_back(text);
        if self.complaints.len() > COMPLAINTS {
            self.complaints.pop_front();
        }
    }

    /// A peer refuses this node. One that is behind may be wrong about disks and clusters, so that a majority of the peers
    /// has to agree. It is not behind if it has seen more than the commitment that made this disk a member: there is one log.
    /// The same goes for who says that this node is no member; but it may have been added again, so that a leader gets the
    /// time to tell. What a peer remembers of this very disk is proof too.
    fn refused(&mut self, peer: NodeId, text: String, severity: Severity, out: &mut Actions<S>) {
        self.complain(format!("node {peer} refuses this node: {text}"), out);
        let fenced = match severity {
            Severity::Retry => false,
            Severity::Stranger(index) => {
                self.strange_to.insert(peer);
                if self.was_member_before(index) && self.leader.is_none() {
                    let since = *self.removed_since.get_or_insert(self.now.mono);
                    if self.now.mono.saturating_sub(since) >= 2 * self.config.raft.election_timeout {
                        self.fault = Some(self.removed());
                    }
                }
                false
            }
            Severity::Replaced(index) if self.member.is_some() => self.was_member_before(index),
            Severity::Identity | Severity::Replaced(_) => {
                self.refused_by.insert(peer);
                2 * self.refused_by.len() > self.links.peers().count()
            }
            Severity::Proof => true,
        };
        if fenced {
            self.fault = Some(Fault::Fenced(text));
        }
    }

    /// Whether this disk is known to be a member by a configuration that is committed, at or before `index`.
    fn was_member_before(&self, index: LogIndex) -> bool {
        let Some(member) = &self.member else { return false };
        let raft = member.replica.raft();
        let commit = raft.status().commit;
        let committed = raft.configurations(commit).next();
        commit <= index && committed.is_some_and(|c| c.names(self.config.raft.id, raft.disk()))
    }

    /// A message of a peer whose identity is proved.
    fn peer_message(
        &mut self,
        peer: NodeId,
        link: LinkId,
        message: PeerMessage,
        packed: Bytes,
        out: &mut Actions<S>,
    ) {
        match message {
            PeerMessage::Raft(message) => self.receive(peer, message, packed, out),
            PeerMessage::Forward { term, requests } => self.forwarded(link, term, requests),
            PeerMessage::ForwardReply(answers) => self.answered(link, answers, out),
            PeerMessage::Digest { index, digest } => self.digest_claimed(peer, index, digest, out),
            PeerMessage::Formed { cluster } => {
                self.founding.formed(peer, cluster);
                self.advance_formation(out);
                self.check_complete(out);
            }
            PeerMessage::Refuse { text, severity } => {
                self.refused(peer, text, severity, out);
                self.close_link(link, out);
            }
            PeerMessage::Hello(_) | PeerMessage::Welcome(_) => {
                self.malformed(link, FrameError::Malformed("a second handshake"), out);
            }
        }
    }

    /// A message for the core. That a core speaks says that every founder is formed.
    fn receive(&mut self, peer: NodeId, message: Message, packed: Bytes, out: &mut Actions<S>) {
        if self.member.is_none() {
            return self.be_added(peer, out);
        }
        self.completed(out);
        if message.is_reply() && !self.counts(peer) {
            return;
        }
        match &message {
            // Not taken, it is as good as lost, and comes again when there may be room. Its sender is alive all the same.
            Message::Append { entries, .. } if self.has_no_room_for(entries) => {
                return self.inbox.push(replica::Event::Contact { peer });
            }
            Message::Append { entries, .. } if !entries.is_empty() => {
                self.packing.remember(entries.clone(), packed);
            }
            Message::SnapshotReply { snapshot, progress: SnapshotProgress::Installed(_), .. } => {
                self.transferred(peer, *snapshot);
            }
            _ => {}
        }
        self.inbox.push(replica::Event::Receive { from: peer, message });
    }

    /// Whether a peer is, with the disk that it speaks for, a member as far as this node knows.
    fn counts(&self, peer: NodeId) -> bool {
        let Some(member) = &self.member else { return false };
        if planted!("stranger-counts") {
            return true;
        }
        let raft = member.replica.raft();
        let members = &raft.configuration().members;
        let disk = match members.get(&peer) {
            Some(member) => Some(member.disk),
            // Before the first configuration disks are not known.
            None if members.is_empty() => return true,
            None => raft.acquaintances().get(&peer).map(|member| member.disk),
        };
        disk.is_some() && self.links.memory(peer).disk == disk
    }

    /// A frame on a connection whose handshake is under way.
    pub(super) fn say(&mut self, link: LinkId, message: &PeerMessage, out: &mut Actions<S>) {
        let frame = message.seal(|entries| self.packing.pack(entries));
        self.counters.frames_out += 1;
        out.push(Action::Send { link, frame });
    }

    /// A message to every peer with a working connection.
    pub(super) fn broadcast(&mut self, message: &PeerMessage, out: &mut Actions<S>) {
        let frame = message.seal(|entries| self.packing.pack(entries));
        for (_, link) in self.links.open() {
            self.counters.frames_out += 1;
            out.push(Action::Send { link, frame: frame.clone() });
        }
    }

    /// The table of peers follows the configurations that count, or the founders before there is one.
    pub(super) fn meet(&mut self, out: &mut Actions<S>) {
        self.renew_roster();
        let members = self.member.as_ref().map(|member| member.replica.raft().acquaintances());
        let now = self.now.mono;
        let gone = match members.filter(|members| !members.is_empty()) {
            Some(members) => {
                let peers = members.iter().map(|(id, member)| (*id, member.peer_address.as_str()));
                self.links.set_peers(peers, self.leader, now)
            }
            None => {
                let peers = self.config.founders.iter().map(|(id, at)| (*id, at.peer.as_str()));
                self.links.set_peers(peers, self.leader, now)
            }
        };
        for link in gone {
            out.push(Action::CloseLink { link });
            self.forwards_lost(link, out);
        }
    }

    /// Someone whose disk belongs to no cluster says hello to a formed one: it can be added.
    fn note_applicant(&mut self, facts: &Facts) {
        if facts.cluster.is_some() || self.member.is_none() {
            return;
        }
        let is_member = |member: &crate::raft::Member| member.disk == facts.disk;
        let known = self.roster.configuration.members.get(&facts.node).is_some_and(is_member);
        if known || self.roster.applicants.get(&facts.node) == Some(&facts.disk) {
            return;
        }
        let roster = Arc::make_mut(&mut self.roster);
        if roster.applicants.len() >= APPLICANTS {
            roster.applicants.pop_first();
        }
        roster.applicants.insert(facts.node, facts.disk);
    }

    /// The roster follows the configuration in force; who has become a member waits no more.
    fn renew_roster(&mut self) {
        let Some(member) = &self.member else { return };
        let configuration = member.replica.raft().configuration().clone();
        let waits = |id: &NodeId, disk: &crate::raft::DiskId| {
            configuration.members.get(id).is_none_or(|member| member.disk != *disk)
        };
        let mut applicants = self.roster.applicants.clone();
        applicants.retain(|id, disk| waits(id, disk));
        self.roster = Arc::new(Roster { configuration, applicants });
    }

    /// Members came or went: what is kept for who is gone is let go, and so are connections to other disks than those that
    /// are members. Who was heard when this node did not know the disks, or knew an older one, is judged again when it calls.
    pub(super) fn configuration_changed(&mut self, out: &mut Actions<S>) {
        self.meet(out);
        let members = &self.roster.configuration.members;
        let is_other = |peer: &NodeId| {
            members.get(peer).is_some_and(|member| self.links.memory(*peer).disk != Some(member.disk))
        };
        let others: Vec<_> =
            self.links.open().filter(|(peer, _)| is_other(peer)).map(|(_, link)| link).collect();
        for link in others {
            self.close_link(link, out);
        }
        let peers: BTreeSet<NodeId> = self.links.peers().collect();
        let gone: Vec<NodeId> = self.sending.keys().filter(|peer| !peers.contains(peer)).copied().collect();
        for peer in gone {
            self.pin(peer, None);
        }
        self.refused_by.retain(|peer| peers.contains(peer));
        self.strange_to.retain(|peer| peers.contains(peer));
        self.check_removed();
    }

    /// Dials whoever is due.
    pub(super) fn dial(&mut self, out: &mut Actions<S>) {
        for (peer, address) in self.links.due(self.now.mono) {
            out.push(Action::Dial { peer, address });
        }
    }

    /// A leader remembers what a follower has proved to have: the committed part of what it acknowledged. The rest may
    /// rightly be cut off its log.
    pub(super) fn remember(&mut self, peer: NodeId) {
        if self.role != crate::raft::Role::Leader {
            return;
        }
        let Some(raft) = self.member.as_ref().map(|member| member.replica.raft()) else { return };
        if let Some((_, matched)) = raft.matched().find(|(id, _)| *id == peer) {
            let most = if planted!("uncommitted-ack-is-remembered") { matched } else { raft.status().commit };
            self.links.memory_mut(peer).acknowledge(matched.min(most));
        }
    }
}
