//! Offering commands to servers, and waiting until enough of them have applied one.

use std::format;
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use super::oracle::command_of;
use super::servers::{MS, Servers};
use crate::node::RequestId;
use crate::raft::{LogIndex, NodeId, Term};
use crate::replica::{Outcome, Request};
use crate::sim::cluster::{Answer, Checked};
use crate::time::Micros;

/// A server that knows no leader gives an offer back after so long. A leader has it in its log by then.
const PATIENCE: Micros = 2 * MS;

/// How often it is looked whether a server has taken an offer.
const GLANCE: Micros = 100;

/// A command that was handed to a server: the lab's `Start`, on its way.
#[derive(Debug)]
pub(super) struct Offer {
    node: NodeId,
    request: RequestId,
    /// What identifies the command: no two offers are of the same bytes, even of the same value.
    command: Bytes,
    /// The command's entry is above this.
    above: LogIndex,
    is_answered: bool,
}

/// An offer that a server has taken as the leader.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    /// Which server.
    pub(super) node: NodeId,
    /// The command's number, if it will be committed.
    pub(super) number: usize,
    /// The term of its entry.
    pub(super) term: Term,
    /// Its bytes.
    pub(super) command: Bytes,
}

/// What came of an offer.
#[derive(Debug)]
pub(super) enum Verdict {
    Open,
    Refused,
    Accepted(Accepted),
}

impl Servers {
    /// Hands a command of this value to a server.
    pub(super) fn offer(&mut self, node: NodeId, value: &str) -> Offer {
        self.offers += 1;
        let command = Bytes::from([&self.offers.to_le_bytes()[..], value.as_bytes()].concat());
        let above = self.sim.replica(node).map_or(0, |replica| replica.raft().status().commit);
        let request = self.sim.request_within(node, PATIENCE, Request::Write(command.clone()));
        Offer { node, request, command, above, is_answered: false }
    }

    /// What has come of it so far.
    pub(super) fn verdict(&mut self, offer: &mut Offer) -> Verdict {
        match self.sim.take_answer(offer.request) {
            None => {}
            Some(Answer::Outcome(Outcome::Reply(_) | Outcome::Undetermined)) => offer.is_answered = true,
            Some(_) => return Verdict::Refused,
        }
        match self.find(offer) {
            Some(accepted) => Verdict::Accepted(accepted),
            // It was taken and is gone already.
            None if offer.is_answered => Verdict::Refused,
            None => Verdict::Open,
        }
    }

    /// The command in the log of the server that it was offered to.
    fn find(&self, offer: &Offer) -> Option<Accepted> {
        let raft = self.sim.replica(offer.node)?.raft();
        let is_it =
            |data: &[u8]| data.ends_with(&offer.command) && command_of(data).as_ref() == Some(&offer.command);
        let entry = raft.entries(offer.above + 1, LogIndex::MAX).find(|entry| is_it(&entry.data))?;
        let commit = raft.status().commit.min(entry.id.index);
        let uncommitted = raft.entries(commit + 1, entry.id.index);
        let uncommitted = uncommitted.filter(|entry| command_of(&entry.data).is_some()).count();
        let number = self.oracle.count_upto(commit) + uncommitted;
        Some(Accepted { node: offer.node, number, term: entry.id.term, command: offer.command.clone() })
    }

    /// Offers one command to each of these servers at once: the lab's `Start`, as often.
    pub(super) fn start_each(&mut self, offers: &[(NodeId, String)]) -> Checked<Vec<Option<Accepted>>> {
        let offers = offers.iter().map(|(node, value)| (self.offer(*node, value), Verdict::Open));
        let mut offers: Vec<(Offer, Verdict)> = offers.collect();
        while offers.iter().any(|(_, verdict)| matches!(verdict, Verdict::Open)) {
            self.tick(GLANCE)?;
            for (offer, verdict) in &mut offers {
                if let Verdict::Open = verdict {
                    *verdict = self.verdict(offer);
                }
            }
        }
        let taken = |(_, verdict)| match verdict {
            Verdict::Accepted(accepted) => Some(accepted),
            Verdict::Open | Verdict::Refused => None,
        };
        Ok(offers.into_iter().map(taken).collect())
    }

    /// Offers a command to a server; nothing when it does not lead.
    pub(super) fn start(&mut self, node: NodeId, value: impl Into<String>) -> Checked<Option<Accepted>> {
        Ok(self.start_each(&[(node, value.into())])?.pop().flatten())
    }

    /// Offers a command to a server, which must take it as this number.
    pub(super) fn start_at(&mut self, node: NodeId, value: &str, number: usize) -> Checked<()> {
        let accepted = self.start(node, value)?.map(|accepted| accepted.number);
        self.require(accepted == Some(number), || {
            format!("the leader took a command as number {accepted:?} instead of {number}")
        })
    }

    /// Has a command of this value applied by so many servers, as number `number`: the lab's `one` without a retry.
    pub(super) fn agree_at(
        &mut self,
        value: impl Into<String>,
        servers: usize,
        number: usize,
    ) -> Checked<()> {
        let agreed = self.agree(value, servers, false)?;
        self.require(agreed == number, || format!("a command became number {agreed} instead of {number}"))
    }

    /// Has a command of this value applied by so many servers; its number.
    pub(super) fn agree(&mut self, value: impl Into<String>, servers: usize, retry: bool) -> Checked<usize> {
        let mut agreement = Agreement::new(value, servers, retry, self.sim.now());
        loop {
            if let Some(number) = agreement.pursue(self)? {
                return Ok(number);
            }
            let pause = agreement.pause(self.sim.now());
            self.sleep(pause)?;
        }
    }

    /// Goes on with the agreements in the background.
    pub(super) fn pursue_agreements(&mut self) -> Checked<()> {
        let mut agreements = core::mem::take(&mut self.background);
        let mut open = Vec::with_capacity(agreements.len());
        for mut agreement in agreements.drain(..) {
            if agreement.pursue(self)?.is_none() {
                open.push(agreement);
            }
        }
        self.background = open;
        Ok(())
    }
}

/// An agreement that is being sought: the lab's `one`.
#[derive(Debug)]
pub(super) struct Agreement {
    value: String,
    servers: usize,
    retry: bool,
    since: Micros,
    /// The server to be offered to, counted from the first.
    place: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// This offer was made after so many others of the same round were refused.
    Offering { offer: Option<Offer>, refused: usize },
    /// A leader has taken it.
    Waiting { accepted: Accepted, until: Micros, look_at: Micros },
    /// No server has taken it.
    Pausing { until: Micros },
}

const FRESH: Stage = Stage::Offering { offer: None, refused: 0 };

impl Agreement {
    pub(super) fn new(value: impl Into<String>, servers: usize, retry: bool, now: Micros) -> Self {
        Self { value: value.into(), servers, retry, since: now, place: 0, stage: FRESH }
    }

    /// Goes on; the command's number when it is agreed on.
    fn pursue(&mut self, servers: &mut Servers) -> Checked<Option<usize>> {
        let now = servers.sim.now();
        let is_late = now >= self.since + 10_000 * MS;
        let of = self.servers;
        match &mut self.stage {
            Stage::Offering { .. } | Stage::Pausing { .. } if is_late => {
                let what = format!("no agreement on {} among {of} servers within 10 s", self.value);
                return Err(servers.violation(what));
            }
            Stage::Offering { .. } => self.pursue_offer(servers),
            Stage::Pausing { until } if *until <= now => self.stage = FRESH,
            Stage::Pausing { .. } => {}
            Stage::Waiting { accepted, until, look_at } if *look_at <= now => {
                *look_at = now + 20 * MS;
                let number = accepted.number;
                let is_it = servers.oracle.command(number) == Some(&accepted.command);
                if is_it && servers.oracle.appliers(number) >= of {
                    return Ok(Some(number));
                }
                if *until <= now {
                    servers.require(self.retry, || {
                        format!("{of} servers did not apply {} as number {number} within 2 s", self.value)
                    })?;
                    self.stage = FRESH;
                }
            }
            Stage::Waiting { .. } => {}
        }
        Ok(None)
    }

    /// Offers to one server after the other until one takes it.
    fn pursue_offer(&mut self, servers: &mut Servers) {
        let (now, count) = (servers.sim.now(), servers.all().len());
        let Stage::Offering { offer, refused } = &mut self.stage else { return };
        if let Some(made) = offer {
            match servers.verdict(made) {
                Verdict::Open => return,
                Verdict::Refused => *offer = None,
                Verdict::Accepted(accepted) => {
                    self.stage = Stage::Waiting { accepted, until: now + 2_000 * MS, look_at: now };
                    return;
                }
            }
        }
        while *refused < count && offer.is_none() {
            *refused += 1;
            self.place += 1;
            let node = servers.after(NodeId(1), self.place);
            if servers.is_connected(node) && servers.is_up(node) {
                *offer = Some(servers.offer(node, &self.value));
            }
        }
        if offer.is_none() {
            self.stage = Stage::Pausing { until: now + 50 * MS };
        }
    }

    /// How long nothing can come of it.
    fn pause(&self, now: Micros) -> Micros {
        let at = match self.stage {
            Stage::Offering { .. } => now + GLANCE,
            Stage::Waiting { look_at, .. } => look_at,
            Stage::Pausing { until } => until,
        };
        at.saturating_sub(now).max(1)
    }
}
