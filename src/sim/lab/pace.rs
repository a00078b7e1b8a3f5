//! How fast the machines and the network of a lab test are, and what the lab's unreliable network is here.

use super::LabTest;
use crate::sim::cluster::Settings;
use crate::sim::network::{ClientWeather, Kinds, Network, Region, Weather};
use crate::time::Micros;

const MS: Micros = 1_000;

/// The longest that a request takes on the lab's unreliable network.
const UNRELIABLE_DELAY: Micros = 26 * MS;

/// Of a thousand, how many requests it loses, and how many replies.
const UNRELIABLE_LOSS: u32 = 100;

/// A heartbeat every 100 ms, as the lab's own count of messages supposes, and elections after 300 to 600 ms.
fn beat(settings: &mut Settings) {
    settings.node.raft.heartbeat_interval = 100 * MS;
    settings.node.raft.election_timeout = 300 * MS;
    // The lab's disks neither stall nor lie. What they do here is other tests' matter, and looking at them takes time.
    settings.stalls = 0;
    settings.probed = 1;
}

/// The servers of a Raft test: a request is refused where the node does not lead, and a snapshot is taken only when the
/// tester says so, with nothing left before it.
pub(super) fn of_servers(_: &LabTest, settings: &mut Settings) {
    beat(settings);
    settings.node.forward = false;
    settings.node.snapshot_log_bytes = None;
    settings.node.raft.trailing_bytes = 0;
}

/// Sets the network of a test.
///
/// The lab's calls are pairs of messages here, and a call that fails is silence. Its unreliable network delays each request
/// by up to 26 ms, loses one in ten of the requests and then one in ten of the replies. What nodes say to each other over
/// an ordered connection, such as a forwarded request, is delayed and not lost: TCP sends it again. Between clerks and
/// servers a lost request or reply breaks the connection, and the clerk makes another.
pub(super) fn set_weather(test: &LabTest, unreliable: bool, network: &mut Network) {
    let fair = Weather { min_delay: test.delay / 2, max_delay: test.delay, ..Weather::FAIR };
    network.set_weather(fair);
    network.clients =
        ClientWeather { min_delay: test.delay / 2, max_delay: test.delay, ..ClientWeather::FAIR };
    if unreliable {
        network.set_weather(Weather {
            min_delay: 0,
            max_delay: UNRELIABLE_DELAY,
            lost: UNRELIABLE_LOSS,
            ..Weather::FAIR
        });
        let replies = Weather { lost: UNRELIABLE_LOSS, ..fair };
        network.set_weather_in(Region::kinds(Kinds::CORE_REPLIES), replies);
        network.clients = ClientWeather {
            min_delay: 0,
            max_delay: UNRELIABLE_DELAY,
            lost_requests: UNRELIABLE_LOSS,
            lost_replies: UNRELIABLE_LOSS,
        };
    }
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
