//! The mio driver of Quorate: it performs what the library decides, and decides nothing itself.
//!
//! A node is one process with one [event loop](event_loop) and a few helper threads. The loop alone touches sockets and the
//! [`Node`](quorate::node::Node); the threads do what may take long.
//!
//! # One turn of the loop, in order
//!
//! 1. **Sleep** until a socket is ready, a thread rings, or the earliest of the node's wake-up time, the clients' and the
//!    links' deadlines has come. If work is left from the last turn, the poll only looks.
//! 2. **Read.** New connections are taken, and every ready socket is read, a bounded number of bytes each, so that no peer
//!    and no client can starve the others: what is left waits in a list of ready sockets for the next turn. Frames of
//!    peers become events of the node at once; clients' bytes go into their [`Connection`](quorate::gateway::Connection)s.
//!    Then what the disk threads have finished is collected.
//! 3. **Read the clock**, after everything that may have waited in a socket: a loop that was held up cannot take the time
//!    that it lost for its leader's silence.
//! 4. **Step** the clients' connections, whose requests join the batch; then, if its time had come when the sockets were
//!    asked, add `Wake` at the end; then step the node once, with all of it. The clock around the state machine notes which of its commands took long
//!    ([`timed`]).
//! 5. **Perform** the actions: batches go to the log lane, jobs to the job lane, frames into the queues of their links,
//!    replies through the clients' connections into their output.
//! 6. **Flush**: one vectored write for each link and one write for each client that has output. What a socket does not take
//!    waits until it is writable.
//!
//! 7. **Sync**, on a follower with a quick disk: what the log has to write is written and synced right here, and the answer to
//!    the leader leaves in the same turn. On a leader, and whenever syncs take more than a millisecond on average, the log lane
//!    does that, so that a stalled disk is noticed.
//!
//! So an unpipelined write costs its leader one turn for the request, one for the follower's answer and one for its own disk,
//! and each turn one poll, one read and one write for each socket concerned; under load all of it is shared by all requests
//! of a turn.
//!
//! # Threads
//!
//! | thread | does | so that |
//! | --- | --- | --- |
//! | main | the loop | |
//! | [`log`](log_lane) | writes and syncs the log; all batches that wait are synced at once | a stalled disk stalls no leader |
//! | [`jobs`](job_lane) | at the start the newest snapshot; then spare segments, pieces of snapshots for and from peers | recovery waits for no snapshot, the log for no other file |
//! | [`snapshots`](job_lane) | recovery; loads and saves snapshots, the latter at leisure; drops what is large | nothing waits behind a snapshot |
//! | `resolver` | names of peers, if there are any | a slow name server stalls nothing |
//! | `stderr` | the log for people | a pipe that nobody reads stalls nothing |
//!
//! They hand their results over through channels and ring a bell, which costs a system call only when the loop sleeps.
//!
//! # What is bounded, and by what
//!
//! Bytes read from one socket in a turn; connections taken in a turn; clients ([`Setup::max_clients`]); links, the bytes
//! that wait on each and how long a dial, a greeting or a close may take ([`PeerLimits`]); what waits for one client, by its
//! [`gateway::Settings`](quorate::gateway::Settings): a client that does not read its replies is not read from.
//!
//! [`Setup::max_clients`]: event_loop::Setup::max_clients
//! [`PeerLimits`]: peer::PeerLimits
#![forbid(unsafe_code)]

mod alarm;
mod bell;
pub mod blocking_client;
pub mod cli;
mod clients;
mod clock;
pub mod directory_lock;
pub mod disk;
pub mod event_loop;
pub mod fleet;
pub mod job_lane;
mod listener;
pub mod log_lane;
pub mod node_info;
pub mod peer;
mod process;
mod resolver;
pub mod signals;
mod slots;
pub mod stderr;
mod survivor;
#[cfg(test)]
mod testing;
pub mod timed;
mod work_list;
