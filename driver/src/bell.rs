//! Wakes the event loop from another thread, at the cost of a system call only when the loop sleeps.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use mio::{Poll, Token, Waker};

/// A waker that knows whether anybody sleeps.
#[derive(Debug)]
pub struct Bell {
    waker: Waker,
    asleep: AtomicBool,
}

impl Bell {
    /// A bell that wakes `poll` with an event for `token`.
    pub fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        Ok(Self { waker: Waker::new(poll.registry(), token)?, asleep: AtomicBool::new(false) })
    }

    /// To be called by another thread after it has put something where the loop looks.
    pub fn ring(&self) {
        // Either this sees that the loop is about to sleep, or the loop, which looks once more after it has said so, sees
        // what was put there: the two fences forbid that both miss.
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // A wake that fails leaves only a delay: the loop sleeps no longer than its next timer.
            let _ = self.waker.wake();
        }
    }

    /// To be called by the loop before it looks a last time for what other threads have put there, and then sleeps.
    pub fn lie_down(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// To be called by the loop when it is awake: until it lies down again, ringing costs nothing.
    pub fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}
