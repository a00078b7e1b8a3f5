//! Addresses of peers: numeric ones at once, names by a thread of their own, as asking for a name may block for long.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use quorate::raft::NodeId;

use crate::bell::Bell;

/// The answer to a question: whose address, and what it is.
pub(crate) type Answer = (NodeId, io::Result<SocketAddr>);

/// Resolves names on a thread that is started with the first of them.
#[derive(Debug)]
pub(crate) struct Resolver {
    bell: Arc<Bell>,
    questions: Option<Sender<(NodeId, String)>>,
    answers: Receiver<Answer>,
    answer: Sender<Answer>,
}

impl Resolver {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        let (answer, answers) = channel();
        Self { bell, questions: None, answers, answer }
    }

    /// The address if it is numeric; otherwise the answer comes by [`try_next`](Self::try_next).
    pub(crate) fn resolve(&mut self, peer: NodeId, address: String) -> Option<SocketAddr> {
        if let Ok(numeric) = address.parse() {
            return Some(numeric);
        }
        if self.questions.is_none() {
            self.start();
        }
        let asked = self.questions.as_ref().is_some_and(|q| q.send((peer, address)).is_ok());
        if !asked {
            let _ = self.answer.send((peer, Err(io::ErrorKind::OutOfMemory.into())));
            self.bell.ring();
        }
        None
    }

    /// The next answer, if there is one.
    pub(crate) fn try_next(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    fn start(&mut self) {
        let (questions, asked) = channel();
        let (answer, bell) = (self.answer.clone(), Arc::clone(&self.bell));
        let run = move || look_up(&asked, &answer, &bell);
        if thread::Builder::new().name("resolver".into()).spawn(run).is_ok() {
            self.questions = Some(questions);
        }
    }
}

fn look_up(asked: &Receiver<(NodeId, String)>, answer: &Sender<Answer>, bell: &Bell) {
    // Each try takes the next of a name's addresses: one that nobody listens on does not hide the others.
    for (tries, (peer, name)) in asked.iter().enumerate() {
        let found = name.to_socket_addrs().and_then(|all| {
            let all: Vec<_> = all.collect();
            let turn = tries.checked_rem(all.len()).ok_or(io::ErrorKind::NotFound)?;
            all.get(turn).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
        });
        if answer.send((peer, found)).is_err() {
            return;
        }
        bell.ring();
    }
}
