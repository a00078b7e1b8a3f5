//! A second driver, in one file: three nodes of the key-value store as tokio tasks, channels for a network, memory for
//! disks. Everything that decides is in the library; what is left for a driver is to carry bytes, look at a clock, and
//! keep names apart.
//!
//! ```text
//! cargo run --example tokio_channels
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use quorate::codec::frame::FRAME_HEADER;
use quorate::kv::{Call, KvStore, parse};
use quorate::node::{Action, Actions, Addresses, Config, Event, LinkId, Node, RequestId};
use quorate::raft::{DiskId, NodeId};
use quorate::replica::{Outcome, Request};
use quorate::sim::Disk;
use quorate::storage::{DiskJob, DiskOp};
use quorate::time::Now;
use tokio::sync::{mpsc::UnboundedSender, mpsc::unbounded_channel, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

type Inbox = UnboundedSender<Input>;

/// What reaches a node's task: an event for the node, or something that the task has to take note of first.
enum Input {
    Event(Event<KvStore>),
    /// A peer has dialled: our end of the connection is `link`, the other one is `other`.
    Accepted {
        link: LinkId,
        other: (Inbox, LinkId),
    },
    /// A client asks.
    Asked(Request, oneshot::Sender<Outcome>),
}

/// One node with its share of the world.
struct Driver {
    node: Node<KvStore>,
    disk: Disk,
    started: Instant,
    own: Inbox,
    peers: BTreeMap<NodeId, Inbox>,
    /// Where the other end of each connection is.
    links: BTreeMap<LinkId, (Inbox, LinkId)>,
    clients: BTreeMap<RequestId, oneshot::Sender<Outcome>>,
    wake: Option<Instant>,
}

impl Driver {
    /// The driver's whole duty: wait, gather, step, perform.
    async fn run(
        mut self,
        mut inbox: tokio::sync::mpsc::UnboundedReceiver<Input>,
        mut actions: Actions<KvStore>,
    ) {
        let mut events = Vec::new();
        loop {
            for action in actions.drain() {
                self.perform(action);
            }
            let wake = self.wake.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
            tokio::select! {
                biased;
                Some(input) = inbox.recv() => self.take(input, &mut events),
                () = sleep_until(wake) => {}
            }
            // Drain first and read the clock after, so that no timer overtakes a heartbeat that waits here already.
            while let Ok(input) = inbox.try_recv() {
                self.take(input, &mut events);
            }
            if self.wake.is_some_and(|wake| wake <= Instant::now()) {
                self.wake = None;
                events.push(Event::Wake);
            }
            self.node.step_into(now(self.started), events.drain(..), &mut actions);
        }
    }

    fn take(&mut self, input: Input, events: &mut Vec<Event<KvStore>>) {
        match input {
            Input::Event(event) => events.push(event),
            Input::Accepted { link, other } => {
                self.links.insert(link, other);
                events.push(Event::LinkOpened { link, dialled: None });
            }
            Input::Asked(request, client) => {
                let id = RequestId { connection: fresh(), number: 1 };
                self.clients.insert(id, client);
                events.push(Event::Request { id, epoch: 0, deadline: None, request });
            }
        }
    }

    fn perform(&mut self, action: Action<KvStore>) {
        match action {
            // A disk of memory answers at once; the node does not notice the difference.
            Action::Log(batch) => {
                let result = batch.ops.iter().try_for_each(|op| self.disk_op(op).map(drop));
                self.post(Event::DiskDone { batch: batch.id, result });
            }
            Action::Job(mut job) => {
                let mut last = None;
                while let Some(op) = job.next(last.take()) {
                    last = Some(self.disk_op(&op));
                }
                self.post(Event::JobDone(job));
            }
            Action::Dial { peer, .. } => {
                let (ours, theirs) = (fresh(), fresh());
                let there = self.peers[&peer].clone();
                let _ = there.send(Input::Accepted { link: theirs, other: (self.own.clone(), ours) });
                self.links.insert(ours, (there, theirs));
                self.post(Event::LinkOpened { link: ours, dialled: Some(peer) });
            }
            // A channel keeps frames whole, so all that is left of the framing is to take the header off.
            Action::Send { link, frame } => {
                if let Some((there, link)) = self.links.get(&link) {
                    let frame = Bytes::from(frame.0.concat()).slice(FRAME_HEADER..);
                    let _ = there.send(Input::Event(Event::LinkFrame { link: *link, frame }));
                }
            }
            Action::CloseLink { link } => {
                if let Some((there, other)) = self.links.remove(&link) {
                    let _ = there.send(Input::Event(Event::LinkClosed { link: other, error: None }));
                    self.post(Event::LinkClosed { link, error: None });
                }
            }
            Action::Reply { request, outcome } => {
                if let Some(client) = self.clients.remove(&request) {
                    let _ = client.send(outcome);
                }
            }
            Action::WakeAt(at) => self.wake = Some(self.started + Duration::from_micros(at)),
            Action::Note(note) => println!("  n{}: {}", self.node.status().id, note.0),
            Action::Halt(fault) => println!("  n{} halted: {fault}", self.node.status().id),
            _ => {}
        }
    }

    fn disk_op(&mut self, op: &DiskOp) -> quorate::storage::DiskResult {
        self.disk.perform(op, &mut quorate::rng::Rng::new(0))
    }

    fn post(&self, event: Event<KvStore>) {
        let _ = self.own.send(Input::Event(event));
    }
}

/// A name that was never used before.
fn fresh() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Relaxed) + 1
}

fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now::new(started.elapsed().as_micros() as u64, wall.as_millis() as u64)
}

/// Runs a command at one node, as a client would; what is certainly not done is asked again.
async fn command(node: &Inbox, words: &[&str]) -> Result<String, Box<dyn Error>> {
    let words: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    loop {
        let request = match parse(&words)? {
            Call::Write(command) => Request::Write(command),
            Call::Read(query) => Request::Read(query),
        };
        let (client, answer) = oneshot::channel();
        node.send(Input::Asked(request, client))?;
        match answer.await? {
            Outcome::Reply(reply) => {
                return Ok(String::from_utf8_lossy(&reply).trim_end().escape_default().to_string());
            }
            Outcome::Refused(_) => sleep(Duration::from_millis(20)).await,
            other => return Err(format!("{other:?}").into()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let founders: BTreeMap<_, _> = (1..=3)
        .map(|id| (NodeId(id), Addresses { peer: format!("n{id}:7200"), client: format!("n{id}:7100") }))
        .collect();
    let (peers, inboxes): (BTreeMap<_, _>, Vec<_>) = founders
        .keys()
        .map(|&id| {
            let (sender, receiver) = unbounded_channel();
            ((id, sender), (id, receiver))
        })
        .unzip();
    let started = Instant::now();
    for (id, inbox) in inboxes {
        let config = Config::new(id, founders.clone(), DiskId(0xd15c + u128::from(id.0)), 42);
        let mut actions = Actions::new();
        let node = Node::new(config, now(started), &mut actions)?;
        let (own, peers) = (peers[&id].clone(), peers.clone());
        let (links, clients) = (BTreeMap::new(), BTreeMap::new());
        let driver = Driver { node, disk: Disk::new(), started, own, peers, links, clients, wake: None };
        tokio::spawn(driver.run(inbox, actions));
    }
    let script: [(u64, &[&str]); 5] = [
        (1, &["SET", "greeting", "hello"]),
        (2, &["APPEND", "greeting", ", world"]),
        (3, &["GET", "greeting"]),
        (2, &["INCR", "visits"]),
        (1, &["INCR", "visits"]),
    ];
    for (node, words) in script {
        let reply = timeout(Duration::from_secs(30), command(&peers[&NodeId(node)], words)).await??;
        println!("n{node}> {} -> {reply}", words.join(" "));
    }
    let read = command(&peers[&NodeId(3)], &["GET", "visits"]).await?;
    if read != "$1\\r\\n2" { Err(format!("visits reads {read}").into()) } else { Ok(()) }
}
