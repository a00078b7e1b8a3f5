//! Replicas over real cores, in memory.

mod ahead;
mod cluster;
mod one;
mod seams;
mod three;
mod ticks;
mod work;
