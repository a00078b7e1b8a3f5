//! The two languages as pure parsers and writers: frames between peers, RESP with clients.

pub mod forward;
pub mod frame;
pub mod input;
mod numbers;
pub mod peer;
pub mod resp;
