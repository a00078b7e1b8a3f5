//! The two languages as pure parsers and writers: frames between peers, RESP with clients.

pub mod frame;
pub mod input;
pub mod resp;
