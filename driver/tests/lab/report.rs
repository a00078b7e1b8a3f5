//! What a test has cost, in the lab's own form.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::network::Sent;
use crate::pace::Pace;
use crate::service::Service;

/// How many tests may begin.
static FREE: Mutex<Option<u32>> = Mutex::new(None);

/// One has ended.
static ENDED: Condvar = Condvar::new();

/// The right to run: the tests share one machine, and most of them wait for disks and delays most of the time. What is
/// measured runs alone.
pub(crate) struct Turn(());

impl Turn {
    pub(crate) fn wait() -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        while *free.get_or_insert(if Pace::is_full() { 1 } else { 2 }) == 0 {
            free = ENDED.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free = free.map(|free| free - 1);
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.map(|free| free + 1);
        ENDED.notify_one();
    }
}

/// Measures one of the lab's tests.
pub(crate) struct Report {
    title: String,
    began: Instant,
    sent: Sent,
    operations: usize,
}

impl Report {
    pub(crate) fn begin(title: &str, service: &Service) -> Self {
        Self {
            title: title.to_owned(),
            began: Instant::now(),
            sent: service.network.sent(),
            operations: service.book.operations(),
        }
    }

    /// Says that the test has passed: seconds, servers, calls of the lab's kind, all messages, bytes, clerks' calls.
    pub(crate) fn passed(self, service: &Service) {
        let Self { title, began, sent, operations } = self;
        let (seconds, now) = (began.elapsed().as_secs_f64(), service.network.sent());
        let (calls, messages) = (now.calls - sent.calls, now.messages - sent.messages);
        let bytes = now.bytes - sent.bytes;
        let operations = service.book.operations() - operations;
        let servers = service.ids().len();
        say(&format!(
            "Test: {title} ... passed: {seconds:.1} s, {servers} servers, {calls} calls, {messages} messages, {bytes} bytes, \
             {operations} ops"
        ));
    }
}

/// Says a line: past the capturing of output when a person has asked for the lab's own durations.
pub(crate) fn say(line: &str) {
    if Pace::is_full() {
        let _ = writeln!(io::stderr().lock(), "{line}");
    } else {
        println!("{line}");
    }
}
