//! A state machine whose slow commands are noted. The library has no clock; this one is around what it runs.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem;
use std::time::Instant;

use quorate::gateway::{SlowCommand, SlowLog};
use quorate::replica::{Context, RestoreError, Restorer, StateMachine, StateSize};
use quorate::time::Millis;

/// A state machine of packed [`kv`](quorate::kv) commands with the time that each of them takes.
#[derive(Debug)]
pub struct Timed<S> {
    state: S,
    /// How much work the command or query is that runs next, as far as the state machine could tell.
    expected: Cell<u64>,
    /// What was slow since somebody asked: at most as many as the slow log keeps.
    slow: RefCell<Vec<SlowCommand>>,
}

impl<S> Timed<S> {
    fn new(state: S) -> Self {
        Self { state, expected: Cell::new(u64::MAX), slow: RefCell::default() }
    }

    /// What was slow since the last call of this.
    pub fn take_slow(&self) -> Vec<SlowCommand> {
        mem::take(&mut self.slow.borrow_mut())
    }
}

/// Less work than this is not timed, in about nanoseconds: what takes a hundred times as long as it should has lost the
/// processor. To look at a clock twice for each command would cost more than most commands do.
const TIMED: u64 = SlowLog::THRESHOLD * 1_000 / 100;

/// The clock at the start of a command that is worth timing; `expected` is how much work it is, if somebody has asked.
fn started(expected: &Cell<u64>) -> Option<Instant> {
    (expected.replace(u64::MAX) >= TIMED).then(Instant::now)
}

/// Notes a command that has run since `start` if that is long.
fn note(slow: &RefCell<Vec<SlowCommand>>, packed: &[u8], start: Option<Instant>) {
    let Some(start) = start else { return };
    let spent = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    if spent >= SlowLog::THRESHOLD {
        let mut slow = slow.borrow_mut();
        if slow.len() < SlowLog::MAX {
            slow.push(SlowCommand::new(packed, spent));
        }
    }
}

impl<S: StateMachine> StateMachine for Timed<S> {
    type View = S::View;
    type Restorer = TimedRestorer<S>;

    fn empty(seed: u128) -> Self {
        Self::new(S::empty(seed))
    }

    fn apply(&mut self, context: Context, command: &[u8], out: &mut Vec<u8>) {
        let start = started(&self.expected);
        self.state.apply(context, command, out);
        note(&self.slow, command, start);
    }

    fn query(&self, context: Context, query: &[u8], out: &mut Vec<u8>) {
        let start = started(&self.expected);
        self.state.query(context, query, out);
        note(&self.slow, query, start);
    }

    fn next_deadline(&self) -> Option<Millis> {
        self.state.next_deadline()
    }

    fn expire(&mut self, context: Context, most: usize) {
        self.state.expire(context, most);
    }

    fn take_garbage(&mut self) -> Option<Box<dyn Any + Send>> {
        self.state.take_garbage()
    }

    fn prefetch<'a>(&self, commands: impl Iterator<Item = &'a [u8]>) {
        self.state.prefetch(commands);
    }

    fn view(&self) -> S::View {
        self.state.view()
    }

    fn restorer() -> Self::Restorer {
        TimedRestorer(S::restorer())
    }

    fn digest(&self) -> u128 {
        self.state.digest()
    }

    fn size(&self) -> StateSize {
        self.state.size()
    }

    fn work(&self, command: &[u8]) -> u64 {
        let work = self.state.work(command);
        self.expected.set(work);
        work
    }
}

/// Builds a timed state machine.
#[derive(Debug)]
pub struct TimedRestorer<S: StateMachine>(S::Restorer);

impl<S: StateMachine> Restorer for TimedRestorer<S> {
    type State = Timed<S>;

    fn push(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        self.0.push(chunk)
    }

    fn finish(self) -> Result<Timed<S>, RestoreError> {
        self.0.finish().map(Timed::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::kv::{Call, parse};
    use quorate::replica::Whole;
    use std::thread;
    use std::time::Duration;

    /// Takes its time for everything, and counts the pieces that it was told to do.
    #[derive(Debug)]
    struct Sleeper(usize);

    impl TryFrom<Vec<u8>> for Sleeper {
        type Error = RestoreError;

        fn try_from(_: Vec<u8>) -> Result<Self, RestoreError> {
            Ok(Self(0))
        }
    }

    impl StateMachine for Sleeper {
        type View = Vec<u8>;
        type Restorer = Whole<Self>;

        fn empty(_: u128) -> Self {
            Self(0)
        }

        fn apply(&mut self, context: Context, command: &[u8], out: &mut Vec<u8>) {
            self.query(context, command, out);
        }

        fn query(&self, _: Context, _: &[u8], out: &mut Vec<u8>) {
            thread::sleep(Duration::from_micros(SlowLog::THRESHOLD));
            out.extend_from_slice(b"+OK\r\n");
        }

        fn view(&self) -> Vec<u8> {
            Vec::new()
        }

        fn restorer() -> Self::Restorer {
            Whole::default()
        }

        fn digest(&self) -> u128 {
            0
        }

        fn next_deadline(&self) -> Option<Millis> {
            Some(7)
        }

        fn expire(&mut self, _: Context, most: usize) {
            self.0 += most;
        }

        fn take_garbage(&mut self) -> Option<Box<dyn Any + Send>> {
            Some(Box::new(mem::take(&mut self.0)))
        }

        fn size(&self) -> StateSize {
            StateSize { keys: 3, mortal: 2 }
        }

        fn work(&self, command: &[u8]) -> u64 {
            command.len() as u64
        }
    }

    /// What a trait does by default, a wrapper that forgets it does as well: nothing would say so.
    #[test]
    fn all_that_a_state_machine_may_do_is_passed_on() {
        let mut timed = Timed::<Sleeper>::empty(1);
        assert_eq!((timed.next_deadline(), timed.work(b"four")), (Some(7), 4));
        assert_eq!(timed.size(), StateSize { keys: 3, mortal: 2 });
        timed.expire(Context::at(1, 0), 5);
        let garbage = timed.take_garbage().and_then(|garbage| garbage.downcast::<usize>().ok());
        assert_eq!(garbage.as_deref(), Some(&5));
    }

    #[test]
    fn what_is_little_work_is_not_timed_and_what_nobody_has_asked_about_is() {
        let mut timed = Timed::<Sleeper>::empty(1);
        let mut out = Vec::new();
        let mut run = |timed: &mut Timed<Sleeper>| {
            timed.apply(Context::at(1, 0), b"x", &mut out);
            timed.take_slow().len()
        };
        timed.work(b"little");
        assert_eq!(run(&mut timed), 0);
        timed.work(&[0; TIMED as usize]);
        assert_eq!(run(&mut timed), 1);
        assert_eq!(run(&mut timed), 1, "what was asked was about another one");
    }

    #[test]
    fn what_takes_long_is_noted_once_whether_it_writes_or_reads() {
        let restored = Timed::<Sleeper>::restorer().finish().expect("it takes all");
        for mut timed in [Timed::<Sleeper>::empty(1), restored] {
            let packed = parse(&["get", "key"].map(|word| word.as_bytes().to_vec().into()));
            let Ok(Call::Read(packed)) = packed else { panic!("{packed:?}") };
            let mut out = Vec::new();
            timed.apply(Context::at(1, 0), &packed, &mut out);
            timed.query(Context::at(1, 0), &packed, &mut out);
            assert_eq!(out, b"+OK\r\n+OK\r\n");
            assert_eq!(timed.take_slow().len(), 2);
            assert!(timed.take_slow().is_empty());
        }
    }
}
