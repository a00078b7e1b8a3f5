//! Weathers, drawn.

use crate::raft::NodeId;
use crate::rng::Rng;
use crate::sim::disk::DiskWeather;
use crate::sim::network::{ClientWeather, Kinds, Region, Weather};
use crate::time::Micros;

const MS: Micros = 1_000;
const SECOND: Micros = 1_000_000;

/// The worst weather of a disk in a run. Writes that go astray are dealt one by one: whoever loses them is lost.
pub(super) const FAILING: DiskWeather =
    DiskWeather { stale_writes: 0, misdirected_writes: 0, ..DiskWeather::WILD };

/// Some weather, and where it prevails: everywhere, over a direction, or over some kinds of messages.
pub(super) fn draw_weather(rng: &mut Rng, nodes: &[NodeId]) -> (Option<Region>, Weather) {
    let one = |rng: &mut Rng| nodes[rng.below(nodes.len() as u64) as usize];
    let region = match rng.below(4) {
        0 => None,
        1 => Some(Region::direction(one(rng), one(rng))),
        2 => Some(Region::kinds(Kinds::CORE_REQUESTS)),
        _ => Some(Region::kinds(Kinds::CORE_REPLIES)),
    };
    (region, weather(rng))
}

/// Connections of clients that are slow and break.
pub(super) fn client_weather(rng: &mut Rng) -> ClientWeather {
    let mut delay = || (20, super::duration(rng, 150, 500 * MS));
    let (request_delay, reply_delay) = (delay(), delay());
    let mut some = || if rng.chance(1, 2) { rng.below(101) as u32 } else { 0 };
    let (lost_requests, lost_replies) = (some(), some());
    ClientWeather { request_delay, reply_delay, lost_requests, lost_replies }
}

/// A weather of any badness; each ingredient is there or not.
pub(super) fn weather(rng: &mut Rng) -> Weather {
    let mut some = |most: u32| if rng.chance(1, 2) { rng.below(u64::from(most) + 1) as u32 } else { 0 };
    let [lost, doubled, overtaken, late] = [300, 200, 500, 100].map(&mut some);
    let [clogged, broken] = [2_000, 1_000].map(&mut some);
    let max_delay = super::duration(rng, 150, 50 * MS);
    Weather {
        min_delay: 50,
        max_delay,
        lost,
        doubled,
        overtaken,
        late,
        late_least: max_delay,
        late_tail: 2 * SECOND,
        clogged,
        clog: super::duration(rng, 10 * MS, SECOND),
        broken,
    }
}
