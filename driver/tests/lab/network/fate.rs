//! What becomes of one message: the lab's rules, without sockets and clocks.
//!
//! | message | on the unreliable net | on a dead link |
//! | --- | --- | --- |
//! | request between cores | 0 to 26 ms late, then one in ten is lost | lost |
//! | reply between cores | one in ten is lost | lost |
//! | hello, forwarded requests | 0 to 26 ms late, in order; at one in a hundred the connection breaks | the connection breaks |
//! | any other frame between nodes | at one in a hundred the connection breaks | the connection breaks |
//! | a clerk's request | 0 to 26 ms late, then at one in ten the connection breaks | the connection breaks |
//! | the reply to a clerk | at one in ten the connection breaks | the connection breaks |
//!
//! The lab tells a caller at once that its call has failed. Between cores silence says the same, for a later message makes up
//! for a lost one. A clerk's connection that breaks is that word. Frames that are no messages between cores (the handshake,
//! forwarded requests) rely on their connection as on any TCP connection: they arrive in order or it ends. TCP repeats what
//! a network loses, so that most losses only cost them time.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::rng::Rng;

/// One who sends and receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// A server, by its id.
    Server(u64),
    /// A clerk, by its number.
    Clerk(u64),
}

/// What a message is to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A message between cores that asks for another one.
    Request,
    /// The answer to one.
    Reply,
    /// Any other frame between nodes; `true` for those that ask for an answer.
    Ordered(bool),
    /// A clerk's request.
    Call,
    /// A server's reply to a clerk.
    Return,
}

impl Class {
    /// Whether a message of this class may be missing without an end of its connection.
    pub(crate) fn is_loose(self) -> bool {
        matches!(self, Self::Request | Self::Reply)
    }

    /// Whether it counts as a call of the lab's.
    pub(crate) fn is_call(self) -> bool {
        matches!(self, Self::Request | Self::Call | Self::Ordered(true))
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives so much later.
    Arrives(Duration),
    /// It does not.
    Lost,
    /// Its connection ends so much later, and nothing arrives behind what was sent before.
    Breaks(Duration),
}

/// The state of the net.
#[derive(Debug)]
pub(crate) struct Rules {
    rng: Rng,
    unreliable: bool,
    dead: BTreeSet<(Party, Party)>,
}

impl Rules {
    /// A reliable net on which all reach all.
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), unreliable: false, dead: BTreeSet::new() }
    }

    pub(crate) fn set_unreliable(&mut self, unreliable: bool) {
        self.unreliable = unreliable;
    }

    /// Lets both directions between two parties die, or live.
    pub(crate) fn set_dead(&mut self, a: Party, b: Party, dead: bool) {
        for pair in [(a, b), (b, a)] {
            if dead {
                self.dead.insert(pair);
            } else {
                self.dead.remove(&pair);
            }
        }
    }

    /// All links live.
    pub(crate) fn heal(&mut self) {
        self.dead.clear();
    }

    pub(crate) fn is_dead(&self, from: Party, to: Party) -> bool {
        self.dead.contains(&(from, to))
    }

    /// What becomes of a message that is sent now.
    pub(crate) fn fate(&mut self, from: Party, to: Party, class: Class) -> Fate {
        if self.is_dead(from, to) {
            return self.swallow(class);
        }
        if !self.unreliable {
            return Fate::Arrives(Duration::ZERO);
        }
        let late = match class {
            Class::Request | Class::Ordered(true) | Class::Call => self.milliseconds(27),
            Class::Reply | Class::Ordered(false) | Class::Return => Duration::ZERO,
        };
        let lost = match class {
            Class::Ordered(_) => self.rng.chance(10, 1000),
            Class::Request | Class::Reply | Class::Call | Class::Return => self.rng.chance(100, 1000),
        };
        match (lost, class.is_loose()) {
            (false, _) => Fate::Arrives(late),
            (true, true) => Fate::Lost,
            (true, false) => Fate::Breaks(late),
        }
    }

    /// What becomes of a message whose link is dead, when it is sent or when it would arrive.
    pub(crate) fn swallow(&mut self, class: Class) -> Fate {
        if class.is_loose() { Fate::Lost } else { Fate::Breaks(self.milliseconds(100)) }
    }

    fn milliseconds(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.rng.below(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Party = Party::Server(1);
    const B: Party = Party::Server(2);
    const C: Party = Party::Clerk(1);

    /// Of 4,000 messages: how many arrive, are lost, break their connection, and the longest delay.
    fn of_4000(rules: &mut Rules, class: Class) -> (usize, usize, usize, u128) {
        let fates: Vec<_> = (0..4000).map(|_| rules.fate(A, B, class)).collect();
        let longest = fates.iter().filter_map(|fate| match fate {
            Fate::Arrives(late) | Fate::Breaks(late) => Some(late.as_millis()),
            Fate::Lost => None,
        });
        let count = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count();
        (
            count(|fate| matches!(fate, Fate::Arrives(_))),
            count(|fate| matches!(fate, Fate::Lost)),
            count(|fate| matches!(fate, Fate::Breaks(_))),
            longest.max().unwrap_or(0),
        )
    }

    #[test]
    fn a_reliable_net_delivers_all_at_once() {
        let mut rules = Rules::new(1);
        for class in [Class::Request, Class::Reply, Class::Ordered(false), Class::Call, Class::Return] {
            assert_eq!(of_4000(&mut rules, class), (4000, 0, 0, 0), "{class:?}");
        }
    }

    #[test]
    fn the_unreliable_net_is_as_bad_as_the_lab_says() {
        let mut rules = Rules::new(2);
        rules.set_unreliable(true);
        for (class, loose, ordered, longest) in [
            (Class::Request, 320..480, 0..1, 26),
            (Class::Reply, 320..480, 0..1, 0),
            (Class::Ordered(true), 0..1, 20..60, 26),
            (Class::Ordered(false), 0..1, 20..60, 0),
            (Class::Call, 0..1, 320..480, 26),
            (Class::Return, 0..1, 320..480, 0),
        ] {
            let (arrived, lost, broken, late) = of_4000(&mut rules, class);
            assert!(loose.contains(&lost), "{class:?}: {lost} lost");
            assert!(ordered.contains(&broken), "{class:?}: {broken} broken");
            assert_eq!((arrived + lost + broken, late), (4000, longest), "{class:?}");
        }
    }

    #[test]
    fn a_dead_link_swallows_what_may_be_lost_and_ends_the_connection_of_the_rest() {
        let mut rules = Rules::new(3);
        rules.set_dead(A, B, true);
        assert_eq!(of_4000(&mut rules, Class::Request), (0, 4000, 0, 0));
        assert_eq!(of_4000(&mut rules, Class::Ordered(true)).2, 4000);
        assert_eq!(rules.fate(B, A, Class::Reply), Fate::Lost, "both directions are dead");
        assert!(matches!(rules.fate(C, B, Class::Call), Fate::Arrives(_)), "clerks have links of their own");
        rules.set_dead(B, A, false);
        assert_eq!(of_4000(&mut rules, Class::Request), (4000, 0, 0, 0));
        rules.set_dead(C, A, true);
        rules.heal();
        assert!(!rules.is_dead(C, A));
    }
}
