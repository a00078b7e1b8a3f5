//! Tests of the whole core.

mod cluster;
mod golden;
mod random;
mod text;
mod traps;
