//! Time since the run began, and an alarm that is finer than a poll's timeout.

use std::io;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

use super::Nanos;

/// Nanoseconds since it was started.
#[derive(Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> Nanos {
        // 584 years.
        self.0.elapsed().as_nanos() as Nanos
    }
}

/// Ends a poll in time for a command that is due. A poll's own timeout is of whole milliseconds, and what it is late would be
/// taken for the server's latency.
#[derive(Debug)]
pub(super) struct Alarm(imp::Timer);

impl Alarm {
    /// An alarm that shows as an event of `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        imp::Timer::new(registry, token).map(Self)
    }

    /// Has the next poll end in `left`, if it is given the timeout that this returns: at most `most`.
    pub(super) fn set(&mut self, left: Duration, most: Duration) -> io::Result<Duration> {
        // Times beyond the poll's own end need no alarm.
        if left >= most { Ok(most) } else { self.0.set(left, most) }
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    #[derive(Debug)]
    pub(super) struct Timer(OwnedFd);

    impl Timer {
        pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(timer))
        }

        /// Setting it anew also takes back what it has told: nothing needs to be read.
        pub(super) fn set(&mut self, left: Duration, most: Duration) -> io::Result<Duration> {
            let never = Timespec { tv_sec: 0, tv_nsec: 0 };
            // A timer of 0 is one that is switched off.
            let nanos = left.subsec_nanos().max(u32::from(left.is_zero()));
            let value = Timespec { tv_sec: left.as_secs() as _, tv_nsec: nanos as _ };
            timerfd_settime(
                &self.0,
                TimerfdTimerFlags::empty(),
                &Itimerspec { it_interval: never, it_value: value },
            )?;
            Ok(most)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    #[derive(Debug)]
    pub(super) struct Timer;

    impl Timer {
        pub(super) fn new(_: &Registry, _: Token) -> io::Result<Self> {
            Ok(Self)
        }

        /// Without a finer timer the last two milliseconds are polled through.
        pub(super) fn set(&mut self, left: Duration, _: Duration) -> io::Result<Duration> {
            Ok(left.saturating_sub(Duration::from_millis(2)))
        }
    }
}
