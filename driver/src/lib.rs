//! The mio driver of Quorate: it performs what the library decides.
#![forbid(unsafe_code)]

mod bell;
pub mod blocking_client;
pub mod cli;
mod clients;
mod clock;
pub mod directory_lock;
pub mod disk;
pub mod event_loop;
pub mod fleet;
pub mod job_lane;
mod listener;
pub mod log_lane;
pub mod node_info;
pub mod peer;
mod process;
mod resolver;
pub mod signals;
mod slots;
pub mod stderr;
#[cfg(test)]
mod testing;
