//! The clerk and the gateway speak the same language: whole calls over connections that break.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::{Connection, Event, Settings};
use super::Harness;
use crate::client::{self, CallKind, Clerk, ClerkError, LinkId};
use crate::codec::resp::Value;
use crate::replica::{Outcome, Refused, Request, SessionError};
use crate::rng::Rng;

/// A server whose node remembers the replies of session 100, and the clerk's only connection to it.
struct World {
    server: Harness,
    clerk: Clerk,
    link: Option<LinkId>,
    replies: BTreeMap<u64, Bytes>,
    floor: u64,
    results: BTreeMap<u64, Result<Value, ClerkError>>,
    rng: Rng,
}

impl World {
    fn outcome(&mut self, request: &Request) -> Outcome {
        match request {
            Request::Once { session, seq, ack, .. } => {
                assert_eq!(*session, 100);
                if *seq < self.floor {
                    return Outcome::Session(SessionError::Stale);
                }
                self.floor = self.floor.max(*ack);
                if let Some(reply) = self.replies.get(seq) {
                    return Outcome::Reply(reply.clone());
                }
                let outcome = self.server.outcome(request);
                if let Outcome::Reply(reply) = &outcome {
                    self.replies.insert(*seq, reply.clone());
                }
                outcome
            }
            other => self.server.outcome(other),
        }
    }

    /// The node answers everything, each thing in one of several ways.
    fn serve(&mut self) {
        while let Some((number, _, request)) = self.server.requests.pop_front() {
            let outcome = match self.rng.below(8) {
                0 => Outcome::Refused(Refused::Busy),
                1 => Outcome::Undetermined,
                2 => {
                    self.outcome(&request);
                    Outcome::Undetermined
                }
                _ => self.outcome(&request),
            };
            self.server.step(Event::Reply { number, outcome });
        }
    }

    fn perform(&mut self, actions: Vec<client::Action>) {
        for action in actions {
            match action {
                client::Action::Connect { link, .. } => {
                    self.server.connection =
                        Connection::new(5, "clerk:1", self.server.now, &Settings::default());
                    self.server.requests.clear();
                    self.link = Some(link);
                    self.clerk_step(client::Event::Connected { link });
                }
                client::Action::Send { link, bytes } if self.link == Some(link) => self.server.feed(&bytes),
                client::Action::Close { .. } => self.link = None,
                client::Action::Done { call, result } => {
                    assert!(self.results.insert(call, result).is_none(), "one end for each call");
                }
                client::Action::Send { .. } | client::Action::WakeAt(_) => {}
            }
        }
    }

    fn clerk_step(&mut self, event: client::Event) {
        let mut actions = Vec::new();
        self.clerk.step(self.server.now.mono, event, &mut actions);
        self.perform(actions);
    }

    fn turn(&mut self) {
        self.server.now.mono += 50_000;
        self.clerk_step(client::Event::Wake);
        self.serve();
        let bytes = self.server.output();
        let Some(link) = self.link else { return };
        if self.rng.chance(1, 5) {
            self.link = None;
            // What the connection had under way goes on; its replies go nowhere.
            for (_, _, request) in core::mem::take(&mut self.server.requests) {
                self.outcome(&request);
            }
            self.clerk_step(client::Event::Disconnected { link });
        } else if !bytes.is_empty() {
            self.clerk_step(client::Event::Received { link, bytes });
        }
    }
}

#[test]
fn each_write_of_a_clerk_runs_once_over_connections_that_break() {
    for seed in 0..60 {
        let config = client::Config::new(vec!["a:1".to_string()], u128::from(seed) + 1);
        let mut world = World {
            server: Harness::new(),
            clerk: Clerk::new(config),
            link: None,
            replies: BTreeMap::new(),
            floor: 0,
            results: BTreeMap::new(),
            rng: Rng::new(seed),
        };
        let mut calls = Vec::new();
        for round in 0..300 {
            if round < 40 {
                let mut actions = Vec::new();
                let arguments = ["APPEND".to_string(), "log".to_string(), alloc::format!("<{round}>")];
                calls.push(world.clerk.call(
                    world.server.now.mono,
                    CallKind::Write,
                    &arguments,
                    &mut actions,
                ));
                world.perform(actions);
            }
            world.turn();
        }
        assert!(
            calls.iter().all(|call| matches!(world.results.get(call), Some(Ok(Value::Integer(_))))),
            "seed {seed}"
        );
        let mut fresh = Harness::new();
        core::mem::swap(&mut fresh.store, &mut world.server.store);
        let log = fresh.say("GET log\r\n");
        assert!((0..40).all(|n| log.matches(&alloc::format!("<{n}>")).count() == 1), "seed {seed}: {log}");
    }
}
