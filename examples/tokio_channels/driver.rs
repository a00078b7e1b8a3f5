//! A driver on tokio: channels for a network, memory for disks. All that decides is in the library; a driver carries bytes,
//! reads a clock and keeps names apart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use quorate::codec::frame::FRAME_HEADER;
use quorate::kv::KvStore;
use quorate::node::{Action, Actions, Config, Event, LinkId, Node, RequestId};
use quorate::raft::{ConfigError, NodeId};
use quorate::replica::{Outcome, Request};
use quorate::storage::DiskJob;
use quorate::{rng::Rng, sim::Disk, time::Now};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// The other end of a connection.
type End = (UnboundedSender<Input>, LinkId);

/// What reaches a node's task: an event, or something that the task has to take note of first.
pub enum Input {
    Event(Event<KvStore>),
    /// A peer dialled: our end's name, and the other end. `Asked`: a client's request.
    Accepted(LinkId, End),
    Asked(Request, oneshot::Sender<Outcome>),
}

/// One node with its share of the world.
struct Driver {
    node: Node<KvStore>,
    disk: Disk,
    started: Instant,
    id: NodeId,
    inboxes: BTreeMap<NodeId, UnboundedSender<Input>>,
    links: BTreeMap<LinkId, End>,
    clients: BTreeMap<RequestId, oneshot::Sender<Outcome>>,
    wake: Option<Instant>,
}

/// Starts the node of `config` as a task. `inboxes` are all nodes', its own among them.
pub fn spawn(
    config: Config,
    inboxes: BTreeMap<NodeId, UnboundedSender<Input>>,
    inbox: UnboundedReceiver<Input>,
) -> Result<(), ConfigError> {
    let (id, started, mut actions) = (config.raft.id, Instant::now(), Actions::new());
    let node = Node::new(config, now(started), &mut actions)?;
    let (links, clients) = (BTreeMap::new(), BTreeMap::new());
    let driver = Driver { node, disk: Disk::new(), started, id, inboxes, links, clients, wake: None };
    tokio::spawn(driver.run(inbox, actions));
    Ok(())
}

impl Driver {
    /// The whole duty of a driver: wait, gather, step, perform.
    async fn run(mut self, mut inbox: UnboundedReceiver<Input>, mut actions: Actions<KvStore>) {
        let mut events = Vec::new();
        loop {
            actions.drain().for_each(|action| self.perform(action));
            tokio::select! {
                Some(input) = inbox.recv() => events.push(self.take(input)),
                () = sleep_until(self.wake.unwrap_or_else(Instant::now)), if self.wake.is_some() => {}
            }
            // Drain first and read the clock after, so that no timer overtakes a heartbeat that waits here already.
            while let Ok(input) = inbox.try_recv() {
                events.push(self.take(input));
            }
            events.extend(self.wake.take_if(|wake| *wake <= Instant::now()).map(|_| Event::Wake));
            self.node.step_into(now(self.started), events.drain(..), &mut actions);
        }
    }

    fn take(&mut self, input: Input) -> Event<KvStore> {
        match input {
            Input::Event(event) => event,
            Input::Accepted(link, other) => {
                self.links.insert(link, other);
                Event::LinkOpened { link, dialled: None }
            }
            Input::Asked(request, client) => {
                let id = RequestId { connection: fresh(), number: 1 };
                self.clients.insert(id, client);
                Event::Request { id, epoch: 0, deadline: None, request }
            }
        }
    }

    fn perform(&mut self, action: Action<KvStore>) {
        match action {
            Action::Log(batch) => {
                let result =
                    batch.ops.iter().try_for_each(|op| self.disk.perform(op, &mut Rng::new(0)).map(drop));
                self.post(Event::DiskDone { batch: batch.id, result });
            }
            Action::Job(mut job) => {
                let mut last = None;
                while let Some(op) = job.next(last) {
                    last = Some(self.disk.perform(&op, &mut Rng::new(0)));
                }
                self.post(Event::JobDone(job));
            }
            Action::Dial { peer, .. } => {
                let (ours, theirs, there) = (fresh(), fresh(), self.inboxes[&peer].clone());
                let own = self.inboxes[&self.id].clone();
                let _ = there.send(Input::Accepted(theirs, (own, ours)));
                self.links.insert(ours, (there, theirs));
                self.post(Event::LinkOpened { link: ours, dialled: Some(peer) });
            }
            Action::Send { link, frame } => {
                // A channel keeps frames whole: all that is left of the framing is to take the header off.
                let frame = Bytes::from(frame.0.concat()).slice(FRAME_HEADER..);
                if let Some((there, link)) = self.links.get(&link) {
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
                let _ = self.clients.remove(&request).map(|client| client.send(outcome));
            }
            Action::WakeAt(at) => self.wake = Some(self.started + Duration::from_micros(at)),
            Action::Note(note) => println!("  n{}: {}", self.id, note.0),
            Action::Halt(fault) => println!("  n{} halted: {fault}", self.id),
            _ => {}
        }
    }

    fn post(&self, event: Event<KvStore>) {
        let _ = self.inboxes[&self.id].send(Input::Event(event));
    }
}

/// A name that was never used before.
fn fresh() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(1);
    LAST.fetch_add(1, Relaxed)
}

fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now::new(started.elapsed().as_micros() as u64, wall.as_millis() as u64)
}
