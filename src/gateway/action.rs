//! The door out of a connection.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::pipeline::Gathered;
use crate::node::RequestId;
use crate::replica::Request;

/// Something a connection asks of its driver.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Step `node::Event::Request` with these.
    Request {
        /// The request's name.
        id: RequestId,
        /// The connection's epoch.
        epoch: u32,
        /// What is asked.
        request: Request,
    },
    /// Gather the lines of all connections and step `Event::Clients`.
    ListClients,
    /// Step `node::Event::TakeSnapshot`.
    TakeSnapshot,
    /// Close the connection as soon as its output is written.
    Close,
}

/// Commands that take so many bytes at most share an allocation.
const SHORT: usize = 2 << 10;

/// Most bytes that an argument takes besides its own.
const EACH: usize = 10;

/// The length of such an allocation: what a small command that waits keeps alive at most.
const BLOCK: usize = 16 << 10;

/// What connections ask for, in order, and the memory in which their commands are packed: who steps many connections with the
/// same one has an allocation for many commands.
#[derive(Debug, Default)]
pub struct Actions {
    list: VecDeque<Action>,
    /// Empty between steps.
    pub(super) gathered: Gathered,
    pub(super) space: BytesMut,
}

impl Actions {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<Action> {
        self.list.pop_front()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn push(&mut self, action: Action) {
        self.list.push_back(action);
    }

    /// Where a command of these arguments may be packed beside others, if it is short. Many empty ones are not.
    pub(super) fn space_for(&mut self, arguments: &[Bytes]) -> Option<&mut BytesMut> {
        if arguments.iter().map(|argument| argument.len() + EACH).sum::<usize>() > SHORT {
            return None;
        }
        if self.space.capacity() < SHORT {
            self.space.reserve(BLOCK);
        }
        Some(&mut self.space)
    }
}
