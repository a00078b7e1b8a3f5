//! Addresses on the command line: `host:port`, and the list of a cluster's members.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs};

use quorate::node::Addresses;
use quorate::raft::{MAX_ADDRESS, NodeId};

use super::flags::Usage;

/// Most members on a command line.
const MAX_MEMBERS: usize = 31;

/// Splits `host:port` (`[host]:port` for IPv6); the port is not 0.
pub(crate) fn host_port<'a>(flag: &str, text: &'a str) -> Result<(&'a str, u16), Usage> {
    let bad = |why: &str| {
        Usage::flag(flag, format_args!("'{text}' {why}; write host:port, such as 127.0.0.1:7101"))
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("has no port"))?;
    let port: u16 = port.parse().map_err(|_| bad("has no port from 1 to 65535"))?;
    if port == 0 {
        return Err(bad("has port 0, which nobody can connect to: choose a fixed port"));
    }
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let name = bracketed.unwrap_or(host);
    if name.is_empty() || (bracketed.is_none() && name.contains(':')) {
        return Err(bad("has no host (IPv6 needs brackets: [::1]:7101)"));
    }
    if name.len() > 255 || name.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control() || b == b'/')
    {
        return Err(bad("is not the name or the number of a host"));
    }
    Ok((name, port))
}

/// Checks `host:port` as others are to connect to.
pub(crate) fn reachable(flag: &str, text: &str) -> Result<(), Usage> {
    let (host, _) = host_port(flag, text)?;
    if text.len() > MAX_ADDRESS {
        return Err(Usage::flag(flag, format_args!("'{text}' is longer than {MAX_ADDRESS} bytes")));
    }
    if host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        let what = format_args!("{text} is no address that others can connect to; name this machine's own");
        return Err(Usage::flag(flag, what));
    }
    Ok(())
}

/// Finds where to listen. Without `insecure` only this machine itself may connect.
pub(crate) fn listen(flag: &str, text: &str, insecure: bool) -> Result<SocketAddr, Usage> {
    host_port(flag, text)?;
    let found = text
        .to_socket_addrs()
        .map_err(|error| Usage::flag(flag, format_args!("'{text}' cannot be resolved: {error}")))?
        .next();
    let address = found.ok_or_else(|| Usage::flag(flag, format_args!("'{text}' has no address")))?;
    if !insecure && !address.ip().is_loopback() {
        return Err(Usage::flag(
            flag,
            format_args!(
                "{text} can be reached from other machines, and nothing is encrypted or authenticated yet; if the \
                 network is trusted, add --insecure"
            ),
        ));
    }
    Ok(address)
}

/// The members: `1=peer/client,2=peer/client,…`, each address `host:port`.
pub(crate) fn cluster(flag: &str, text: &str) -> Result<BTreeMap<NodeId, Addresses>, Usage> {
    let mut members = BTreeMap::new();
    let mut addresses = BTreeSet::new();
    for member in text.split(',') {
        let bad = |why: &str| {
            Usage::flag(
                flag,
                format_args!(
                    "'{member}' {why}; write ID=PEER/CLIENT, such as 1=127.0.0.1:7201/127.0.0.1:7101"
                ),
            )
        };
        let (id, pair) = member.split_once('=').ok_or_else(|| bad("has no '='"))?;
        let id = id.parse().ok().filter(|id| *id != 0).ok_or_else(|| bad("has no node id from 1 on"))?;
        let (peer, client) =
            pair.split_once('/').ok_or_else(|| bad("has no '/' between its two addresses"))?;
        for address in [peer, client] {
            reachable(flag, address)?;
            if !addresses.insert(address.to_owned()) {
                return Err(Usage::flag(
                    flag,
                    format_args!("{address} stands there twice; each needs its own"),
                ));
            }
        }
        let value = Addresses { peer: peer.into(), client: client.into() };
        if members.insert(NodeId(id), value).is_some() {
            return Err(Usage::flag(flag, format_args!("node {id} stands there twice")));
        }
    }
    if members.len() > MAX_MEMBERS {
        return Err(Usage::flag(flag, format_args!("has more than {MAX_MEMBERS} members")));
    }
    Ok(members)
}

/// Addresses of nodes to connect to as a client: `host:port,host:port,…`.
pub(crate) fn connect(flag: &str, text: &str) -> Result<Vec<String>, Usage> {
    text.split(',').map(|address| host_port(flag, address).map(|_| address.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_a_list_of_members() {
        let members = cluster("cluster", "2=b:1/b:2,1=127.0.0.1:3/[::1]:4").unwrap();
        let ids: Vec<_> = members.keys().map(|id| id.0).collect();
        assert_eq!(ids, [1, 2]);
        assert_eq!(members[&NodeId(1)].client, "[::1]:4");
    }

    #[test]
    fn what_is_wrong_with_a_member_is_said() {
        let table = [
            ("", "has no '='"),
            ("1", "has no '='"),
            ("x=a:1/a:2", "has no node id"),
            ("0=a:1/a:2", "has no node id"),
            ("1=a:1", "has no '/'"),
            ("1=a:1/a:0", "has port 0"),
            ("1=a:1/a", "has no port"),
            ("1=a:1/a:99999", "has no port from"),
            ("1=:1/a:2", "has no host"),
            ("1=::1:1/a:2", "has no host"),
            ("1=a b:1/a:2", "is not the name"),
            ("1=0.0.0.0:1/a:2", "no address that others can connect to"),
            ("1=a:1/a:1", "stands there twice"),
            ("1=a:1/a:2,1=b:1/b:2", "node 1 stands there twice"),
        ];
        for (text, expected) in table {
            let Usage(said) = cluster("cluster", text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
            assert!(said.starts_with("--cluster: "), "{said}");
            assert!(!said.contains('\n'));
        }
    }

    #[test]
    fn an_address_that_no_configuration_takes_is_refused() {
        let host = "h".repeat(MAX_ADDRESS - 5);
        assert!(reachable("peer", &format!("{host}:7201")).is_ok());
        let Usage(said) = reachable("peer", &format!("{host}:17201")).unwrap_err();
        assert!(said.contains("longer than 255 bytes"), "{said}");
    }

    #[test]
    fn only_this_machine_may_connect_unless_told_otherwise() {
        assert!(listen("listen-client", "127.0.0.1:7101", false).is_ok());
        assert!(listen("listen-client", "[::1]:7101", false).is_ok());
        let Usage(said) = listen("listen-client", "0.0.0.0:7101", false).unwrap_err();
        assert!(said.contains("--insecure"), "{said}");
        assert!(listen("listen-client", "0.0.0.0:7101", true).is_ok());
    }
}
