//! The node's one wake-up time, and when it may be acted upon.
//!
//! A process that is held up, for want of a CPU or with its whole machine, must not take the time that it lost for its leader's
//! silence: the heartbeats of that time wait in its sockets. So the node is woken only in a turn whose poll was asked when its
//! time had come already: whatever came before that is read in this turn.

use quorate::time::Micros;

/// A turn that takes longer than this from the poll to the clock was held up: more may have come meanwhile. Microseconds.
const HELD_UP: Micros = 5_000;

/// The wake-up time.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    at: Option<Micros>,
    /// When the sockets were last asked for what has come.
    asked: Micros,
    /// The last turn was held up and put the wake-up off.
    put_off: bool,
}

impl Alarm {
    /// The node wants to be woken then, and not at the time that it said before.
    pub(crate) fn set(&mut self, at: Micros) {
        self.at = Some(at);
    }

    /// When to wake the node.
    pub(crate) fn at(&self) -> Option<Micros> {
        self.at
    }

    /// The sockets are about to be asked for what has come.
    pub(crate) fn ask(&mut self, now: Micros) {
        self.asked = now;
    }

    /// Whether the node is to be woken in this turn, which has read what the sockets had; if so, that is done with.
    ///
    /// A turn that was held up after its poll puts it off to the next one; not twice in a row, for a node that always has
    /// much to read has to be woken, too.
    pub(crate) fn rings(&mut self, now: Micros) -> bool {
        if self.at.is_none_or(|at| at > self.asked) {
            return false;
        }
        self.put_off = !self.put_off && now.saturating_sub(self.asked) > HELD_UP;
        if self.put_off {
            return false;
        }
        self.at = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_comes_after_the_sockets_were_asked_is_left_to_the_next_turn() {
        let mut alarm = Alarm::default();
        alarm.set(1_000);
        alarm.ask(900);
        assert!(!alarm.rings(1_000), "a heartbeat may have come between the poll and the clock");
        alarm.ask(1_001);
        assert!(alarm.rings(1_010));
        assert_eq!(alarm.at(), None);
        alarm.ask(2_000);
        assert!(!alarm.rings(2_000), "it rings once");
    }

    #[test]
    fn a_turn_that_was_held_up_reads_once_more_before_it_rings() {
        let mut alarm = Alarm::default();
        alarm.set(1_000);
        alarm.ask(1_000);
        assert!(!alarm.rings(500_000));
        assert_eq!(alarm.at(), Some(1_000), "the next poll only looks");
        alarm.ask(500_100);
        assert!(alarm.rings(500_200));
    }

    #[test]
    fn turns_that_are_always_long_do_not_put_it_off_for_ever() {
        let mut alarm = Alarm::default();
        alarm.set(0);
        let rung = (1..=10).filter(|turn| {
            alarm.set(0);
            alarm.ask(turn * 100_000);
            alarm.rings(turn * 100_000 + 90_000)
        });
        assert_eq!(rung.count(), 5);
    }
}
