//! What a state machine is told of before it has to do it.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::cluster::config;
use super::seams::{apply, entry, replica};
use crate::raft;
use crate::replica::{Actions, Context, Event, Replica, Request, RestoreError, StateMachine, Whole};

/// A state machine that remembers what it was told of, and counts what it then had to do without having been told.
#[derive(Debug, Default)]
struct Listener {
    told: RefCell<Vec<Vec<u8>>>,
    most: Cell<usize>,
    surprises: Cell<usize>,
}

impl Listener {
    fn does(&self, command: &[u8]) {
        let mut told = self.told.borrow_mut();
        if told.first().is_some_and(|first| first == command) {
            told.remove(0);
        } else {
            self.surprises.set(self.surprises.get() + 1);
        }
    }
}

impl TryFrom<Vec<u8>> for Listener {
    type Error = RestoreError;

    fn try_from(_: Vec<u8>) -> Result<Self, RestoreError> {
        Ok(Self::default())
    }
}

impl StateMachine for Listener {
    type View = Vec<u8>;
    type Restorer = Whole<Self>;

    fn empty(_: u128) -> Self {
        Self::default()
    }

    fn apply(&mut self, _: Context, command: &[u8], _: &mut Vec<u8>) {
        self.does(command);
    }

    fn query(&self, _: Context, query: &[u8], _: &mut Vec<u8>) {
        self.does(query);
    }

    fn prefetch<'a>(&self, commands: impl Iterator<Item = &'a [u8]>) {
        let mut told = self.told.borrow_mut();
        told.clear();
        told.extend(commands.map(<[u8]>::to_vec));
        self.most.set(self.most.get().max(told.len()));
    }

    fn view(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restorer() -> Whole<Self> {
        Whole::default()
    }

    fn digest(&self) -> u128 {
        0
    }
}

/// How many commands came untold, and how many it was told of at once.
fn heard(replica: &Replica<Listener>) -> (usize, usize) {
    (replica.state().surprises.get(), replica.state().most.get())
}

#[test]
fn entries_are_told_of_some_at_a_time_before_they_are_applied() {
    let mut replica = replica::<Listener>(config(1));
    let run = (1..=100).map(|index| entry(1, index, &[index as u8]));
    replica.perform(apply(run), &mut Actions::new()).expect("no fault");
    assert_eq!((replica.context().index, heard(&replica)), (100, (0, 32)));
}

#[test]
fn queries_are_told_of_some_at_a_time_before_they_are_answered_but_not_one_alone() {
    let mut replica = replica::<Listener>(config(1));
    let read = |replica: &mut Replica<Listener>, queries: core::ops::Range<u8>| {
        for tag in queries {
            let request = Request::Read([tag].to_vec().into());
            let event = Event::Request { tag: tag.into(), client: 1, deadline: 9_000_000, request };
            replica.take(event, &mut Actions::new());
        }
        let Some(raft::Event::Read { read }) = replica.inbox.pop() else { panic!("no round") };
        replica.round = None;
        replica.perform(raft::Action::ReadReady { read, index: 0 }, &mut Actions::new()).expect("no fault");
    };
    read(&mut replica, 0..100);
    assert_eq!((replica.load(), heard(&replica)), ((0, 0), (0, 32)));
    read(&mut replica, 100..101);
    assert_eq!(heard(&replica), (1, 32), "it waits for its memory anyway");
}
