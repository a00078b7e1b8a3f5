//! Wakes the event loop from another thread, at the cost of a system call only when the loop sleeps.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use mio::{Poll, Token, Waker};

/// A waker that knows whether anybody sleeps.
#[derive(Debug)]
pub struct Bell {
    waker: Waker,
    asleep: AtomicBool,
    /// Whether it was rung since the loop looked.
    rung: AtomicBool,
}

impl Bell {
    /// A bell that wakes `poll` with an event for `token`.
    pub fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        Ok(Self {
            waker: Waker::new(poll.registry(), token)?,
            asleep: AtomicBool::new(false),
            rung: AtomicBool::new(false),
        })
    }

    /// To be called by another thread after it has put something where the loop looks.
    pub fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        // Either this sees that the loop is about to sleep, or the loop, which asks once more after it has said so, sees
        // that it was rung: the two fences forbid that both miss.
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // A wake that fails leaves only a delay: the loop sleeps no longer than its next timer.
            let _ = self.waker.wake();
        }
    }

    /// Whether there may be something where the loop looks, put there since it asked last.
    pub fn was_rung(&self) -> bool {
        // Most turns end here, at the price of a plain load.
        self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel)
    }

    /// To be called by the loop before it asks a last time whether it [was rung](Self::was_rung), and then sleeps.
    pub fn lie_down(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// To be called by the loop when it is awake: until it lies down again, ringing costs nothing.
    pub fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::Events;
    use std::sync::Arc;
    use std::sync::mpsc::{channel, sync_channel};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn nothing_that_was_put_there_is_slept_over() {
        const ROUNDS: u32 = 20_000;
        let mut poll = Poll::new().unwrap();
        let bell = Arc::new(Bell::new(&poll, Token(0)).unwrap());
        let (question, questions) = channel();
        let (answer, answers) = sync_channel(1);
        let ringer = Arc::clone(&bell);
        let other = thread::spawn(move || {
            for n in questions {
                answer.send(n).unwrap();
                ringer.ring();
            }
        });
        let mut events = Events::with_capacity(4);
        for n in 0..ROUNDS {
            question.send(n).unwrap();
            loop {
                bell.lie_down();
                if bell.was_rung() {
                    bell.get_up();
                    assert_eq!(answers.try_recv(), Ok(n));
                    break;
                }
                poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
                bell.get_up();
                assert!(!events.is_empty(), "the ring of round {n} was lost");
            }
        }
        drop(question);
        other.join().unwrap();
    }

    #[test]
    fn ringing_wakes_nobody_who_is_awake() {
        let mut poll = Poll::new().unwrap();
        let bell = Bell::new(&poll, Token(0)).unwrap();
        let mut events = Events::with_capacity(4);
        bell.ring();
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
        bell.lie_down();
        bell.ring();
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(!events.is_empty());
    }
}
