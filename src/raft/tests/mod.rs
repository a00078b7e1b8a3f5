//! Tests of the whole core.

mod cluster;
mod conduct;
mod golden;
mod guards;
mod membership;
mod one;
mod random;
mod text;
mod traps;
