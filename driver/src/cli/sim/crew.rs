//! Several threads at one list of independent jobs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Does the jobs `0..count` on `threads` threads and hands each result to `take`, as it comes. When `take` says no, no more
/// jobs are begun.
pub(super) fn work<T: Send>(
    threads: usize,
    count: u64,
    job: impl Fn(u64) -> T + Sync,
    mut take: impl FnMut(u64, T) -> bool,
) {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (result, results) = mpsc::channel();
        for _ in 0..threads.max(1).min(usize::try_from(count).unwrap_or(usize::MAX)) {
            let (result, next, stop, job) = (result.clone(), &next, &stop, &job);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || result.send((number, job(number))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(result);
        for (number, result) in results {
            if !take(number, result) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
}

/// A progress bar on standard error, if that is a terminal.
pub(super) fn bar(count: u64, what: &'static str) -> ProgressBar {
    let template = format!("{{bar:32}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left  {{msg}}");
    let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr_with_hz(4));
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_job_is_done_once_and_none_after_a_no() {
        let mut done = Vec::new();
        work(
            3,
            100,
            |n| n * n,
            |n, square| {
                assert_eq!(square, n * n);
                done.push(n);
                true
            },
        );
        assert_eq!((done.len(), done.into_iter().collect::<BTreeSet<_>>().len()), (100, 100));
        let mut taken = 0;
        work(
            1,
            u64::MAX,
            |n| n,
            |n, _| {
                taken += 1;
                n < 5
            },
        );
        assert!((6..20_000_000).contains(&taken));
    }
}
