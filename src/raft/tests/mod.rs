//! Tests of the whole core.

mod cluster;
mod random;
mod text;
