"use strict";
// Reads a trace (its lines are described in ndjson.rs) into what the page draws: rows of nodes, arrows, cuts, calls.

/** How much an event matters, by name: 2 and more changes the course of the run, 1 is worth a mark, 0 is daily business. */
const WEIGHTS = {
  Violation: 4, BecomeLeader: 3, Timeout: 2, StepDown: 2, Crash: 2, PowerFailure: 2, Restart: 2, Start: 2, Halt: 2, Wipe: 2,
  RollBack: 2, Pause: 2, Resume: 2, SetClock: 2, Slow: 2, Fault: 2, DiskError: 2, Partition: 2, Heal: 2, Weather: 2,
  InstallSnapshot: 2, TruncateLog: 2, ChangeConfiguration: 2, Recover: 1, TakeSnapshot: 1, GrantVote: 1, BecomePreCandidate: 1,
  BecomeFollower: 1, UpdateTerm: 1, FollowLeader: 1,
};

const KINDS = [
  ["vote", "votes", ["PreVote", "PreVoteReply", "Vote", "VoteReply", "TimeoutNow"]],
  ["snapshot", "snapshots", ["SnapshotChunk", "SnapshotReply"]],
  ["reject", "refused appends", ["AppendRejected"]],
  ["append", "appends", ["Append"]],
  ["answer", "acknowledgements", ["AppendAccepted"]],
  ["forward", "clients' requests", ["Forward", "ForwardReply", "ReadIndex", "ReadIndexReply"]],
  ["other", "handshakes and digests", ["Hello", "Welcome", "Refuse", "Formed", "Digest", "Unknown"]],
  ["beat", "heartbeats", ["Heartbeat", "HeartbeatReply"]],
];
const KIND_OF = Object.fromEntries(KINDS.flatMap(([kind, , names]) => names.map((name) => [name, kind])));

/** A lost frame is drawn as far as a usual one would come in this part of its way. */
const LOST_AT = 0.45;

function readTrace(text) {
  const lines = text.split("\n").filter((line) => line.trim());
  if (!lines.length) throw new Error("there is no trace in this page");
  const facts = JSON.parse(lines[0]);
  const events = lines.slice(1).map((line) => JSON.parse(line));
  const last = events.length ? events[events.length - 1].at : 0;
  const begin = events.length && facts.forgotten ? events[0].at : 0;
  const model = {
    facts, events, begin, end: Math.max(last, begin + 1000),
    lanes: new Map(facts.nodes.map((node) => [node, newLane(node)])),
    arrows: [], cuts: [], calls: [], callRows: 0, longest: 0, flight: 0,
  };
  events.forEach((event, index) => {
    event.index = index;
    event.weight = event.name === "Persisted" && event.reason ? 2 : WEIGHTS[event.name] || 0;
    readEvent(model, event);
  });
  finish(model);
  return model;
}

function newLane(node) {
  return { node, segments: [], pauses: [], marks: [], steps: [] };
}

function readEvent(model, event) {
  const lane = model.lanes.get(event.node);
  if (event.message) readMessage(model, event);
  else if (event.name === "Partition" || event.name === "Heal") readCut(model, event);
  else if (event.name === "Invoke" || event.name === "Return") readCall(model, event);
  else if (event.state && lane) readStep(model, lane, event);
  else if (lane) readLife(lane, event);
  if (lane && event.weight) lane.marks.push(event);
}

function readStep(model, lane, event) {
  const { role, term } = event.state;
  const open = lane.segments[lane.segments.length - 1];
  lane.steps.push(event);
  if (open && open.end === null && open.role === role && open.term === term) return;
  let start = event.at;
  if (open && open.end === null) open.end = event.at;
  // What came before the first event that was kept is taken to have been like it.
  else if (!open) start = model.begin;
  lane.segments.push({ start, end: null, role, term });
}

function readLife(lane, event) {
  const open = lane.segments[lane.segments.length - 1];
  const pause = lane.pauses[lane.pauses.length - 1];
  const ends = ["Crash", "PowerFailure", "Halt"].includes(event.name);
  if (ends || event.name === "Start" || event.name === "Restart") {
    if (open && open.end === null) open.end = event.at;
    if (!ends) lane.segments.push({ start: event.at, end: null, role: "starting", term: null });
  }
  if ((ends || event.name === "Resume") && pause && pause.end === null) pause.end = event.at;
  if (event.name === "Pause") lane.pauses.push({ start: event.at, end: null });
}

function readMessage(model, event) {
  const { id, kind } = event.message;
  if (event.arrived !== undefined) {
    const sending = model.sendings && model.sendings.get(id);
    const arrow = sending && sending.find((one) => one.end === event.arrived && !one.receive);
    if (arrow) { arrow.receive = event; arrow.fate = "read"; event.sending = arrow.send; }
    return;
  }
  model.sendings = model.sendings || new Map();
  const arrow = (end, fate) => ({
    start: event.at, end, fate, kind: KIND_OF[kind] || "other", from: event.message.from, to: event.message.to, send: event,
    receive: null,
  });
  const arrows = event.fate === "arrives" ? event.arrives.map((at) => arrow(at, "unread")) : event.fate === "closed" ? []
    : [arrow(null, event.fate)];
  model.sendings.set(id, arrows);
  model.arrows.push(...arrows);
}

function readCut(model, event) {
  const open = model.cuts[model.cuts.length - 1];
  if (open && open.end === null) open.end = event.at;
  if (event.cut.length) {
    const islands = islandsOf(model.facts.nodes, event.cut);
    model.cuts.push({ start: event.at, end: null, event, ...islands });
  }
}

/** The groups that cannot speak with each other, if the cut is of that kind; otherwise the directions. */
function islandsOf(nodes, cut) {
  const cuts = new Set(cut.map(({ from, to }) => `${from}>${to}`));
  const hears = (a, b) => !cuts.has(`${a}>${b}`) && !cuts.has(`${b}>${a}`);
  const groups = [];
  for (const node of nodes) {
    if (groups.some((group) => group.includes(node))) continue;
    const group = [node];
    for (let i = 0; i < group.length; i++) {
      group.push(...nodes.filter((other) => !group.includes(other) && hears(group[i], other)));
    }
    groups.push(group.sort((a, b) => a - b));
  }
  const largest = groups.reduce((a, b) => (b.length > a.length ? b : a), []);
  const outside = nodes.filter((node) => !largest.includes(node));
  const pairs = (groups.length > 1 ? groups : []).reduce((sum, group) => sum + group.length * (nodes.length - group.length), 0);
  const label = groups.length > 1 && pairs === cut.length
    ? groups.map((group) => group.map((node) => `n${node}`).join(" ")).join("  ✂  ")
    : cut.slice(0, 6).map(({ from, to }) => `n${from}↛n${to}`).join("  ") + (cut.length > 6 ? " …" : "");
  return { outside, label };
}

function readCall(model, event) {
  model.open = model.open || new Map();
  const key = `${event.client} ${event.call}`;
  if (event.name === "Invoke") {
    const call = { start: event.at, end: null, invoke: event, back: null, row: 0 };
    model.open.set(key, call);
    model.calls.push(call);
    return;
  }
  const call = model.open.get(key);
  if (!call) return;
  model.open.delete(key);
  call.end = event.at;
  call.back = event;
  event.invoke = call.invoke;
}

function finish(model) {
  const close = (one) => { if (one.end === null) one.end = model.end; };
  for (const lane of model.lanes.values()) { lane.segments.forEach(close); lane.pauses.forEach(close); }
  model.cuts.forEach(close);
  const flights = model.arrows.filter((one) => one.end !== null).map((one) => one.end - one.start).sort((a, b) => a - b);
  model.flight = flights[flights.length >> 1] || 100;
  const last = model.events.length ? model.events[model.events.length - 1].at : 0;
  for (const arrow of model.arrows) {
    if (arrow.end === null) arrow.end = arrow.start + model.flight * LOST_AT;
    else if (arrow.fate === "unread" && arrow.end >= last) arrow.fate = "under way";
    model.longest = Math.max(model.longest, arrow.end - arrow.start);
  }
  const free = [];
  for (const call of model.calls) {
    close(call);
    let row = free.findIndex((until) => until < call.start);
    if (row < 0) row = free.length < 6 ? free.length : free.indexOf(Math.min(...free));
    free[row] = Math.max(free[row] || 0, call.end);
    call.row = row;
  }
  model.callRows = free.length;
  model.longestCall = model.calls.reduce((longest, call) => Math.max(longest, call.end - call.start), 0);
  model.violation = model.events.find((event) => event.name === "Violation") || null;
}

/** The place of the first element of an ascending list whose `key` is not less. */
function firstNotLess(list, value, key) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(list[middle]) < value) low = middle + 1; else high = middle;
  }
  return low;
}

/** What a node's core was after its last step up to `at`, if its process still ran. */
function stateAt(lane, at, until) {
  const segment = lane.segments.find((one) => one.start <= at && (at < one.end || one.end === until)) || null;
  const step = lane.steps[firstNotLess(lane.steps, at + 1, (one) => one.at) - 1];
  return segment && step && segment.role !== "starting" ? step.state : null;
}
