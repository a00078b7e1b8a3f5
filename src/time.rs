//! Time as the library knows it: two numbers that the driver reads and hands in with each step.
//!
//! The monotonic clock drives timers and nothing else; the wall clock stamps entries, for expiry. Safety never
//! depends on either.

/// Microseconds of a monotonic clock, from an origin of the driver's choice.
pub type Micros = u64;

/// Milliseconds of Unix time.
pub type Millis = u64;

/// The two clocks, read together just before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Microseconds of the monotonic clock; never less than in an earlier step (a smaller value is taken as equal).
    pub mono: Micros,
    /// Milliseconds of Unix time by this machine's wall clock; may jump in both directions.
    pub wall: Millis,
}

impl Now {
    /// Both clocks at once.
    pub const fn new(mono: Micros, wall: Millis) -> Self {
        Self { mono, wall }
    }
}
