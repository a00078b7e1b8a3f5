//! MEMBER and TRANSFER: who belongs to the cluster, and who leads it.
//!
//! ```text
//! MEMBER LIST                            an array, one map a node: id, role, peer, client, disk
//! MEMBER ADD id peer client [DISK disk]  :index   as a learner; its disk is the one with which it has said hello
//! MEMBER PROMOTE id [FORCE]              :index   a vote for a learner that has caught up
//! MEMBER DEMOTE id                       :index   a learner from now on
//! MEMBER REMOVE id [FORCE]               :index
//! MEMBER MOVE id peer client             :index   it is reached elsewhere
//! MEMBER LEAVE                           :index   the end of a joint configuration that does not leave by itself
//! TRANSFER [id]                          +OK      leadership, to this node or to the fittest
//! ```
//!
//! Changes are made at the leader; who asks elsewhere is told who that is. The reply comes when the change is committed; it
//! is in force before. FORCE makes one that may never commit.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Kind;
use super::command::Data;
use super::help::other_subcommand;
use super::reply::{Reply, fields, number, of_error};
use super::transaction::Then;
use crate::codec::resp::write;
use crate::kv::CommandError;
use crate::node::Status;
use crate::raft::{Change, DiskId, Member, MemberChange, NodeId};
use crate::replica::Request;

/// Bytes that such a request may keep while it is under way: two addresses and some.
const BYTES: usize = 1024;

/// The request that a MEMBER asks for; or, as the error, the reply to one that is answered here and now.
pub(super) fn member(arguments: &[Bytes], node: &Status) -> Result<Data, Reply> {
    match arguments {
        [_, subcommand, rest @ ..] if subcommand.eq_ignore_ascii_case(b"list") => Err(match rest {
            [] => Reply::of(|out| list(node, out)),
            _ => of_error(&CommandError::Arity("member|list")),
        }),
        [_, subcommand, rest @ ..] => Ok(data(Request::Reconfigure(change(subcommand, rest, node)?))),
        _ => Err(of_error(&CommandError::Arity("member"))),
    }
}

/// The request that a TRANSFER asks for.
pub(super) fn transfer(arguments: &[Bytes]) -> Result<Data, Reply> {
    match arguments {
        [_] => Ok(data(Request::Transfer(None))),
        [_, id] => Ok(data(Request::Transfer(Some(id_of(id)?)))),
        _ => Err(of_error(&CommandError::Arity("transfer"))),
    }
}

fn data(request: Request) -> Data {
    Data { kind: Kind::Write, request, slot: 0, bytes: BYTES, then: Then::Pass }
}

fn change(subcommand: &Bytes, arguments: &[Bytes], node: &Status) -> Result<Change, Reply> {
    let force = arguments.last().is_some_and(|last| last.eq_ignore_ascii_case(b"force"));
    let arguments =
        if force { arguments.split_last().map_or(arguments, |(_, rest)| rest) } else { arguments };
    let step = match (&subcommand.to_ascii_lowercase()[..], arguments) {
        (b"add", [id, peer, client, disk @ ..]) => {
            let id = id_of(id)?;
            let disk = match disk {
                [] => said_hello(id, node)?,
                [word, disk] if word.eq_ignore_ascii_case(b"disk") => disk_of(disk)?,
                _ => return Err(of_error(&CommandError::Syntax)),
            };
            let (peer_address, client_address) = (text_of(peer)?, text_of(client)?);
            MemberChange::AddLearner { id, member: Member { disk, peer_address, client_address } }
        }
        (b"promote", [id]) => MemberChange::Promote(id_of(id)?),
        (b"demote", [id]) => MemberChange::Demote(id_of(id)?),
        (b"remove", [id]) => MemberChange::Remove(id_of(id)?),
        (b"move", [id, peer, client]) => MemberChange::Readdress {
            id: id_of(id)?,
            peer_address: text_of(peer)?,
            client_address: text_of(client)?,
        },
        (b"leave", []) => return Ok(Change::leave()),
        (b"add", _) => return Err(of_error(&CommandError::Arity("member|add"))),
        (b"promote", _) => return Err(of_error(&CommandError::Arity("member|promote"))),
        (b"demote", _) => return Err(of_error(&CommandError::Arity("member|demote"))),
        (b"remove", _) => return Err(of_error(&CommandError::Arity("member|remove"))),
        (b"move", _) => return Err(of_error(&CommandError::Arity("member|move"))),
        (b"leave", _) => return Err(of_error(&CommandError::Arity("member|leave"))),
        _ => return Err(other_subcommand("MEMBER", subcommand)),
    };
    Ok(Change { force, ..Change::one(step) })
}

/// The disk of a node that waits to be added. One that was started just now may say hello a moment later.
fn said_hello(id: NodeId, node: &Status) -> Result<DiskId, Reply> {
    node.roster.applicants.get(&id).copied().ok_or_else(|| {
        let text = format!(
            "TRYAGAIN node {id} has not said hello to this node: start it with --join and the members' addresses, then add it \
             here; nothing was done"
        );
        Reply::of(|out| write::error(out, &text))
    })
}

/// MEMBER LIST's reply.
fn list(node: &Status, out: &mut Vec<u8>) {
    let roster = &node.roster;
    write::array(out, roster.configuration.members.len() + roster.applicants.len());
    for (&id, member) in &roster.configuration.members {
        let Member { disk, peer_address, client_address } = member;
        entry(out, id, roster.configuration.role(id), [peer_address, client_address], *disk);
    }
    for (&id, &disk) in &roster.applicants {
        entry(out, id, "applicant", ["", ""], disk);
    }
}

fn entry(out: &mut Vec<u8>, id: NodeId, role: &str, [peer, client]: [&str; 2], disk: DiskId) {
    write::map(out, 5);
    write::bulk(out, b"id");
    number(out, id.0);
    let disk = format!("{disk}");
    fields(out, [("role", role), ("peer", peer), ("client", client), ("disk", &disk)]);
}

fn id_of(argument: &[u8]) -> Result<NodeId, Reply> {
    let digits = core::str::from_utf8(argument).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let id = digits.and_then(|text| text.parse().ok()).filter(|id| *id != 0);
    id.map(NodeId).ok_or_else(|| Reply::error("ERR a node's id is a number from 1"))
}

fn disk_of(argument: &[u8]) -> Result<DiskId, Reply> {
    let text = core::str::from_utf8(argument).ok().filter(|text| !text.starts_with('+'));
    let disk = text.and_then(|text| u128::from_str_radix(text, 16).ok());
    disk.map(DiskId).ok_or_else(|| Reply::error("ERR a disk's name is up to 32 hexadecimal digits"))
}

fn text_of(argument: &[u8]) -> Result<String, Reply> {
    let text = core::str::from_utf8(argument).ok().filter(|text| text.contains(':'));
    text.map(String::from).ok_or_else(|| Reply::error("ERR an address is HOST:PORT"))
}
