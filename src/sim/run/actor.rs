//! One client of a run: what it asks, by whom it is carried, and how each operation ended.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use crate::client::{CallId, ClerkError};
use crate::codec::resp::Value;
use crate::node::RequestId;
use crate::raft::NodeId;
use crate::replica::{Outcome, Request, SessionError, SessionId, StateMachine};
use crate::rng::Rng;
use crate::sim::check::{HistoryOf, Model, OpId};
use crate::sim::cluster::{Answer, Ask, ClerkId, Cluster, Finished};
use crate::sim::faults::{Manner, Population};
use crate::sim::workload::{Heard, Travel, Workload};
use crate::time::Micros;

/// How long it waits before it asks again.
const PAUSE: Micros = 20_000;

/// One client.
#[derive(Debug)]
pub(super) struct Actor {
    population: Population,
    rng: Rng,
    clerk: ClerkId,
    /// What the clerk was asked.
    calls: BTreeMap<CallId, OpId>,
    /// The last of its writes that the clerk was asked for, of those answered.
    answered_write: Option<OpId>,
    /// Calls of a pipeline of which nobody could tell whether they were done.
    doubtful: BTreeMap<CallId, OpId>,
    /// The last call of a pipeline that was done.
    ended: Option<(CallId, OpId)>,
    own: Own,
}

/// What a client does itself that has no clerk: one operation after the other, in a session or not.
#[derive(Debug)]
struct Own {
    session: Option<SessionId>,
    /// How many sessions it has had.
    sessions: u64,
    seq: u64,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    id: OpId,
    request: Request,
    since: Micros,
    /// What was sent and not answered; `None` while it waits to be sent again.
    sent: Option<(RequestId, Sent)>,
    again_at: Micros,
    /// Whether a sending may have done it.
    is_uncertain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Opening,
    Operation,
}

/// What becomes of an operation.
enum Turn {
    Replied(Bytes),
    Again,
    NotDone,
    Unknown,
}

impl Actor {
    pub(super) fn new<S: StateMachine>(seed: u64, population: Population, cluster: &mut Cluster<S>) -> Self {
        let clerk = if population.manner == Manner::Pipeline {
            cluster.pipeline()
        } else {
            let mut config = cluster.clerk_config();
            config.session = population.manner == Manner::Session;
            config.call_timeout = population.patience;
            // Whoever is in a hurry asks elsewhere before the first one has answered.
            config.reply_timeout = config.reply_timeout.min(population.patience / 2);
            config.seed = u128::from(seed) << 64 | u128::from(population.number);
            cluster.clerk_with(config)
        };
        let rng = Rng::stream(seed, 10_000 + population.number);
        let own = Own { session: None, sessions: 0, seq: 1, under_way: None };
        Self {
            population,
            rng,
            clerk,
            calls: BTreeMap::new(),
            answered_write: None,
            doubtful: BTreeMap::new(),
            ended: None,
            own,
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.population.number
    }

    pub(super) fn is_clerk(&self, clerk: ClerkId) -> bool {
        self.clerk == clerk
    }

    /// Whether nothing of it is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.own.under_way.is_none()
    }

    /// Asks the next things, if what it may have under way leaves room, or goes on with what it asked. How long it thinks
    /// then; `None` once it asks no more and has all its answers.
    pub(super) fn act<W: Workload>(
        &mut self,
        cluster: &mut Cluster<W::Machine>,
        workload: &mut W,
        history: &mut HistoryOf<W::Model>,
        asks_more: bool,
    ) -> Option<Micros> {
        let Population { number, thinks, burst, .. } = self.population;
        let count = if burst > 1 && self.rng.chance(1, 4) { 1 + self.rng.below(burst) } else { 1 };
        let is_pipeline = self.population.manner == Manner::Pipeline;
        let (mut ids, mut asks) = (Vec::new(), Vec::new());
        for _ in 0..if asks_more { count } else { 0 } {
            if self.own.under_way.is_some() || (self.calls.len() + ids.len()) as u64 >= burst {
                break;
            }
            let op = workload.next(number, &mut self.rng);
            let ops = if is_pipeline { workload.on_a_connection(op) } else { std::vec![op] };
            for op in ops {
                let id = history.ask(number, cluster.now(), op.clone());
                let request = match workload.travel(&op) {
                    Travel::Command(kind, words) => {
                        ids.push(id);
                        asks.push(Ask::Command(kind, words));
                        continue;
                    }
                    Travel::Transaction(kind, commands, _) if is_pipeline => {
                        ids.push(id);
                        asks.push(Ask::Transaction(kind, commands));
                        continue;
                    }
                    Travel::Transaction(_, _, request) | Travel::Request(request) => request,
                };
                let since = cluster.now();
                self.own.under_way =
                    Some(UnderWay { id, request, since, sent: None, again_at: since, is_uncertain: false });
                self.send::<W>(cluster, history);
            }
        }
        if !asks.is_empty() {
            self.calls.extend(cluster.call_all(self.clerk, &asks).into_iter().zip(ids));
        }
        if self.own.under_way.as_ref().is_some_and(|under_way| under_way.sent.is_none()) {
            self.send::<W>(cluster, history);
            return Some(thinks.min(PAUSE));
        }
        (asks_more || !self.is_idle()).then_some(thinks)
    }

    /// A call of the clerk or the pipeline has ended; whether by a reply.
    ///
    /// # Errors
    ///
    /// What the server must not have done.
    pub(super) fn finished<W: Workload>(
        &mut self,
        finished: Finished,
        now: Micros,
        workload: &mut W,
        history: &mut HistoryOf<W::Model>,
    ) -> Result<bool, String> {
        let Some(id) = self.calls.remove(&finished.call) else { return Ok(false) };
        if let Some(what) = finished.broken {
            return Err(what.into());
        }
        let behind = self.ended.filter(|(call, _)| finished.behind == Some(*call)).map(|(_, op)| op);
        if let Some((session, seq)) = finished.name {
            history.name(id, session, seq);
        }
        match finished.result {
            Ok(value) => {
                self.note_order::<W>(id, behind, history);
                self.hears(id, now, Heard::Value(value), workload, history);
            }
            // The disk has no room: a refusal before anything was done.
            Err(ClerkError::Command(text)) if text.starts_with(b"MISCONF") => history.not_done(id),
            Err(ClerkError::Command(text)) => {
                self.note_order::<W>(id, behind, history);
                self.hears(id, now, Heard::Value(Value::Error(text)), workload, history);
            }
            Err(ClerkError::Undetermined) => {
                if self.population.manner == Manner::Pipeline {
                    self.doubtful.insert(finished.call, id);
                }
                return Ok(false);
            }
            Err(_) => {
                history.not_done(id);
                return Ok(false);
            }
        }
        for doubtful in finished.settles.iter().filter_map(|call| self.doubtful.remove(call)) {
            history.settled(doubtful, id);
        }
        self.ended = Some((finished.call, id));
        Ok(true)
    }

    fn hears<W: Workload>(
        &self,
        id: OpId,
        now: Micros,
        heard: Heard,
        workload: &mut W,
        history: &mut HistoryOf<W::Model>,
    ) {
        let reply = workload.reply(heard);
        workload.replied(self.population.number, &history.operations()[id].op, &reply);
        history.replied(id, now, reply);
    }

    /// Operation `id` is answered. The clerk sends in the order in which it is asked, also when it sends again, and what it has
    /// in one connection is answered in that order: a read whose reply comes after a write's that was asked before it was
    /// behind that write. A pipeline knows for anything what it was `behind`: all of it is on one connection.
    fn note_order<W: Workload>(&mut self, id: OpId, behind: Option<OpId>, history: &mut HistoryOf<W::Model>) {
        if self.population.manner == Manner::Pipeline {
            if let Some(before) = behind {
                history.behind(id, before);
            }
        } else if !W::Model::is_read(&history.operations()[id].op) {
            self.answered_write = self.answered_write.max(Some(id));
        } else if let Some(write) = self.answered_write.filter(|&write| write < id) {
            history.behind(id, write);
        }
    }

    /// Takes the answer to what it sent itself; whether that was a reply.
    pub(super) fn listen<W: Workload>(
        &mut self,
        cluster: &mut Cluster<W::Machine>,
        workload: &mut W,
        history: &mut HistoryOf<W::Model>,
    ) -> Result<bool, String> {
        let Some(under_way) = &mut self.own.under_way else { return Ok(false) };
        let Some((request, sent)) = under_way.sent else { return Ok(false) };
        let Some(answer) = cluster.take_answer(request) else { return Ok(false) };
        under_way.sent = None;
        under_way.again_at = cluster.now() + PAUSE;
        let turn = self.own.judge(sent, answer)?;
        let Some(under_way) = &mut self.own.under_way else { return Ok(false) };
        let is_late = under_way.since + self.population.patience <= cluster.now();
        let turn = match turn {
            Turn::Again if is_late && under_way.is_uncertain => Turn::Unknown,
            Turn::Again if is_late => Turn::NotDone,
            turn => turn,
        };
        match turn {
            Turn::Again => return Ok(false),
            Turn::Replied(bytes) => {
                let id = under_way.id;
                self.hears(id, cluster.now(), Heard::Bytes(bytes), workload, history);
                self.own.end();
                return Ok(true);
            }
            Turn::NotDone => history.not_done(under_way.id),
            Turn::Unknown => {}
        }
        self.own.end();
        Ok(false)
    }

    /// Sends what is under way, or first what opens its session, to a node at random.
    fn send<W: Workload>(&mut self, cluster: &mut Cluster<W::Machine>, history: &mut HistoryOf<W::Model>) {
        let Some(under_way) = &mut self.own.under_way else { return };
        if under_way.sent.is_some() || under_way.again_at > cluster.now() {
            return;
        }
        let nodes = cluster.nodes();
        let node: NodeId = nodes[self.rng.below(nodes.len() as u64) as usize];
        let number = self.population.number;
        let (request, sent) = match (&under_way.request, self.own.session) {
            (Request::Write(_), None) if self.population.manner == Manner::Session => {
                let nonce = format!("client-{number}-{}", self.own.sessions).into();
                (Request::OpenSession { nonce }, Sent::Opening)
            }
            (Request::Write(command), Some(session)) => {
                let seq = self.own.seq;
                history.name(under_way.id, session, seq);
                let command = command.clone();
                (Request::Once { session, seq, ack: seq, command }, Sent::Operation)
            }
            (request, _) => (request.clone(), Sent::Operation),
        };
        under_way.sent = Some((cluster.request(node, request), sent));
    }
}

impl Own {
    /// What an answer means.
    fn judge(&mut self, sent: Sent, answer: Answer) -> Result<Turn, String> {
        let Some(under_way) = &mut self.under_way else { return Ok(Turn::Again) };
        let is_plain = matches!(under_way.request, Request::Write(_)) && self.session.is_none();
        let turn = match (sent, answer) {
            (Sent::Opening, Answer::Outcome(Outcome::SessionOpened(session))) => {
                self.session = Some(session);
                self.seq = 1;
                Turn::Again
            }
            (Sent::Opening, _) => Turn::Again,
            (_, Answer::Outcome(Outcome::Reply(bytes))) => Turn::Replied(bytes),
            (_, Answer::Outcome(Outcome::Refused(_))) if is_plain => Turn::NotDone,
            (_, Answer::Outcome(Outcome::Refused(_))) => Turn::Again,
            (_, Answer::ConnectionLost | Answer::Outcome(Outcome::Undetermined)) => {
                under_way.is_uncertain = true;
                if is_plain { Turn::Unknown } else { Turn::Again }
            }
            (_, Answer::Outcome(Outcome::Session(SessionError::Expired))) => {
                self.session = None;
                self.sessions += 1;
                if under_way.is_uncertain { Turn::Unknown } else { Turn::Again }
            }
            (_, other) => return Err(format!("session: an operation is answered by {other:?}")),
        };
        Ok(turn)
    }

    /// The operation is over; its number is not used again.
    fn end(&mut self) {
        self.under_way = None;
        self.seq += 1;
    }
}
