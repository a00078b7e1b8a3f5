//! The mio driver of Quorate: it performs what the library decides.
#![forbid(unsafe_code)]

mod bell;
pub mod disk;
pub mod directory_lock;
pub mod job_lane;
pub mod log_lane;
