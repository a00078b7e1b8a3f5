//! What a node says of itself: the section `quorate` of INFO.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::Instant;

use quorate::codec::resp::Value;

use crate::blocking_client::BlockingConnection;

/// Most nodes that one crawl asks.
const MAX_NODES: usize = 64;

/// Names and values, as the node wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeInfo(BTreeMap<String, String>);

impl NodeInfo {
    /// Asks the node at `address`.
    pub fn fetch(address: &str, until: Instant) -> io::Result<Self> {
        Self::ask(&mut BlockingConnection::connect(address, until)?, until)
    }

    /// Asks the node at the other end of `connection`.
    pub fn ask(connection: &mut BlockingConnection, until: Instant) -> io::Result<Self> {
        text(&connection.ask(&["INFO", "quorate"], until)?).map(|text| Self::parse(&text))
    }

    /// Reads the text of INFO.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect())
    }

    /// A value by its name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A value that is a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.text("raft_role") == Some("leader")
    }

    /// The leader that it knows.
    pub fn leader(&self) -> Option<u64> {
        self.number("leader_id").filter(|id| *id != 0)
    }

    /// How far its state is, and what the state is: equal for nodes that have caught up with each other.
    pub fn state(&self) -> Option<(u64, &str)> {
        Some((self.number("applied_index")?, self.text("digest")?))
    }

    /// All pairs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What the nodes of a cluster say of themselves, each with the address at which it was asked: some nodes, in the order in which
/// they are named, and then those that they name in turn.
#[derive(Debug)]
pub(crate) struct Crawl<F> {
    to_ask: VecDeque<String>,
    asked: BTreeSet<String>,
    /// When to give up a node that is asked now.
    until: F,
    /// To the node that answered last, which has not been asked for the members that it knows; and when to give it up.
    open: Option<(BlockingConnection, Instant)>,
}

impl<F: FnMut() -> Instant> Crawl<F> {
    /// Begins with the nodes at these addresses, and gives each node up at what `until` says when its turn comes.
    pub(crate) fn new(addresses: &[String], until: F) -> Self {
        let to_ask = addresses.iter().cloned().collect();
        Self { to_ask, asked: BTreeSet::new(), until, open: None }
    }

    /// Asks the node that came last, if it answered.
    pub(crate) fn ask(&mut self, command: &[&str]) -> io::Result<Value> {
        let (connection, until) = self.open.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        connection.ask(command, *until)
    }

    /// The connection to the node that came last, if it answered.
    pub(crate) fn into_connection(self) -> Option<BlockingConnection> {
        self.open.map(|(connection, _)| connection)
    }
}

impl<F: FnMut() -> Instant> Iterator for Crawl<F> {
    type Item = (String, io::Result<NodeInfo>);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((mut connection, until)) = self.open.take() {
            // A node that cannot tell its members has still told what it is doing.
            self.to_ask.extend(members(&mut connection, until).unwrap_or_default());
        }
        while let Some(address) = self.to_ask.pop_front() {
            if self.asked.len() < MAX_NODES && self.asked.insert(address.clone()) {
                let until = (self.until)();
                let answer = BlockingConnection::connect(&address, until).and_then(|mut connection| {
                    let info = NodeInfo::ask(&mut connection, until)?;
                    self.open = Some((connection, until));
                    Ok(info)
                });
                return Some((address, answer));
            }
        }
        None
    }
}

/// The client addresses of the members that the node at the other end of `connection` knows.
fn members(connection: &mut BlockingConnection, until: Instant) -> io::Result<Vec<String>> {
    let lines = text(&connection.ask(&["CLUSTER", "NODES"], until)?)?;
    // <name> <ip>:<port>@<bus port>[,<host>] <flags> …
    let address = |line: &str| Some(line.split(' ').nth(1)?.split('@').next()?.to_owned());
    Ok(lines.lines().filter_map(address).filter(|address| !address.starts_with(':')).collect())
}

fn text(value: &Value) -> io::Result<String> {
    let bytes = match value {
        Value::Error(error) => return Err(io::Error::other(String::from_utf8_lossy(error).into_owned())),
        other => other.text().ok_or(io::ErrorKind::InvalidData)?,
    };
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crawl_asks_each_node_once_and_not_more_than_its_bound() {
        let addresses: Vec<_> = (1..=100).flat_map(|port| vec![format!("127.0.0.1:{port}"); 2]).collect();
        // The time is up before anybody is asked.
        let asked: Vec<_> = Crawl::new(&addresses, Instant::now).map(|(address, _)| address).collect();
        let expected: Vec<_> = (1..=MAX_NODES).map(|port| format!("127.0.0.1:{port}")).collect();
        assert_eq!(asked, expected);
    }

    #[test]
    fn the_lines_of_info_are_names_and_values() {
        let info = NodeInfo::parse(
            "# Quorate\r\nraft_role:leader\r\nleader_id:2\r\napplied_index:17\r\ndigest:0a\r\n",
        );
        assert!(info.leads());
        assert_eq!(info.leader(), Some(2));
        assert_eq!(info.state(), Some((17, "0a")));
        assert_eq!(NodeInfo::parse("raft_role:follower\r\nleader_id:0\r\n").leader(), None);
    }
}
