//! What is sent and when: keys by their distribution, the requests about them, and the times at which the commands of an open
//! loop are due.

use quorate::codec::resp::write;
use quorate::rng::Rng;

use super::Nanos;

/// Nanoseconds of a second.
pub(super) const SECOND: Nanos = 1_000_000_000;

/// Digits of a key's number. A key is `key:` and the digits: 16 bytes, and the same names as redis-benchmark's.
const KEY_DIGITS: usize = 12;

/// The most keys that can be named.
pub(super) const MAX_KEYS: u64 = 10_u64.pow(KEY_DIGITS as u32);

/// How keys are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distribution {
    /// All alike.
    Uniform,
    /// A few are chosen often, most seldom: the n-th key with a weight of n^-0.99, as in YCSB.
    Zipf,
    /// One after the other, then again from the first.
    Sequential,
}

impl Distribution {
    /// Every distribution with its name on the command line.
    pub(super) const NAMES: [(&str, Self); 3] =
        [("uniform", Self::Uniform), ("zipf", Self::Zipf), ("sequential", Self::Sequential)];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
            Self::Sequential => "sequential",
        }
    }
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `GET`.
    Read,
    /// `SET`.
    Write,
}

/// The commands, one after the other: the same for the same seed.
#[derive(Debug)]
pub(super) struct Load {
    rng: Rng,
    keys: Keys,
    /// Of a hundred commands.
    reads: u64,
    get: Request,
    set: Request,
    /// How many replies come to a write.
    write_replies: usize,
}

impl Load {
    /// Commands of which `reads` in a hundred are reads, for `keys` keys; values of `value_bytes` bytes. With `wait` each write
    /// is followed by a `WAIT` for so many replicas.
    pub(super) fn new(
        seed: u64,
        reads: u64,
        keys: u64,
        distribution: Distribution,
        value_bytes: usize,
        wait: Option<u64>,
    ) -> Self {
        let value: Vec<u8> = (b'a'..=b'z').cycle().take(value_bytes).collect();
        Self {
            rng: Rng::new(seed),
            keys: Keys::new(keys, distribution),
            reads,
            get: Request::new("GET", None),
            set: wait.into_iter().fold(Request::new("SET", Some(&value)), Request::then_wait),
            write_replies: 1 + usize::from(wait.is_some()),
        }
    }

    /// How many replies come to a command.
    pub(super) fn replies(&self, kind: Kind) -> usize {
        match kind {
            Kind::Read => 1,
            Kind::Write => self.write_replies,
        }
    }

    /// Appends the next command to `out`.
    pub(super) fn append(&mut self, out: &mut Vec<u8>) -> Kind {
        let is_read = self.rng.chance(self.reads, 100);
        let key = self.keys.draw(&mut self.rng);
        if is_read {
            self.get.append(key, out);
            Kind::Read
        } else {
            self.set.append(key, out);
            Kind::Write
        }
    }
}

/// The bytes of a request, made once: the digits of its key are overwritten in their place.
#[derive(Debug)]
struct Request {
    bytes: Vec<u8>,
    digits_at: usize,
}

impl Request {
    fn new(command: &str, value: Option<&[u8]>) -> Self {
        let key = [&b"key:"[..], &[b'0'; KEY_DIGITS]].concat();
        let mut bytes = Vec::new();
        write::array(&mut bytes, 2 + usize::from(value.is_some()));
        write::bulk(&mut bytes, command.as_bytes());
        write::bulk(&mut bytes, &key);
        let digits_at = bytes.len() - 2 - KEY_DIGITS;
        if let Some(value) = value {
            write::bulk(&mut bytes, value);
        }
        Self { bytes, digits_at }
    }

    /// The same, and behind it a request to answer only when so many replicas have acknowledged what came before.
    fn then_wait(mut self, replicas: u64) -> Self {
        write::array(&mut self.bytes, 3);
        write::bulk(&mut self.bytes, b"WAIT");
        write::bulk(&mut self.bytes, replicas.to_string().as_bytes());
        // However long that takes.
        write::bulk(&mut self.bytes, b"0");
        self
    }

    fn append(&mut self, key: u64, out: &mut Vec<u8>) {
        let mut left = key;
        for digit in self.bytes[self.digits_at..][..KEY_DIGITS].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        out.extend_from_slice(&self.bytes);
    }
}

/// Numbers of keys, from 0.
#[derive(Debug)]
enum Keys {
    Uniform { keys: u64 },
    Zipf(Zipf),
    Sequential { keys: u64, next: u64 },
}

impl Keys {
    fn new(keys: u64, distribution: Distribution) -> Self {
        match distribution {
            Distribution::Uniform => Self::Uniform { keys },
            Distribution::Zipf => Self::Zipf(Zipf::new(keys)),
            Distribution::Sequential => Self::Sequential { keys, next: 0 },
        }
    }

    fn draw(&mut self, rng: &mut Rng) -> u64 {
        match self {
            Self::Uniform { keys } => rng.below(*keys),
            Self::Zipf(zipf) => zipf.draw(rng),
            Self::Sequential { keys, next } => {
                let key = *next;
                *next = if key + 1 < *keys { key + 1 } else { 0 };
                key
            }
        }
    }
}

/// Numbers from 0, the n-th (from 1) with a weight of n^-[`EXPONENT`](Zipf::EXPONENT).
///
/// Drawn by rejection-inversion (W. Hörmann, G. Derflinger: Rejection-inversion to generate variates from monotone discrete
/// distributions, 1996): no table, so that a billion keys cost no more than ten.
#[derive(Debug)]
struct Zipf {
    keys: f64,
    /// The integral of the weights up to the first number, where a draw begins, and up to the last, where it ends.
    first: f64,
    last: f64,
    /// How far below its rounded value a draw is taken without a second look.
    sure: f64,
}

impl Zipf {
    /// That of YCSB.
    const EXPONENT: f64 = 0.99;

    fn new(keys: u64) -> Self {
        let keys = keys as f64;
        Self {
            keys,
            first: Self::integral(1.5) - 1.0,
            last: Self::integral(keys + 0.5),
            sure: 2.0 - Self::inverse(Self::integral(2.5) - Self::weight(2.0)),
        }
    }

    fn weight(x: f64) -> f64 {
        x.powf(-Self::EXPONENT)
    }

    fn integral(x: f64) -> f64 {
        let power = 1.0 - Self::EXPONENT;
        (x.powf(power) - 1.0) / power
    }

    fn inverse(integral: f64) -> f64 {
        let power = 1.0 - Self::EXPONENT;
        (1.0 + integral * power).powf(1.0 / power)
    }

    fn draw(&self, rng: &mut Rng) -> u64 {
        loop {
            // 53 bits: all that a double holds.
            let unit = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            let under = self.last + unit * (self.first - self.last);
            let x = Self::inverse(under);
            let number = x.round().clamp(1.0, self.keys);
            if number - x <= self.sure || under >= Self::integral(number + 0.5) - Self::weight(number) {
                return number as u64 - 1;
            }
        }
    }
}

/// When the commands of an open loop are due: at equal distances, whatever the server does.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Commands in a second.
    rate: u64,
    /// How many commands were taken.
    taken: u64,
}

impl Schedule {
    /// So many commands in a second, the first at 0.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate, taken: 0 }
    }

    /// When the next command is due.
    pub(super) fn next(&self) -> Nanos {
        // The remainder is below the rate, so that the product fits for every rate up to one command in a nanosecond.
        self.taken / self.rate * SECOND + self.taken % self.rate * SECOND / self.rate
    }

    /// Takes the next command and says when it was due, if that is not after `now`.
    pub(super) fn take(&mut self, now: Nanos) -> Option<Nanos> {
        let due = self.next();
        (due <= now).then(|| {
            self.taken += 1;
            due
        })
    }

    /// Leaves out what was due before `now` and is not taken.
    pub(super) fn skip_to(&mut self, now: Nanos) {
        self.taken += self.behind(now);
    }

    /// How many commands were due before `now` and are not taken.
    pub(super) fn behind(&self, now: Nanos) -> u64 {
        let due = (u128::from(now) * u128::from(self.rate)).div_ceil(u128::from(SECOND));
        u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 200_000;

    /// How often each key comes.
    fn counts(keys: u64, distribution: Distribution) -> Vec<u64> {
        let (mut rng, mut drawn) = (Rng::new(1), Keys::new(keys, distribution));
        let mut counts = vec![0; keys as usize];
        (0..DRAWS).for_each(|_| counts[drawn.draw(&mut rng) as usize] += 1);
        counts
    }

    fn near(count: u64, share: f64) -> bool {
        let expected = share * DRAWS as f64;
        // Five standard deviations.
        (count as f64 - expected).abs() <= 5.0 * expected.sqrt()
    }

    #[test]
    fn uniform_keys_have_equal_shares() {
        assert!(counts(100, Distribution::Uniform).iter().all(|&count| near(count, 0.01)));
    }

    #[test]
    fn zipf_keys_have_shares_by_their_rank() {
        for keys in [1, 2, 3, 1000] {
            let total: f64 = (1..=keys).map(|n| Zipf::weight(n as f64)).sum();
            let counts = counts(keys, Distribution::Zipf);
            for (rank, &count) in counts.iter().enumerate() {
                let share = Zipf::weight(rank as f64 + 1.0) / total;
                assert!(near(count, share), "key {rank} of {keys}: {count}, not {}", share * DRAWS as f64);
            }
        }
    }

    #[test]
    fn zipf_keys_of_the_largest_number_are_within_it() {
        let (zipf, mut rng) = (Zipf::new(MAX_KEYS), Rng::new(1));
        let drawn: Vec<_> = (0..1000).map(|_| zipf.draw(&mut rng)).collect();
        assert!(drawn.iter().all(|&key| key < MAX_KEYS));
        assert!(drawn.iter().any(|&key| key > MAX_KEYS / 1000));
    }

    #[test]
    fn sequential_keys_come_round() {
        let (mut rng, mut keys) = (Rng::new(1), Keys::new(3, Distribution::Sequential));
        let drawn: Vec<_> = (0..7).map(|_| keys.draw(&mut rng)).collect();
        assert_eq!(drawn, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn commands_are_requests_in_the_shares_asked_for() {
        let mut load = Load::new(1, 0, 50, Distribution::Sequential, 3, None);
        let mut out = Vec::new();
        for _ in 0..43 {
            out.clear();
            assert_eq!(load.append(&mut out), Kind::Write);
        }
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$3\r\nabc\r\n");
        let mut load = Load::new(1, 0, 50, Distribution::Sequential, 1, Some(2));
        out.clear();
        load.append(&mut out);
        assert!(
            out.ends_with(b"$1\r\na\r\n*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$1\r\n0\r\n"),
            "{}",
            out.escape_ascii()
        );
        let mut load = Load::new(1, 100, MAX_KEYS, Distribution::Uniform, 3, None);
        out.clear();
        assert_eq!(load.append(&mut out), Kind::Read);
        assert!(out.starts_with(b"*2\r\n$3\r\nGET\r\n$16\r\nkey:"), "{}", out.escape_ascii());
        let mut load = Load::new(1, 30, 50, Distribution::Uniform, 3, None);
        let reads = (0..DRAWS).filter(|_| load.append(&mut Vec::new()) == Kind::Read).count();
        assert!(near(reads as u64, 0.3), "{reads}");
    }

    #[test]
    fn commands_are_due_at_equal_distances_however_late_they_are_taken() {
        let mut schedule = Schedule::new(3);
        assert_eq!(schedule.take(0), Some(0));
        assert_eq!(schedule.take(333_333_332), None);
        assert_eq!(schedule.take(333_333_333), Some(333_333_333));
        assert_eq!(schedule.behind(SECOND), 1);
        assert_eq!(schedule.behind(SECOND + 1), 2);
        // Held up for two seconds: what was due is taken with the times at which it was due.
        let late: Vec<_> = std::iter::from_fn(|| schedule.take(2 * SECOND)).collect();
        assert_eq!(late, [666_666_666, SECOND, 1_333_333_333, 1_666_666_666, 2 * SECOND]);
        assert_eq!((schedule.next(), schedule.behind(2 * SECOND)), (2_333_333_333, 0));
    }

    #[test]
    fn what_is_skipped_is_never_due_again() {
        let mut schedule = Schedule::new(3);
        schedule.skip_to(2 * SECOND);
        assert_eq!(
            std::iter::from_fn(|| schedule.take(2_400_000_000)).collect::<Vec<_>>(),
            [2 * SECOND, 2_333_333_333]
        );
        schedule.skip_to(2 * SECOND);
        assert_eq!(schedule.next(), 2_666_666_666);
    }

    #[test]
    fn the_highest_rate_of_a_long_run_does_not_overflow() {
        let day = 86_400;
        let schedule = Schedule { rate: SECOND, taken: day * SECOND + 7 };
        assert_eq!(schedule.next(), day * SECOND + 7);
        assert_eq!(schedule.behind((day + 1) * SECOND), SECOND - 7);
    }
}
