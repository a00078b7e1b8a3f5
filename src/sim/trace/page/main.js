// The page: what is in view, what is chosen, what is searched for.

(() => {
  const byId = (id) => document.getElementById(id);
  const [lanes, overview, tip, list, rows] = ["lanes", "overview", "tip", "list", "rows"].map(byId);
  const ROW = 22;
  let model, view, drawn, mini, listed = [], asked = false;
  const look = { kinds: new Set(KINDS.map(([kind]) => kind)), matches: null, chosen: null, chosenArrows: [] };

  function open(text) {
    model = readTrace(text);
    Object.assign(look, { matches: null, chosen: null, chosenArrows: [] });
    showFacts();
    fit();
    search();
    if (model.violation) showViolation();
  }

  function showFacts() {
    const { facts, events, end, begin } = model;
    const seconds = ((end - begin) / 1e6).toFixed(1);
    const forgotten = facts.forgotten ? ` (${facts.forgotten.toLocaleString("en")} earlier ones were not kept)` : "";
    byId("facts").replaceChildren(
      `seed ${facts.seed} · ${facts.profile} · ${facts.nodes.length} nodes · ${seconds} s · ${events.length.toLocaleString("en")} events${forgotten} · `,
      element("code", facts.replay),
    );
    document.title = `Quorate, seed ${facts.seed}`;
    byId("violation").hidden = !model.violation;
    if (model.violation) byId("violation").querySelector("span").textContent = model.violation.reason;
  }

  function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // --- the view ---

  function draw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      drawn = drawLanes(lanes, model, view, look);
      mini = drawOverview(overview, model, view, look);
      byId("hint").textContent = drawn.hidden.length ? `zoom in to see ${drawn.hidden.join(", ")}` : "";
    });
  }

  function move(start, end) {
    const room = (model.end - model.begin) * 0.02;
    const width = Math.min(Math.max(end - start, 200), model.end - model.begin + 2 * room);
    start = Math.min(Math.max(start, model.begin - room), model.end + room - width);
    view = { start, end: start + width };
    draw();
  }

  const fit = () => { view = { start: model.begin, end: model.end }; move(model.begin - 1, model.end * 1.01); };

  function zoom(factor, at = (view.start + view.end) / 2) {
    move(at - (at - view.start) * factor, at + (view.end - at) * factor);
  }

  function pan(share) {
    const by = (view.end - view.start) * share;
    move(view.start + by, view.end + by);
  }

  /** Brings an event into view, close enough to see what is around it. */
  function goTo(event) {
    const width = Math.min(view.end - view.start, Math.max(model.flight * 60, 20000));
    move(event.at - width / 2, event.at + width / 2);
    choose(event);
  }

  function showViolation() {
    const width = Math.min(model.end - model.begin, 400000);
    move(model.violation.at - width * 0.92, model.violation.at + width * 0.08);
    choose(model.violation);
  }

  // --- what is under the pointer ---

  function under(x, y) {
    let best = null, least = 6;
    for (const hit of drawn ? drawn.hits : []) {
      const away = hit.line ? fromLine(x, y, hit.line)
        : x >= hit.x0 && x <= hit.x1 && y >= hit.y0 && y <= hit.y1 ? Math.abs(x - (hit.x0 + hit.x1) / 2) / 100 : Infinity;
      if (away <= least) { least = away; best = hit; }
    }
    return best || onLane(x, y);
  }

  function fromLine(x, y, [x0, y0, x1, y1]) {
    const square = (x1 - x0) ** 2 + (y1 - y0) ** 2;
    const part = square ? Math.min(Math.max(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / square, 0), 1) : 0;
    return Math.hypot(x - x0 - part * (x1 - x0), y - y0 - part * (y1 - y0));
  }

  /** On a node's row: the last step before. */
  function onLane(x, y) {
    if (!drawn || x < GUTTER) return null;
    for (const lane of model.lanes.values()) {
      if (Math.abs(y - drawn.place.y.get(lane.node)) > drawn.place.thick / 2 + 2) continue;
      const step = lane.steps[firstNotLess(lane.steps, drawn.place.at(x), (one) => one.at) - 1];
      return step ? { event: step } : null;
    }
    return null;
  }

  // --- the details ---

  const who = (event) => (event.client || (event.node === undefined ? "network" : `n${event.node}`));
  const ms = (at) => `${(at / 1000).toFixed(3)} ms`;

  function choose(event) {
    look.chosen = event;
    const sending = event.message && model.sendings && model.sendings.get(event.message.id);
    look.chosenArrows = sending || [];
    showDetails(event);
    showInList(event);
    draw();
  }

  function showDetails(event) {
    const details = byId("details");
    const head = element("h2", `${who(event)}: ${event.name}`);
    if (BAD_MARKS.has(event.name)) head.className = "bad";
    details.replaceChildren(head, element("p", ms(event.at), "quiet"), element("p", event.text));
    const skipped = ["at", "name", "node", "text", "index", "weight", "sought", "state", "message", "sending", "invoke", "changes", "log", "cut"];
    const fields = { ...(event.message || {}) };
    for (const [name, value] of Object.entries(event)) if (!skipped.includes(name)) fields[name] = value;
    if (event.changes) fields.changes = event.changes.join(", ");
    if (event.log) fields.log = `after ${event.log.after}: ${entriesText(event.log.entries)}`;
    if (event.state) Object.assign(fields, event.state);
    const table = element("table");
    for (const [name, value] of Object.entries(fields)) {
      const row = table.insertRow();
      row.append(element("th", name.replaceAll("_", " ")), element("td", valueText(name, value)));
    }
    details.append(table);
    for (const [label, other] of related(event)) {
      const button = element("button", label);
      button.type = "button";
      button.onclick = () => goTo(other);
      details.append(button, " ");
    }
    details.append(clusterAt(event.at));
  }

  function related(event) {
    const found = [];
    if (event.sending) found.push(["its sending", event.sending]);
    if (event.invoke) found.push(["what was asked", event.invoke]);
    for (const arrow of look.chosenArrows) {
      if (arrow.receive && arrow.receive !== event) found.push([`taken at ${ms(arrow.receive.at)}`, arrow.receive]);
    }
    const call = event.name === "Invoke" && model.calls.find((one) => one.invoke === event);
    if (call && call.back) found.push(["how it ended", call.back]);
    return found;
  }

  const entriesText = (entries) =>
    entries.length ? entries.slice(0, 12).map((one) => `${one.kind}@${one.term}`).join(" ") + (entries.length > 12 ? ` … ${entries.length} in all` : "") : "no entries";

  function valueText(name, value) {
    if (value === null) return "–";
    if (name === "arrives") return value.map(ms).join(", ");
    if (name === "arrived" || name === "until") return ms(value);
    if (name === "from" || name === "to") return `n${value}`;
    if (name === "entries") return entriesText(value);
    if (Array.isArray(value)) return value.join(" ") || "–";
    if (name === "digest") return value.slice(0, 16);
    if (typeof value === "object" && !value.index) return "–";
    if (typeof value === "object") return `${value.index}@${value.term}`;
    return String(value);
  }

  /** All nodes at one time: what a person compares first. */
  function clusterAt(at) {
    const table = element("table", undefined, "all");
    const head = table.insertRow();
    for (const title of ["", "role", "term", "vote", "log", "commit", "applied"]) head.append(element("th", title));
    for (const lane of model.lanes.values()) {
      const state = stateAt(lane, at, model.end);
      const row = table.insertRow();
      row.append(element("th", `n${lane.node}`));
      if (!state) { row.append(element("td", "–")); continue; }
      const role = element("td", state.role);
      const swatch = element("span", "", "swatch");
      swatch.style.background = termColour(state.term);
      role.prepend(swatch);
      row.append(role);
      const vote = state.vote === null ? "–" : `n${state.vote}`;
      for (const value of [state.term, vote, `${state.last.index}@${state.last.term}`, state.commit, state.applied]) row.append(element("td", value));
    }
    return table;
  }

  // --- search and list ---

  function search() {
    // Words in any order; those between quotation marks stay together.
    const words = [...byId("query").value.toLowerCase().matchAll(/"([^"]+)"|[^\s"]+/g)].map(([word, quoted]) => quoted || word);
    const fits = (event) => {
      event.sought = event.sought || `${who(event)} ${event.name} ${event.text}`.toLowerCase();
      return words.every((word) => event.sought.includes(word));
    };
    const found = words.length ? model.events.filter(fits) : null;
    look.matches = found && new Set(found.map((event) => event.index));
    listed = found || (byId("notable").checked ? model.events.filter((event) => event.weight > 1) : model.events);
    byId("found").textContent = found ? `${found.length.toLocaleString("en")} found` : "";
    byId("count").textContent = `${listed.length.toLocaleString("en")} shown`;
    rows.style.height = `${listed.length * ROW}px`;
    if (look.chosen) showInList(look.chosen); else fillList();
    draw();
  }

  function fillList() {
    const first = Math.max(Math.floor(list.scrollTop / ROW) - 5, 0);
    const last = Math.min(first + Math.ceil(list.clientHeight / ROW) + 10, listed.length);
    rows.replaceChildren(...listed.slice(first, last).map((event, i) => {
      const row = element("div", undefined, "row");
      row.style.top = `${(first + i) * ROW}px`;
      row.title = event.text;
      row.classList.toggle("chosen", event === look.chosen);
      row.classList.toggle("bad", BAD_MARKS.has(event.name));
      row.append(element("span", ms(event.at), "at"), element("span", event.client ? "" : who(event), "who"), " ", event.text);
      row.onclick = () => goTo(event);
      return row;
    }));
  }

  function showInList(event) {
    const place = firstNotLess(listed, event.index, (one) => one.index);
    const top = place * ROW;
    if (top < list.scrollTop || top > list.scrollTop + list.clientHeight - ROW) list.scrollTop = top - list.clientHeight / 2;
    fillList();
  }

  function nextMatch(step) {
    if (!listed.length) return;
    const from = look.chosen ? look.chosen.index : -1;
    let place = firstNotLess(listed, step > 0 ? from + 1 : from, (one) => one.index) + (step > 0 ? 0 : -1);
    place = (place + listed.length) % listed.length;
    goTo(listed[place]);
  }

  // --- legend ---

  function swatch(paint) {
    const canvas = element("canvas");
    canvas.width = 68; canvas.height = 36;
    const pen = canvas.getContext("2d");
    pen.scale(2, 2);
    paint(pen);
    return canvas;
  }

  function bar(role) {
    return (pen) => drawSegment(pen, { start: 0, end: 34, role, term: 1 }, 9, { x: (at) => at + GUTTER, width: 200, thick: 14 });
  }

  function showLegend() {
    const shifted = (paint) => (pen) => { pen.translate(-GUTTER, 0); paint(pen); };
    const mark = (name, state) => (pen) => drawGlyph(pen, { name, state, weight: 2 }, 17, 9, 14);
    const band = (pen) => { pen.fillStyle = colours.cut; pen.globalAlpha = 0.35; pen.fillRect(0, 1, 34, 16); };
    const symbols = [
      ["leader", shifted(bar("leader"))], ["follower", shifted(bar("follower"))], ["candidate", shifted(bar("candidate"))],
      ["starts an election", mark("Timeout", { term: 1 })], ["starts", mark("Start")],
      ["crash, fault", (pen) => cross(pen, 17, 9, 5, colours.bad)],
      ["message lost or never read", (pen) => { pen.strokeStyle = colours.append; pen.beginPath(); pen.moveTo(2, 2); pen.lineTo(20, 10); pen.stroke(); cross(pen, 22, 11, 4, colours.bad); }],
      ["network cut", band], ["paused", (pen) => hatch(pen, 0, 2, 34, 14, colours.ink, 7)], ["snapshot", mark("TakeSnapshot")],
      ["call done", block("answer")], ["not done", block("reject")], ["not known", block("bad")], ["no answer yet", block("beat")],
    ];
    byId("symbols").replaceChildren(...symbols.map(([label, paint]) => {
      const item = element("li");
      item.append(swatch(paint), label);
      return item;
    }));
    byId("kinds").replaceChildren(...KINDS.map(([kind, label]) => {
      const item = element("li"), button = element("button");
      button.type = "button";
      button.setAttribute("aria-pressed", look.kinds.has(kind));
      button.append(swatch((pen) => {
        pen.strokeStyle = pen.fillStyle = colours[kind];
        pen.lineWidth = 1.6;
        pen.beginPath(); pen.moveTo(2, 4); pen.lineTo(28, 14); pen.stroke();
        arrowHead(pen, 2, 4, 30, 15);
      }), label);
      button.onclick = () => { if (!look.kinds.delete(kind)) look.kinds.add(kind); showLegend(); draw(); };
      item.append(button);
      return item;
    }));
  }

  function block(colour) {
    return (pen) => { pen.fillStyle = colours[colour]; pen.fillRect(2, 6, 30, 7); };
  }

  // --- pointer and keys ---

  let drag = null;
  lanes.addEventListener("pointerdown", (event) => {
    lanes.setPointerCapture(event.pointerId);
    drag = { x: event.offsetX, start: view.start, end: view.end, moved: false };
  });
  lanes.addEventListener("pointermove", (event) => {
    if (!drag) return showTip(event);
    const by = (drag.x - event.offsetX) / drawn.place.scale;
    if (Math.abs(event.offsetX - drag.x) > 3) drag.moved = true;
    if (drag.moved) { lanes.classList.add("dragging"); move(drag.start + by, drag.end + by); }
  });
  lanes.addEventListener("pointerup", (event) => {
    const hit = drag && !drag.moved && under(event.offsetX, event.offsetY);
    drag = null;
    lanes.classList.remove("dragging");
    if (hit) choose(hit.event);
  });
  lanes.addEventListener("pointerleave", () => { tip.hidden = true; });
  lanes.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / 1500);
    else zoom(Math.exp(event.deltaY / 400), drawn.place.at(event.offsetX));
  }, { passive: false });
  lanes.addEventListener("dblclick", (event) => zoom(0.3, drawn.place.at(event.offsetX)));

  function showTip(event) {
    const hit = under(event.offsetX, event.offsetY);
    tip.hidden = !hit;
    if (!hit) return;
    const more = hit.call && hit.call.back ? ` ${hit.call.back.text.slice(hit.call.back.text.indexOf("→"))}` : "";
    tip.textContent = `${ms(hit.event.at)}  ${hit.event.client ? "" : who(hit.event)} ${hit.event.text}${more}`;
    const right = event.offsetX > lanes.clientWidth - 300;
    tip.style.left = right ? "" : `${event.offsetX + 14}px`;
    tip.style.right = right ? `${lanes.clientWidth - event.offsetX + 14}px` : "";
    tip.style.top = `${event.offsetY + lanes.offsetTop + 16}px`;
  }

  const slide = (event) => {
    const half = (view.end - view.start) / 2, at = mini.at(event.offsetX);
    move(at - half, at + half);
  };
  overview.addEventListener("pointerdown", (event) => { overview.setPointerCapture(event.pointerId); slide(event); });
  overview.addEventListener("pointermove", (event) => { if (event.buttons) slide(event); });

  const KEYS = {
    ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1.6),
    f: fit, "/": () => byId("query").focus(), n: () => nextMatch(1), p: () => nextMatch(-1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.target.id === "query") {
      if (event.key === "Escape") { byId("query").value = ""; search(); lanes.focus(); }
      if (event.key === "Enter" && event.shiftKey) { event.preventDefault(); nextMatch(-1); }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });

  let pending = 0;
  byId("query").addEventListener("input", () => { clearTimeout(pending); pending = setTimeout(search, 120); });
  byId("search").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(pending); search(); nextMatch(1); });
  byId("previous").onclick = () => nextMatch(-1);
  byId("in").onclick = () => zoom(0.5);
  byId("out").onclick = () => zoom(2);
  byId("fit").onclick = fit;
  byId("notable").onchange = search;
  byId("violation").querySelector("button").onclick = () => showViolation();
  list.addEventListener("scroll", fillList);

  // Another trace may be dropped onto the page.
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) file.text().then(open).catch((error) => { byId("facts").textContent = `this is no trace: ${error.message}`; });
  });

  new ResizeObserver(() => { draw(); fillList(); }).observe(byId("picture"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); showLegend(); draw(); });
  readColours();
  open(byId("trace").textContent);
  showLegend();
})();
