//! Who changes the membership of a cluster while it runs, hands its leadership over and stops its nodes, as a person would
//! with the command line: one thing after the other, without waiting for the cluster to be well.
//!
//! Nodes come from outside (a machine that never was a member, or was removed, with an empty disk or the one that it had),
//! become voters and go again. A removed node that lives on is left to itself.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::{Disks, Errand, Nemesis, duration};
use crate::node::{Event, Fault};
use crate::raft::{Change, ChangeRefused, Configuration, MemberChange, NodeId, TransferFailed};
use crate::replica::{Outcome, Refused, Request, StateMachine};
use crate::rng::Rng;
use crate::sim::census::met;
use crate::sim::cluster::{Answer, Checked, Cluster, Crash};
use crate::sim::queue::Queue;
use crate::time::Micros;

const MS: Micros = 1_000;
const SECOND: Micros = 1_000_000;

/// Whom a request concerns whose answer is awaited.
#[derive(Debug, Default)]
struct Asked {
    removed: Vec<NodeId>,
    /// Its machine is not touched until the answer is there: a second disk under the number of the first would be a mistake
    /// of the operator's.
    added: Option<NodeId>,
}

/// Carries out errands.
#[derive(Debug)]
pub struct Operator {
    rng: Rng,
    agenda: Queue<Errand>,
    /// What was asked for and is not answered, with those whom it removes or adds.
    asked: BTreeMap<crate::node::RequestId, Asked>,
    /// Nodes that are being removed: their machines are wanted until no configuration has them.
    leaving: BTreeSet<NodeId>,
    /// When to look after what is left to do at the end: an explicit joint configuration is left.
    tidies_at: Option<Micros>,
}

impl Operator {
    /// The operator of a run with this seed and these errands.
    pub fn new(seed: u64, errands: &[(Micros, Errand)]) -> Self {
        let mut agenda = Queue::default();
        for (at, errand) in errands {
            agenda.push(*at, *errand);
        }
        let (asked, leaving) = (BTreeMap::new(), BTreeSet::new());
        Self { rng: Rng::stream(seed, 304), agenda, asked, leaving, tidies_at: None }
    }

    /// When it next does something.
    pub fn next_at(&self) -> Option<Micros> {
        self.agenda.next_at().into_iter().chain(self.tidies_at).min()
    }

    /// Does what is due.
    pub fn act<S: StateMachine>(&mut self, cluster: &mut Cluster<S>, nemesis: &mut Nemesis) -> Checked<()> {
        self.listen(cluster);
        let now = cluster.now();
        self.retire(cluster);
        if self.tidies_at.is_some_and(|at| at <= now) {
            self.tidies_at = Some(now + SECOND);
            if cluster.committed_configuration().is_some_and(|c| c.is_joint() && !c.auto_leave) {
                self.go(Errand::Leave, cluster, nemesis)?;
            }
        }
        while self.agenda.next_at().is_some_and(|at| at <= cluster.now()) {
            let Some((_, errand)) = self.agenda.pop() else { break };
            self.go(errand, cluster, nemesis)?;
        }
        Ok(())
    }

    /// The end: nothing new is begun, and what was stopped is started. A joint configuration that does not leave by itself is
    /// left.
    pub fn end<S: StateMachine>(&mut self, cluster: &mut Cluster<S>) {
        let now = cluster.now();
        while self.agenda.pop().is_some() {}
        self.tidies_at = Some(now);
    }

    /// Takes the answers that have come.
    fn listen<S: StateMachine>(&mut self, cluster: &mut Cluster<S>) {
        let ids: Vec<_> = self.asked.keys().copied().collect();
        for id in ids {
            let Some(answer) = cluster.take_answer(id) else { continue };
            let Asked { removed, .. } = self.asked.remove(&id).unwrap_or_default();
            match answer {
                Answer::Outcome(Outcome::Reconfigured(_)) => {
                    cluster.count(met::CHANGED);
                    self.leaving.extend(removed);
                }
                Answer::Outcome(Outcome::Transferred) => cluster.count(met::HANDED_OVER),
                Answer::Outcome(Outcome::Refused(Refused::Transfer(TransferFailed::TimedOut(_)))) => {
                    cluster.count(met::NOT_HANDED_OVER);
                }
                Answer::Outcome(Outcome::Refused(Refused::Transfer(_))) => cluster.count(met::NO_HANDOVER),
                Answer::Outcome(Outcome::Refused(Refused::Change(reason))) => cluster.count(match reason {
                    ChangeRefused::UnderWay { .. } => met::CHANGE_UNDER_WAY,
                    ChangeRefused::NotCaughtUp { .. } => met::NOT_CAUGHT_UP,
                    ChangeRefused::Unreachable(_) => met::UNREACHABLE,
                    ChangeRefused::CouldNotCommit { .. } => met::COULD_NOT_COMMIT,
                    _ => met::NO_CHANGE,
                }),
                Answer::Outcome(_) | Answer::ConnectionLost => {}
            }
        }
    }

    /// Who is removed for certain: mostly its machine is taken away, sometimes it is left running.
    fn retire<S: StateMachine>(&mut self, cluster: &mut Cluster<S>) {
        for node in self.leaving.clone() {
            if cluster.configurations().any(|configuration| configuration.members.contains_key(&node)) {
                continue;
            }
            self.leaving.remove(&node);
            if self.rng.chance(3, 4) {
                cluster.crash(node, Crash::Process);
                cluster.dismiss(node);
            }
        }
    }

    fn go<S: StateMachine>(
        &mut self,
        errand: Errand,
        cluster: &mut Cluster<S>,
        nemesis: &mut Nemesis,
    ) -> Checked<()> {
        let (Some(leader), Some(configuration)) =
            (cluster.leader(), cluster.committed_configuration().cloned())
        else {
            return Ok(());
        };
        let auto_leave = !self.rng.chance(1, 5);
        let steps = match errand {
            Errand::Admit => return self.admit(leader, &configuration, cluster, nemesis.disks()),
            Errand::Transfer => {
                let to = self.rng.chance(1, 2).then(|| self.any(&configuration.voters)).flatten();
                self.ask(leader, Request::Transfer(to), Asked::default(), cluster);
                return Ok(());
            }
            Errand::Stop => {
                let node = if self.rng.chance(1, 2) { Some(leader) } else { self.any(&cluster.nodes()) };
                let Some(node) = node.filter(|node| cluster.is_up(*node) && nemesis.disks().is_own(*node))
                else {
                    return Ok(());
                };
                cluster.tell(node, Event::Stop);
                cluster.count(met::STOPPED);
                nemesis.down_for(node, duration(&mut self.rng, 50 * MS, 10 * SECOND));
                return Ok(());
            }
            Errand::Leave => Vec::new(),
            Errand::Promote => self.promote(&configuration).into_iter().collect(),
            Errand::Demote => self.any(&configuration.voters).map(MemberChange::Demote).into_iter().collect(),
            Errand::Remove => self.remove(&configuration, nemesis.disks()).into_iter().collect(),
            Errand::Several => {
                let mut steps: Vec<_> = self.promote(&configuration).into_iter().collect();
                steps.extend(self.remove(&configuration, nemesis.disks()));
                if self.rng.chance(1, 2) {
                    steps.extend(self.promote(&configuration));
                    steps.extend(self.any(&configuration.voters).map(MemberChange::Demote));
                }
                steps
            }
        };
        if steps.is_empty() && errand != Errand::Leave {
            return Ok(());
        }
        let change = Change { steps, auto_leave, force: false };
        let removed: Vec<NodeId> = change.steps.iter().filter_map(removed).collect();
        for node in &removed {
            cluster.machine(*node).provoked.insert(Fault::FENCED);
        }
        self.ask(leader, Request::Reconfigure(change), Asked { removed, added: None }, cluster);
        Ok(())
    }

    /// A machine that is no member says hello to those that are, and is added. An explicit joint configuration in the way is
    /// somebody else's errand.
    fn admit<S: StateMachine>(
        &mut self,
        leader: NodeId,
        configuration: &Configuration,
        cluster: &mut Cluster<S>,
        disks: &Disks,
    ) -> Checked<()> {
        // Who was added by a change that is not committed yet counts as a member.
        let mut members: BTreeSet<NodeId> = configuration.members.keys().copied().collect();
        for other in cluster.configurations() {
            members.extend(other.members.keys().copied());
        }
        members.extend(self.asked.values().filter_map(|asked| asked.added));
        let free = |node: &NodeId| !members.contains(node) && disks.is_own(*node);
        let machines: Vec<NodeId> = cluster.machines().into_iter().filter(free).collect();
        let most = cluster.founders() + 2;
        if configuration.members.len() as u64 >= most {
            return Ok(());
        }
        let Some(node) = self.any(&machines) else { return Ok(()) };
        let keeps_its_disk = self.rng.chance(1, 3);
        let member = cluster.enrol(node, configuration, keeps_its_disk)?;
        let change = Change::one(MemberChange::AddLearner { id: node, member });
        let asked = Asked { removed: Vec::new(), added: Some(node) };
        self.ask(leader, Request::Reconfigure(change), asked, cluster);
        Ok(())
    }

    fn ask<S: StateMachine>(
        &mut self,
        leader: NodeId,
        request: Request,
        asked: Asked,
        cluster: &mut Cluster<S>,
    ) {
        let id = cluster.request(leader, request);
        self.asked.insert(id, asked);
    }

    fn promote(&mut self, configuration: &Configuration) -> Option<MemberChange> {
        let learners: Vec<NodeId> =
            configuration.members.keys().copied().filter(|&id| !configuration.is_voter(id)).collect();
        self.any(&learners).map(MemberChange::Promote)
    }

    /// Those without a disk first.
    fn remove(&mut self, configuration: &Configuration, disks: &Disks) -> Option<MemberChange> {
        let members: Vec<NodeId> = configuration.members.keys().copied().collect();
        let lost: Vec<NodeId> = members.iter().copied().filter(|id| !disks.is_own(*id)).collect();
        let from = if lost.is_empty() || self.rng.chance(1, 3) { members } else { lost };
        self.any(&from).map(MemberChange::Remove)
    }

    fn any(&mut self, nodes: &[NodeId]) -> Option<NodeId> {
        let at = self.rng.below(nodes.len().max(1) as u64) as usize;
        nodes.get(at).copied()
    }
}

fn removed(step: &MemberChange) -> Option<NodeId> {
    match step {
        MemberChange::Remove(id) => Some(*id),
        _ => None,
    }
}
