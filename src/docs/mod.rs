//! The prose: architecture, the contract with a driver, invariants, what can go wrong with a disk, testing.

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("io_contract.md")]
pub mod io_contract {}

#[doc = include_str!("invariants.md")]
pub mod invariants {}

#[cfg(feature = "sim")]
#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("storage_rows.md")]
pub mod storage_rows {}
