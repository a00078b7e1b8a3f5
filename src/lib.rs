#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "sim"))]
extern crate std;

#[macro_use]
mod planted;

pub mod client;
pub mod codec;
#[cfg(any(doc, test))]
pub mod docs;
pub mod gateway;
pub mod kv;
pub mod node;
pub mod raft;
pub mod replica;
pub mod rng;
#[cfg(feature = "sim")]
pub mod sim;
pub mod storage;
pub mod time;
