// Draws what is in view, and knows what lies under a point.

const GUTTER = 58;
const AXIS = 22;
const CUT_ROW = 20;
const CALL = 9;
/** Most arrows of a picture for each pixel of its width: beyond that the least telling kinds are left out. */
const ARROWS = 0.8;

let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["back", "panel", "ink", "quiet", "line", "accent", "bad", "cut", "lane", ...KINDS.map(([kind]) => kind)];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  colours.dark = matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Neighbouring terms get hues that are far apart. */
function termColour(term, alpha = 1) {
  if (term === null) return colours.line;
  const hue = (205 + term * 137.5) % 360;
  return `hsl(${hue} ${colours.dark ? 48 : 62}% ${colours.dark ? 52 : 44}% / ${alpha})`;
}

/** A canvas as large as it is shown, and its pen. */
function prepare(canvas) {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  return { pen, width, height };
}

/** Where everything is: rows by height, time by width. */
function layout(model, view, width, height) {
  const nodes = [...model.lanes.keys()];
  const calls = model.callRows ? model.callRows * CALL + 26 : 0;
  const top = AXIS + CUT_ROW;
  const room = Math.max(height - top - calls, nodes.length * 26);
  const spacing = room / nodes.length;
  const thick = Math.min(24, spacing * 0.4);
  const y = new Map(nodes.map((node, i) => [node, top + spacing * (i + 0.5)]));
  const scale = (width - GUTTER) / (view.end - view.start);
  return {
    width, height, spacing, thick, y, scale, top, callTop: height - calls + 12,
    x: (at) => GUTTER + (at - view.start) * scale,
    at: (x) => view.start + (x - GUTTER) / scale,
  };
}

function drawLanes(canvas, model, view, look) {
  const { pen, width, height } = prepare(canvas);
  const place = layout(model, view, width, height);
  const hits = [];
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, 0, width - GUTTER, height);
  pen.clip();
  drawAxis(pen, view, place);
  drawCuts(pen, model, view, place, hits);
  for (const lane of model.lanes.values()) drawLane(pen, lane, view, place, model);
  const hidden = drawArrows(pen, model, view, place, look, hits);
  for (const lane of model.lanes.values()) drawSteps(pen, lane, view, place);
  for (const lane of model.lanes.values()) drawMarks(pen, lane, view, place, look, hits);
  drawCalls(pen, model, view, place, look, hits);
  drawViolation(pen, model, place);
  drawChosen(pen, model, place, look);
  pen.restore();
  drawGutter(pen, model, view, place);
  return { place, hits, hidden };
}

function drawAxis(pen, view, place) {
  const wanted = 110 / place.scale;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = Math.max([1, 2, 5, 10].map((n) => n * power).find((n) => n >= wanted), 1);
  pen.fillStyle = colours.quiet;
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  pen.textAlign = "left";
  for (let at = Math.ceil(view.start / step) * step; at <= view.end; at += step) {
    const x = Math.round(place.x(at)) + 0.5;
    pen.beginPath();
    pen.moveTo(x, 4);
    pen.lineTo(x, place.height);
    pen.globalAlpha = 0.6;
    pen.stroke();
    pen.globalAlpha = 1;
    pen.fillText(timeText(at, step), x + 4, AXIS / 2 + 1);
  }
}

/** Seconds where steps are long, milliseconds where they are short. */
function timeText(at, step) {
  if (step >= 100000) return `${(at / 1e6).toFixed(step >= 1e6 ? 0 : 1)} s`;
  return `${(at / 1000).toFixed(step >= 1000 ? 0 : 3)} ms`;
}

function drawCuts(pen, model, view, place, hits) {
  for (const cut of model.cuts) {
    if (cut.end < view.start || cut.start > view.end) continue;
    const x0 = Math.max(place.x(cut.start), GUTTER - 2), x1 = Math.min(place.x(cut.end), place.width + 2);
    const wide = Math.max(x1 - x0, 1.5);
    pen.fillStyle = colours.cut;
    pen.globalAlpha = 0.1;
    pen.fillRect(x0, place.top, wide, place.callTop - place.top - 14);
    pen.globalAlpha = 0.22;
    for (const node of cut.outside) {
      pen.fillRect(x0, place.y.get(node) - place.spacing * 0.42, wide, place.spacing * 0.84);
    }
    pen.globalAlpha = 0.9;
    pen.fillRect(x0, AXIS + 1, wide, CUT_ROW - 4);
    pen.globalAlpha = 1;
    if (wide > 50) fitText(pen, cut.label, x0 + 6, AXIS + CUT_ROW / 2 - 1, wide - 10, colours.back);
    hits.push({ x0, x1: x0 + wide, y0: AXIS, y1: AXIS + CUT_ROW, event: cut.event });
  }
}

function fitText(pen, text, x, y, room, colour) {
  pen.save();
  pen.beginPath();
  pen.rect(x, y - 9, room, 18);
  pen.clip();
  pen.fillStyle = colour;
  pen.textAlign = "left";
  pen.fillText(text, x, y);
  pen.restore();
}

/** Text that stays readable over arrows. */
function textOnTop(pen, text, x, y) {
  pen.strokeStyle = colours.back;
  pen.lineWidth = 4;
  pen.lineJoin = "round";
  pen.strokeText(text, x, y);
  pen.fillText(text, x, y);
}

function drawLane(pen, lane, view, place, model) {
  const y = place.y.get(lane.node);
  pen.strokeStyle = colours.line;
  pen.setLineDash([2, 4]);
  pen.beginPath();
  pen.moveTo(place.x(Math.max(view.start, model.begin)), y);
  pen.lineTo(place.x(Math.min(view.end, model.end)), y);
  pen.stroke();
  pen.setLineDash([]);
  for (const segment of lane.segments) {
    if (segment.end < view.start || segment.start > view.end) continue;
    drawSegment(pen, segment, y, place);
  }
  for (const pause of lane.pauses) {
    const x0 = Math.max(place.x(pause.start), GUTTER), x1 = Math.min(place.x(pause.end), place.width);
    if (x1 > x0) hatch(pen, x0, y - place.thick / 2, x1 - x0, place.thick, colours.ink, 7);
  }
}

function drawSegment(pen, segment, y, place) {
  const x0 = Math.max(place.x(segment.start), GUTTER - 3), x1 = Math.min(place.x(segment.end), place.width + 3);
  const wide = Math.max(x1 - x0, 1);
  const leads = segment.role === "leader", asks = segment.role === "candidate" || segment.role === "pre-candidate";
  const thick = leads ? place.thick : place.thick * 0.5;
  pen.fillStyle = colours.back;
  pen.fillRect(x0, y - thick / 2, wide, thick);
  pen.fillStyle = termColour(segment.term, leads ? 1 : 0.4);
  pen.fillRect(x0, y - thick / 2, wide, thick);
  if (asks) hatch(pen, x0, y - thick / 2, wide, thick, termColour(segment.term), 5);
  if (leads && wide > 54) {
    const text = wide > 130 ? `leader of term ${segment.term}` : `term ${segment.term}`;
    fitText(pen, text, x0 + 16, y, wide - 20, colours.dark ? "#0c0d10" : "#fff");
  }
}

function hatch(pen, x, y, width, height, colour, step) {
  pen.save();
  pen.beginPath();
  pen.rect(x, y, width, height);
  pen.clip();
  pen.strokeStyle = colour;
  pen.lineWidth = 1.3;
  pen.beginPath();
  for (let at = x - height; at < x + width; at += step) {
    pen.moveTo(at, y + height);
    pen.lineTo(at + height, y);
  }
  pen.stroke();
  pen.restore();
}

/** The arrows in view, the most telling kinds first; how many of which kind found no room. */
function drawArrows(pen, model, view, place, look, hits) {
  const first = firstNotLess(model.arrows, view.start - model.longest, (one) => one.start);
  const byKind = new Map(KINDS.map(([kind]) => [kind, []]));
  for (let i = first; i < model.arrows.length && model.arrows[i].start <= view.end; i++) {
    if (model.arrows[i].end >= view.start) byKind.get(model.arrows[i].kind).push(model.arrows[i]);
  }
  let budget = ARROWS * place.width;
  const hidden = [];
  const shown = [];
  for (const [kind, label] of KINDS) {
    const arrows = byKind.get(kind);
    if (!look.kinds.has(kind) || !arrows.length) continue;
    if (arrows.length > budget) hidden.push(`${arrows.length.toLocaleString("en")} ${label}`);
    else { budget -= arrows.length; shown.push(arrows); }
  }
  // The telling ones last, on top of the others.
  for (const arrows of shown.reverse()) for (const arrow of arrows) drawArrow(pen, arrow, place, look, hits);
  return hidden;
}

function drawArrow(pen, arrow, place, look, hits) {
  const lost = arrow.fate === "lost" || arrow.fate === "breaks";
  const from = place.y.get(arrow.from), to = place.y.get(arrow.to);
  if (from === undefined || to === undefined) return;
  const down = to > from ? 1 : -1;
  const y0 = from + (down * place.thick) / 2;
  const yEnd = to - (down * place.thick) / 2;
  const y1 = lost ? y0 + (yEnd - y0) * LOST_AT : yEnd;
  const x0 = place.x(arrow.start), x1 = place.x(arrow.end);
  const dim = look.matches && !look.matches.has(arrow.send.index) && !(arrow.receive && look.matches.has(arrow.receive.index));
  pen.globalAlpha = dim ? 0.12 : arrow.kind === "beat" ? 0.55 : 0.85;
  pen.strokeStyle = pen.fillStyle = colours[arrow.kind];
  pen.lineWidth = look.bold ? 2.5 : arrow.kind === "beat" ? 0.8 : 1.3;
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
  if (lost || arrow.fate === "unread") cross(pen, x1, y1, 4, colours.bad);
  else arrowHead(pen, x0, y0, x1, y1);
  pen.globalAlpha = 1;
  hits.push({ line: [x0, y0, x1, y1], event: arrow.send, arrow });
}

function arrowHead(pen, x0, y0, x1, y1) {
  const angle = Math.atan2(y1 - y0, x1 - x0);
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x1 - 7 * Math.cos(angle - 0.4), y1 - 7 * Math.sin(angle - 0.4));
  pen.lineTo(x1 - 7 * Math.cos(angle + 0.4), y1 - 7 * Math.sin(angle + 0.4));
  pen.fill();
}

function cross(pen, x, y, size, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(x - size, y - size);
  pen.lineTo(x + size, y + size);
  pen.moveTo(x - size, y + size);
  pen.lineTo(x + size, y - size);
  pen.stroke();
}

/** Words beside a mark, where there is room. */
const MARK_TEXT = {
  BecomeLeader: (event) => `leads term ${event.state.term}`, Timeout: (event) => `campaigns in term ${event.state.term}`,
  StepDown: () => "steps down", Crash: () => "killed", PowerFailure: () => "power lost", Restart: () => "restarts",
  Start: () => "starts", Halt: () => "halts", Wipe: () => "disk wiped", RollBack: () => "disk rolled back",
  SetClock: () => "clock set", Slow: () => "slow", Fault: () => "fault", DiskError: () => "disk error", Persisted: () => "write failed",
  InstallSnapshot: () => "snapshot installed", TakeSnapshot: () => "snapshot", TruncateLog: () => "log cut", Pause: () => "paused",
  ChangeConfiguration: () => "configuration", GrantVote: (event) => `votes n${event.state.vote}`, Recover: () => "recovered",
  Resume: () => "goes on",
};

function drawMarks(pen, lane, view, place, look, hits) {
  const first = firstNotLess(lane.marks, view.start - 1, (one) => one.at);
  const marks = [];
  for (let i = first; i < lane.marks.length && lane.marks[i].at <= view.end; i++) marks.push(lane.marks[i]);
  const y = place.y.get(lane.node);
  const glyphs = [], texts = [];
  const free = (taken, x0, x1) => taken.every(([a, b]) => x1 < a || x0 > b);
  // The weightiest take their place first, so that crowded ones give way.
  for (const event of marks.sort((a, b) => b.weight - a.weight || a.at - b.at)) {
    const x = place.x(event.at);
    if (!free(glyphs, x - 3, x + 3)) continue;
    glyphs.push([x - 3, x + 3]);
    pen.globalAlpha = look.matches && !look.matches.has(event.index) ? 0.25 : 1;
    drawGlyph(pen, event, x, y, place.thick);
    hits.push({ x0: x - 6, x1: x + 6, y0: y - place.thick / 2 - 8, y1: y + place.thick / 2 + 8, event });
    const text = MARK_TEXT[event.name] && MARK_TEXT[event.name](event);
    const room = text ? pen.measureText(text).width : 0;
    if (text && place.spacing > 40 && free(texts, x, x + room + 8)) {
      texts.push([x, x + room + 8]);
      pen.fillStyle = BAD_MARKS.has(event.name) ? colours.bad : colours.ink;
      pen.textAlign = "left";
      textOnTop(pen, text, x + 3, y - place.thick / 2 - 9);
    }
    pen.globalAlpha = 1;
  }
}

/** The small steps of a core, in words below its row, when few enough are in view. */
function drawSteps(pen, lane, view, place) {
  const first = firstNotLess(lane.steps, view.start, (one) => one.at);
  const last = firstNotLess(lane.steps, view.end, (one) => one.at);
  if (last - first > 80) return;
  const y = place.y.get(lane.node);
  let free = -Infinity;
  for (const event of lane.steps.slice(first, last)) {
    const x = place.x(event.at);
    pen.fillStyle = colours.ink;
    pen.fillRect(x - 0.5, y + place.thick * 0.2, 1, place.thick * 0.3);
    const text = event.text.length > 36 ? `${event.text.slice(0, 35)}…` : event.text;
    if (event.weight || x < free || place.spacing < 60) continue;
    pen.fillStyle = colours.quiet;
    pen.textAlign = "left";
    pen.font = "11px system-ui, sans-serif";
    textOnTop(pen, text, x + 2, y + place.thick / 2 + 8);
    free = x + pen.measureText(text).width + 10;
    pen.font = "12px system-ui, sans-serif";
  }
}

const BAD_MARKS = new Set(["Crash", "PowerFailure", "Halt", "Wipe", "RollBack", "Fault", "DiskError", "Persisted", "Violation"]);

function drawGlyph(pen, event, x, y, thick) {
  const half = thick / 2;
  const colour = event.state ? termColour(event.state.term) : colours.ink;
  pen.lineWidth = 1.5;
  if (BAD_MARKS.has(event.name)) return cross(pen, x, y, 5, colours.bad);
  if (event.name === "BecomeLeader") return star(pen, x + 7, y, 6, colours.dark ? "#0c0d10" : "#fff");
  if (event.name === "Timeout" || event.name === "BecomePreCandidate") {
    pen.fillStyle = pen.strokeStyle = event.name === "Timeout" ? colours.vote : colour;
    pen.beginPath();
    pen.moveTo(x, y - half); pen.lineTo(x + 5, y); pen.lineTo(x, y + half); pen.lineTo(x - 5, y);
    pen.closePath();
    return event.name === "Timeout" ? pen.fill() : pen.stroke();
  }
  if (event.name === "Start" || event.name === "Restart") {
    pen.fillStyle = colours.answer;
    pen.beginPath();
    pen.moveTo(x, y - 6); pen.lineTo(x + 9, y); pen.lineTo(x, y + 6);
    return pen.fill();
  }
  if (event.name === "InstallSnapshot" || event.name === "TakeSnapshot") {
    pen.fillStyle = colours.snapshot;
    return pen.fillRect(x - 4, y - 4, 8, 8);
  }
  pen.fillStyle = event.weight > 1 ? colours.ink : colour;
  return pen.fillRect(x - 1, y - half, 2, thick);
}

function star(pen, x, y, size, colour) {
  pen.fillStyle = colour;
  pen.beginPath();
  for (let i = 0; i < 10; i++) {
    const reach = i % 2 ? size * 0.45 : size, angle = -Math.PI / 2 + (i * Math.PI) / 5;
    pen.lineTo(x + reach * Math.cos(angle), y + reach * Math.sin(angle));
  }
  pen.fill();
}

const OUTCOMES = { done: "answer", "not-done": "reject", unknown: "bad" };

function drawCalls(pen, model, view, place, look, hits) {
  const first = firstNotLess(model.calls, view.start - model.longestCall, (one) => one.start);
  for (let i = first; i < model.calls.length && model.calls[i].start <= view.end; i++) {
    const call = model.calls[i];
    if (call.end < view.start) continue;
    const x0 = Math.max(place.x(call.start), GUTTER - 2), x1 = Math.min(place.x(call.end), place.width + 2);
    const y = place.callTop + call.row * CALL, wide = Math.max(x1 - x0, 2);
    const found = look.matches && (look.matches.has(call.invoke.index) || (call.back && look.matches.has(call.back.index)));
    pen.globalAlpha = look.matches && !found ? 0.15 : 0.85;
    pen.fillStyle = colours[call.back ? OUTCOMES[call.back.outcome] : "beat"];
    pen.fillRect(x0, y, wide - 0.5, CALL - 2);
    pen.globalAlpha = 1;
    hits.push({ x0, x1: x0 + wide, y0: y, y1: y + CALL - 1, event: call.invoke, call });
  }
}

function drawViolation(pen, model, place) {
  if (!model.violation) return;
  const x = place.x(model.violation.at), y = place.y.get(model.violation.node);
  pen.strokeStyle = pen.fillStyle = colours.bad;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(x, AXIS);
  pen.lineTo(x, place.height);
  pen.stroke();
  if (y === undefined) return;
  pen.beginPath();
  pen.arc(x, y, place.thick * 0.75, 0, 7);
  pen.stroke();
  pen.textAlign = "right";
  pen.font = "bold 12px system-ui, sans-serif";
  textOnTop(pen, "promise broken", x - 8, y + place.thick / 2 + 14);
  pen.font = "12px system-ui, sans-serif";
}

function drawChosen(pen, model, place, look) {
  const event = look.chosen;
  if (!event) return;
  const x = place.x(event.at);
  pen.strokeStyle = colours.accent;
  pen.lineWidth = 1;
  pen.setLineDash([3, 3]);
  pen.beginPath();
  pen.moveTo(x, AXIS);
  pen.lineTo(x, place.height);
  pen.stroke();
  pen.setLineDash([]);
  pen.lineWidth = 2.5;
  const y = place.y.get(event.node);
  if (y !== undefined) { pen.beginPath(); pen.arc(x, y, place.thick * 0.7, 0, 7); pen.stroke(); }
  for (const arrow of look.chosenArrows) {
    drawArrow(pen, arrow, place, { bold: true }, []);
  }
}

function drawGutter(pen, model, view, place) {
  pen.fillStyle = colours.back;
  pen.fillRect(0, 0, GUTTER, place.height);
  pen.textAlign = "left";
  pen.font = "bold 14px system-ui, sans-serif";
  for (const [node, y] of place.y) {
    pen.fillStyle = colours.ink;
    pen.fillText(`n${node}`, 16, y);
  }
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = colours.quiet;
  if (model.cuts.length) pen.fillText("cuts", 16, AXIS + CUT_ROW / 2 - 1);
  if (model.callRows) pen.fillText("clients", 10, place.callTop + (model.callRows * CALL) / 2 - 2);
}

/** The whole run in a few pixels a node, and the window that is in view. */
function drawOverview(canvas, model, view, look) {
  const { pen, width, height } = prepare(canvas);
  const whole = { start: model.begin, end: model.end };
  const scale = (width - GUTTER) / (whole.end - whole.start);
  const x = (at) => GUTTER + (at - whole.start) * scale;
  const row = (height - 12) / model.lanes.size;
  pen.fillStyle = colours.cut;
  pen.globalAlpha = 0.3;
  for (const cut of model.cuts) pen.fillRect(x(cut.start), 4, Math.max(x(cut.end) - x(cut.start), 1), height - 8);
  pen.globalAlpha = 1;
  [...model.lanes.values()].forEach((lane, i) => {
    const y = 6 + row * (i + 0.5);
    for (const segment of lane.segments) {
      const leads = segment.role === "leader", thick = Math.min(leads ? row * 0.85 : row * 0.3, 14);
      pen.fillStyle = termColour(segment.term, leads ? 1 : 0.45);
      pen.fillRect(x(segment.start), y - thick / 2, Math.max((segment.end - segment.start) * scale, 0.7), thick);
    }
  });
  if (look.matches) {
    pen.fillStyle = colours.accent;
    let last = -1;
    for (const index of look.matches) {
      const at = Math.round(x(model.events[index].at));
      if (at !== last) pen.fillRect(at, height - 4, 1.5, 4);
      last = at;
    }
  }
  if (model.violation) {
    pen.fillStyle = colours.bad;
    pen.fillRect(x(model.violation.at) - 1, 0, 2, height);
  }
  const x0 = x(view.start), x1 = Math.max(x(view.end), x0 + 3);
  pen.fillStyle = colours.ink;
  pen.globalAlpha = 0.1;
  pen.fillRect(GUTTER, 0, x0 - GUTTER, height);
  pen.fillRect(x1, 0, width - x1, height);
  pen.globalAlpha = 1;
  pen.strokeStyle = colours.accent;
  pen.lineWidth = 1.5;
  pen.strokeRect(x0, 1, x1 - x0, height - 2);
  pen.fillStyle = colours.quiet;
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "left";
  pen.fillText("whole run", 4, height / 2);
  return { at: (px) => whole.start + (px - GUTTER) / scale };
}
