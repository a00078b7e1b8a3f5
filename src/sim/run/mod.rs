//! One run: a plan, a workload, and whether every promise was kept.
//!
//! Faults and clients go on until the plan's faults end. Then everything is mended, and the cluster has to become well again
//! within a bound: elect, commit what clients ask, refuse the disks that forgot, and bring everyone to one state. When it
//! legitimately cannot, because more disks are lost than a minority, the run says so. In the end all that clients were told is
//! held against the log.

mod actor;
mod judge;

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::check::HistoryOf;
use super::cluster::{Checked, Cluster, Violation};
use super::faults::{Nemesis, Operator, Plan};
use super::queue::Queue;
use super::tally::Tally;
use super::trace::TraceEvent;
use super::workload::Workload;
use crate::raft::NodeId;
use crate::rng::Rng;
use crate::time::Micros;
use actor::Actor;

const SECOND: Micros = 1_000_000;

/// How long a mended cluster may take until somebody leads and a client is served. Requests of before take their deadlines
/// to end, and a clerk's longest pause comes on top.
const SERVES_WITHIN: Micros = 20 * SECOND;

/// How long all may take to come to one state.
const AGREES_WITHIN: Micros = 20 * SECOND;

/// How long a snapshot that is due may take.
const COMPACTS_WITHIN: Micros = 10 * SECOND;

/// Most events that are recorded; the oldest go first.
const EVENTS: usize = 2_000_000;

/// What a run has shown.
#[derive(Debug)]
pub struct Report {
    /// The plan's seed.
    pub seed: u64,
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// Why the cluster could not become well again, if it could not and need not.
    pub stuck: Option<String>,
    /// A hash over everything that nodes asked for.
    pub hash: u64,
    /// How many things are in it.
    pub events: u64,
    /// Time in the simulation, in microseconds.
    pub simulated: Micros,
    /// Operations that clients asked.
    pub operations: u64,
    /// How often what happened.
    pub tally: Tally,
    /// What happened, if that was to be recorded.
    pub trace: Vec<TraceEvent>,
    /// Events before the first of these.
    pub forgotten: u64,
}

/// Runs a plan.
pub fn run<W: Workload>(plan: &Plan, workload: W) -> Report {
    Run::new(plan, workload, false).finish()
}

/// Runs a plan and records what happens. It is the same run.
pub fn run_recorded<W: Workload>(plan: &Plan, workload: W) -> Report {
    Run::new(plan, workload, true).finish()
}

/// A run under way.
struct Run<'a, W: Workload> {
    plan: &'a Plan,
    workload: W,
    cluster: Cluster<W::Machine>,
    nemesis: Nemesis,
    operator: Operator,
    actors: Vec<Actor>,
    /// When which actor does its next thing.
    agenda: Queue<usize>,
    history: HistoryOf<W::Model>,
    /// Operations that were answered.
    answered: u64,
    /// Whether clients ask anything new.
    asks_more: bool,
    rng: Rng,
}

impl<'a, W: Workload> Run<'a, W> {
    fn new(plan: &'a Plan, workload: W, is_recorded: bool) -> Self {
        let mut rng = Rng::stream(plan.seed, 303);
        let mut cluster = Cluster::new(plan.settings());
        if is_recorded {
            cluster.trace.keep_events(EVENTS);
        }
        let usual = super::faults::usual_weather(plan, &mut rng);
        cluster.network.set_weather(usual);
        let mut agenda = Queue::default();
        let mut actors = Vec::new();
        for (place, &population) in plan.clients.iter().enumerate() {
            actors.push(Actor::new(plan.seed, population, &mut cluster));
            agenda.push(rng.below(SECOND), place);
        }
        cluster.count(plan.profile.of_runs());
        for quirk in &plan.quirks {
            cluster.count(quirk.name());
        }
        let nemesis = Nemesis::new(plan.seed, &plan.faults, usual);
        let operator = Operator::new(plan.seed, &plan.errands);
        let history = HistoryOf::<W::Model>::new();
        Self {
            plan,
            workload,
            cluster,
            nemesis,
            operator,
            actors,
            agenda,
            history,
            answered: 0,
            asks_more: true,
            rng,
        }
    }

    fn finish(mut self) -> Report {
        let ended = self.course();
        let mut tally = self.cluster.tally().clone();
        self.count_world(&mut tally);
        let (violation, stuck) = match ended {
            Ok(stuck) => (None, stuck),
            Err(violation) => (Some(violation), None),
        };
        Report {
            seed: self.plan.seed,
            violation,
            stuck,
            hash: self.cluster.trace.hash(),
            events: self.cluster.trace.events(),
            simulated: self.cluster.now(),
            operations: self.history.operations().len() as u64,
            tally,
            forgotten: self.cluster.trace.forgotten(),
            trace: self.cluster.trace.take_kept(),
        }
    }

    /// The whole of it: why it is stuck, if it is and may be.
    fn course(&mut self) -> Checked<Option<String>> {
        self.cluster.start_all()?;
        self.go_on_until(self.plan.faults_end, |_| false)?;
        self.nemesis.end(&mut self.cluster)?;
        self.operator.end(&mut self.cluster);
        let stuck = match self.recover() {
            Ok(()) => None,
            // Whoever has lost a majority of its disks need not become well again.
            Err(violation) => match self.is_lost().filter(|_| violation.checker() == "liveness") {
                Some(why) => Some(why),
                None => return Err(violation),
            },
        };
        self.judge_refusals()?;
        self.judge_history()?;
        Ok(stuck)
    }

    /// Why no majority can be had any more, if that is so: of the committed configuration, or of a later one in a log.
    fn is_lost(&self) -> Option<String> {
        let disks = self.nemesis.disks();
        let in_logs = self.cluster.nodes().into_iter().filter_map(|node| self.cluster.replica(node));
        let in_logs = in_logs.flat_map(|replica| {
            let raft = replica.raft();
            raft.configurations(raft.status().commit)
        });
        let mut all = self.cluster.committed_configuration().into_iter().chain(in_logs);
        let stuck = all.find(|configuration| !disks.leave_a_majority(configuration))?;
        let gone: Vec<_> = disks.lost().filter(|node| stuck.is_voter(*node)).collect();
        let voters = stuck.members.keys().filter(|node| stuck.is_voter(**node)).count();
        let names: Vec<String> = gone.iter().map(ToString::to_string).collect();
        Some(format!("the disks of {} of {voters} voters are gone: {}", gone.len(), names.join(", ")))
    }

    /// Liveness: a mended majority serves and agrees.
    fn recover(&mut self) -> Checked<()> {
        let answered = self.answered;
        let bound = self.cluster.now() + SERVES_WITHIN;
        self.go_on_until(bound, |run| run.answered > answered && run.leads_all())?;
        if self.answered == answered && !self.actors.is_empty() {
            return Err(
                self.nobody(&format!("liveness: all is mended, and no client is served: {}", self.states()))
            );
        }
        if !self.leads_all() {
            return Err(
                self.nobody(&format!("liveness: all is mended, and not everyone follows: {}", self.states()))
            );
        }
        // Clients go on for a while on a healthy cluster, then end what they began.
        let end = self.plan.end.max(self.cluster.now() + SECOND / 2).min(self.cluster.now() + 5 * SECOND);
        self.go_on_until(end, |_| false)?;
        self.asks_more = false;
        let bound = self.cluster.now() + SERVES_WITHIN;
        self.go_on_until(bound, |run| run.actors.iter().all(Actor::is_idle))?;
        if let Some(actor) = self.actors.iter().find(|actor| !actor.is_idle()) {
            return Err(self.nobody(&format!("liveness: client {} waits for ever", actor.number())));
        }
        let bound = self.cluster.now() + AGREES_WITHIN;
        self.go_on_until(bound, |run| run.agrees())?;
        if !self.agrees() {
            return Err(self.nobody(&format!("liveness: states stay apart: {}", self.states())));
        }
        let bound = self.cluster.now() + COMPACTS_WITHIN;
        self.go_on_until(bound, |run| run.too_long().is_none())?;
        if let Some((node, kept, most)) = self.too_long() {
            let what = format!("bounds: {kept} bytes of log stay in memory, and {most} should");
            return Err(self.cluster.violation(node, what));
        }
        Ok(())
    }

    /// Lets everything go on until `end`, or until `is_enough`, which is asked now and then.
    fn go_on_until(&mut self, end: Micros, is_enough: impl Fn(&Self) -> bool) -> Checked<()> {
        let mut ask_at = self.cluster.now();
        while self.cluster.now() < end {
            if self.cluster.now() >= ask_at {
                if is_enough(self) {
                    return Ok(());
                }
                ask_at = self.cluster.now() + 10_000;
            }
            let ours = [self.nemesis.next_at(), self.operator.next_at(), self.agenda.next_at()];
            let ours = ours.into_iter().flatten().min();
            let ours = ours.unwrap_or(end).min(end);
            if self.cluster.next_at().is_some_and(|next| next <= ours) {
                self.cluster.step()?;
                self.listen()?;
                continue;
            }
            self.cluster.pass_to(ours);
            self.nemesis.act(&mut self.cluster)?;
            self.operator.act(&mut self.cluster, &mut self.nemesis)?;
            while self.agenda.next_at().is_some_and(|at| at <= self.cluster.now()) {
                let Some((_, place)) = self.agenda.pop() else { break };
                self.act(place);
            }
            self.listen()?;
        }
        Ok(())
    }

    /// An actor does its next thing, and plans the one after it.
    fn act(&mut self, place: usize) {
        let actor = &mut self.actors[place];
        let next = actor.act(&mut self.cluster, &mut self.workload, &mut self.history, self.asks_more);
        if let Some(next) = next {
            let spread = next / 2 + self.rng.below(next + 1);
            self.agenda.push(self.cluster.now() + spread.max(1), place);
        }
    }

    /// Takes the answers that have come.
    fn listen(&mut self) -> Checked<()> {
        for finished in self.cluster.take_finished() {
            let now = self.cluster.now();
            let actor = self.actors.iter_mut().find(|actor| actor.is_clerk(finished.clerk));
            if let Some(actor) = actor {
                match actor.finished(finished, now, &mut self.workload, &mut self.history) {
                    Ok(was_answered) => self.answered += u64::from(was_answered),
                    Err(what) => return Err(self.nobody(&what)),
                }
            }
        }
        if self.cluster.has_answers() {
            for place in 0..self.actors.len() {
                let actor = &mut self.actors[place];
                match actor.listen(&mut self.cluster, &mut self.workload, &mut self.history) {
                    Ok(was_answered) => self.answered += u64::from(was_answered),
                    Err(what) => return Err(self.nobody(&what)),
                }
            }
        }
        Ok(())
    }

    /// Everyone who is not lost follows one leader.
    fn leads_all(&self) -> bool {
        let Some(leader) = self.cluster.leader() else { return false };
        self.well().all(|node| {
            let raft = self.cluster.status(node).and_then(|status| status.raft);
            raft.is_some_and(|raft| raft.leader == Some(leader))
        })
    }

    /// Everyone who is not lost has applied the same, to the same state.
    fn agrees(&self) -> bool {
        let mut states = self.well().map(|node| {
            let status = self.cluster.status(node)?;
            Some((status.raft?.applied, status.digest))
        });
        let first = states.next().flatten();
        first.is_some() && states.all(|state| state == first)
    }

    /// Who keeps more of its log than it should, with how many bytes and how many it should at most.
    fn too_long(&self) -> Option<(NodeId, u64, u64)> {
        self.well().find_map(|node| {
            let kept = self.cluster.status(node)?.raft?.log_bytes as u64;
            let most = self.cluster.log_bound(node)?;
            (kept > most).then_some((node, kept, most))
        })
    }

    fn well(&self) -> impl Iterator<Item = NodeId> + '_ {
        let lost: Vec<NodeId> = self.nemesis.disks().lost().collect();
        let members = self.cluster.committed_configuration().map(|configuration| &configuration.members);
        let is_member = move |node: &NodeId| members.is_none_or(|members| members.contains_key(node));
        self.cluster.nodes().into_iter().filter(move |node| !lost.contains(node) && is_member(node))
    }

    /// Where everyone is, in words.
    fn states(&self) -> String {
        let state = |node: NodeId| match self.cluster.status(node) {
            None => format!("{node:?} down ({:?})", self.cluster.fault(node)),
            Some(status) => match status.raft {
                None => format!("{node:?} {:?}", status.phase),
                Some(raft) => format!(
                    "{node:?} {:?} term {} leader {:?} applied {} of {:?}",
                    raft.role, raft.term, raft.leader, raft.applied, raft.last
                ),
            },
        };
        self.cluster.nodes().into_iter().map(state).collect::<Vec<_>>().join("; ")
    }

    fn nobody(&self, what: &str) -> Violation {
        self.cluster.violation(NodeId(0), what.into())
    }
}
