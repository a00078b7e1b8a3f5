//! Replicas over real cores, in memory.

mod cluster;
mod one;
mod three;
