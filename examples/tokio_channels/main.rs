//! Three nodes of the key-value store under another runtime than ours: `driver.rs` is all that it takes.
//!
//! `cargo run --example tokio_channels --features sim` (the feature for its disk of memory)

mod driver;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use driver::Input;
use quorate::kv::{Call, parse};
use quorate::node::{Addresses, Config};
use quorate::raft::{DiskId, NodeId};
use quorate::replica::{Outcome, Request};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// Runs a command at one node, as a client would. Only what was certainly not done is asked again.
async fn command(node: &UnboundedSender<Input>, line: &str) -> Result<Bytes, Box<dyn Error>> {
    let words: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    loop {
        let request = match parse(&words)? {
            Call::Write(command) => Request::Write(command),
            Call::Read(query) => Request::Read(query),
        };
        let (client, answer) = oneshot::channel();
        node.send(Input::Asked(request, client))?;
        match answer.await? {
            Outcome::Reply(reply) => return Ok(reply),
            Outcome::Refused(_) => sleep(Duration::from_millis(20)).await,
            other => return Err(format!("{line}: {other:?}").into()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = |id| Addresses { peer: format!("n{id}:7200"), client: format!("n{id}:7100") };
    let founders: BTreeMap<_, _> = (1..=3).map(|id| (NodeId(id), address(id))).collect();
    let channels: Vec<_> = founders.keys().map(|&id| (id, unbounded_channel())).collect();
    let inboxes: BTreeMap<_, _> = channels.iter().map(|(id, (sender, _))| (*id, sender.clone())).collect();
    for (id, (_, inbox)) in channels {
        let config = Config::new(id, founders.clone(), DiskId(id.0.into()), 42);
        driver::spawn(config, inboxes.clone(), inbox)?;
    }
    // Any node takes any command and sends it on to the leader.
    for (node, line, expected) in [
        (1, "SET greeting hello", "+OK\r\n"),
        (2, "APPEND greeting -world", ":11\r\n"),
        (3, "GET greeting", "$11\r\nhello-world\r\n"),
        (3, "INCR visits", ":1\r\n"),
        (2, "INCR visits", ":2\r\n"),
    ] {
        let reply = command(&inboxes[&NodeId(node)], line).await?;
        println!("n{node}> {line} -> {}", reply.escape_ascii());
        assert_eq!(reply, expected);
    }
    Ok(())
}
