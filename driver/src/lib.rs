//! The mio driver of Quorate: it performs what the library decides.
