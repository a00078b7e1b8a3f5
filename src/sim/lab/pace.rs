//! How fast the machines and the network of a lab test are, and what the lab's unreliable network is here.

use super::LabTest;
use crate::client;
use crate::replica::StateMachine;
use crate::sim::cluster::{Cluster, Settings};
use crate::sim::disk::{DiskWeather, Pace};
use crate::sim::network::{ClientWeather, Kind, Kinds, Network, Region, Weather};
use crate::time::Micros;

const MS: Micros = 1_000;

/// The longest that a request takes on the lab's unreliable network.
const UNRELIABLE_DELAY: Micros = 26 * MS;

/// Of a thousand, how many requests it loses, and how many replies.
const UNRELIABLE_LOSS: u32 = 100;

/// What disks take here of their usual time, in percent. The lab's take none.
const DISK_TIME: u32 = 25;

/// A heartbeat every so often, and elections after one to two times the timeout.
fn beat(settings: &mut Settings, heartbeat: Micros, election: Micros) {
    settings.node.raft.heartbeat_interval = heartbeat;
    settings.node.raft.election_timeout = election;
    // The lab's disks neither stall nor lie. What they do here is other tests' matter, and looking at them takes time.
    settings.probed = 1;
}

/// The servers of a Raft test: a request is refused where the node does not lead, and a snapshot is taken only when the
/// tester says so, with nothing left before it.
pub(super) fn of_servers(_: &LabTest, settings: &mut Settings) {
    // The lab's own count of messages supposes ten heartbeats a second, and so it asks for longer timeouts than the paper's.
    // Half as long, one run of "Figure 8 (unreliable)" in eighty agreed on nothing in its last ten seconds: two replies in three
    // are 0.2 to 2.2 seconds late there.
    beat(settings, 100 * MS, 500 * MS);
    settings.node.forward = false;
    settings.node.snapshot_log_bytes = None;
    settings.node.raft.trailing_bytes = 0;
}

/// The servers of a key-value test: they compact their logs at the lab's `maxraftstate`, however large the last snapshot
/// was (RAFT.md, trap 24).
pub(super) fn of_service(test: &LabTest, settings: &mut Settings) {
    beat(settings, 50 * MS, 150 * MS);
    // As in the lab, a server that does not lead says so, and a clerk that is on the wrong side of a partition soon asks
    // elsewhere.
    settings.node.forward = false;
    settings.node.request_timeout = 400 * MS;
    // What comes while so many appends are under way goes in the next one: fewer calls, as the lab counts them. Where appends
    // are lost, more of them may be.
    settings.node.raft.max_inflight_appends = if test.unreliable { 8 } else { 2 };
    settings.node.snapshot_log_bytes = test.max_state;
    settings.node.snapshot_growth_percent = 0;
    settings.node.raft.trailing_bytes = 0;
}

/// Sets the disks of a cluster.
pub(super) fn speed_disks<S: StateMachine>(cluster: &mut Cluster<S>) {
    let pace = Pace { percent: DISK_TIME, ..Pace::BRISK };
    for node in cluster.nodes() {
        cluster.machine(node).disk.set_weather(DiskWeather { pace, ..DiskWeather::CALM });
    }
}

/// A clerk's call never fails in the lab: it is tried until it is done.
pub(super) fn of_clerk(config: &mut client::Config) {
    config.call_timeout = 3_600_000 * MS;
    config.backoff_max = 100 * MS;
}

/// Sets the network of a test.
///
/// The lab's calls are pairs of messages here, and a call that fails is silence. Its unreliable network delays each request
/// by up to 26 ms, loses one in ten of the requests and then one in ten of the replies. What nodes say to each other over
/// an ordered connection, such as a forwarded request, is delayed and not lost: TCP sends it again. Between clerks and
/// servers a lost request or reply breaks the connection, and the clerk makes another.
pub(super) fn set_weather(test: &LabTest, unreliable: bool, network: &mut Network) {
    let usual = (test.delay / 2, test.delay);
    let fair = Weather { min_delay: usual.0, max_delay: usual.1, ..Weather::FAIR };
    network.set_weather(fair);
    // The lab's network knows no connections: what is sent into a cut is lost and no more.
    network.broken_by_cuts = 0;
    network.clients = ClientWeather { request_delay: usual, reply_delay: usual, ..ClientWeather::FAIR };
    if !unreliable {
        return;
    }
    let lost = UNRELIABLE_LOSS;
    network.set_weather_in(
        Region::kinds(Kinds::CORE_REQUESTS.with(Kind::Forward)),
        Weather { min_delay: 0, max_delay: UNRELIABLE_DELAY, lost, ..Weather::FAIR },
    );
    network.set_weather_in(Region::kinds(Kinds::CORE_REPLIES), Weather { lost, ..fair });
    network.clients.request_delay = (0, UNRELIABLE_DELAY);
    network.clients.lost_requests = lost;
    network.clients.lost_replies = lost;
}

/// The lab's long reordering, over an unreliable network: two in three replies come 200 to 2,199 ms late.
pub(super) fn reorder_replies(test: &LabTest, network: &mut Network) {
    let late = Weather {
        min_delay: test.delay / 2,
        max_delay: test.delay,
        lost: UNRELIABLE_LOSS,
        late: 667,
        late_least: 200 * MS,
        late_tail: 1_999 * MS,
        ..Weather::FAIR
    };
    network.set_weather_in(Region::kinds(Kinds::CORE_REPLIES), late);
}
