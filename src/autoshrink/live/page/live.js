// The live page: panels from the server, events as they come, commands to the search.
import { cellOf, distance, edgesOf, middle } from "./masks.js";
import { ranked } from "./scoring.js";
import { Stage, put } from "./stage.js";
import { follow, get, post } from "./stream.js";

const $ = (id) => document.getElementById(id);
const MOST_EVENTS = 200;
// Each kind of event, and the panels that it changes; of any other all of them.
const CHANGES = {
  evaluated: ["state", "honesty", "cell", "now", "front", "map", "trajectory", "blocks", "candidates"],
  screened: [], opened: [], data: ["state", "cell"],
  retrained: ["state", "honesty", "front", "trajectory"], remeasured: ["state", "honesty", "front", "trajectory"], beside: ["state"],
};
const NAMES = ["state", "honesty", "cell", "now", "blocks", "front", "map", "trajectory"];

const panels = {};
const dirty = new Set([...NAMES, "candidates"]);
const visible = new Set(["state", "honesty"]);
const candidates = [];
const byName = new Map();
let whole = null, rights = null, live = null, connection = true, at = null, chosen = null, timer = null, busy = false;

const element = (name, words, kind) => {
  const made = document.createElement(name);
  if (words !== undefined) made.textContent = words;
  if (kind) made.className = kind;
  return made;
};

// --- reading only what changed -----------------------------------------------------------------------------------

function wanted() {
  return [...dirty].filter((name) => visible.has(name));
}

function soon(wait = 250) {
  if (timer === null && !busy && wanted().length && !document.hidden) timer = setTimeout(refresh, wait);
}

async function refresh() {
  timer = null;
  busy = true;
  const names = wanted(), began = performance.now();
  for (const name of names) dirty.delete(name);
  try {
    const only = names.filter((name) => name !== "candidates");
    if (names.includes("candidates")) await fetchCandidates();
    if (only.length) {
      const answer = await get(`api/panels?only=${only.join()}`);
      if (answer.rights) rights = answer.rights;
      for (const name of only) panels[name] = answer.found[name];
      for (const name of only) SHOW[name](panels[name]);
    }
    if (names.includes("candidates")) showCandidates();
  } catch (error) {
    for (const name of names) dirty.add(name);
    $("doing").textContent = `The page cannot be brought up to date: ${error.message}`;
    busy = false;
    return soon(3000);
  }
  busy = false;
  // A search on the same machine is not slowed by who watches it: most of the time nothing is asked.
  soon(Math.max(400, 5 * (performance.now() - began)));
}

async function fetchCandidates() {
  const { found } = await get(`api/candidates?after=${candidates.length}`);
  if (found.whole && whole && found.whole.edges.length !== whole.edges.length) {
    candidates.length = 0;
    const again = await get("api/candidates");
    return take(again.found);
  }
  take(found);
}

function take(found) {
  whole = found.whole;
  for (const one of found.candidates) {
    candidates.push(one);
    byName.set(one.candidate, one);
  }
}

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    for (const name of target.dataset.panels.split(" ")) visible[isIntersecting ? "add" : "delete"](name);
  }
  // Names stand in forms everywhere.
  visible.add("state").add("honesty").add("trajectory").add("blocks");
  soon(0);
}, { rootMargin: "300px" });

// --- where it stands ----------------------------------------------------------------------------------------------

function stateWords(state) {
  const progress = live?.progress;
  if (state.finished) return "finished";
  if (state.ending === "cancel") return "cancelling: what there is becomes the result";
  if (state.ending === "stop") return progress ? "stopping: finals are being measured" : "stopping: finals are measured when it is resumed";
  if (progress?.phase === "pausing") {
    const left = Math.max(0, progress.expected - progress.done);
    return `pausing: ${left} candidate${left === 1 ? "" : "s"} still being measured`;
  }
  if (state.paused || progress?.phase === "paused") return progress ? "paused" : "paused, and not running";
  return progress ? "running" : "not running";
}

function showState(state) {
  $("headline").textContent = state.headline;
  $("data").textContent = state.data;
  $("strategy").textContent = `${state.strategy}, ${state.evaluator}${state.budget ? `, at ${state.budget}` : ""}`;
  document.title = `${state.data}: ${stateWords(state)}`;
  const held = [
    state.focus ? `Held by a person: only cells ${state.focus}.` : "",
    Object.keys(state.ops).length ? `Held by a person: ${Object.entries(state.ops).map(([node, op]) => `node ${node} is ${op}`).join(", ")}.` : "",
  ];
  $("held").replaceChildren(...held.filter(Boolean).map((words) => element("li", words, "forced")));
  $("formula").textContent = `${state.formula}. All measured candidates are scored again here; nothing is trained.`;
  $("whatif-metric").textContent = state.metric;
  $("focus-form").hidden = !state.cells;
  $("cell-title").textContent = state.cells ? "The cell" : "The network";
  $("commands").replaceChildren(...(state.commands ?? []).map(commandLine).reverse());
  $("no-commands").hidden = (state.commands ?? []).length > 0;
  if ($("penalty").dataset.from !== String(state.penalty)) beginPenalty(state.penalty);
  showDoing();
  enable();
}

function commandLine(one) {
  const line = element("li", "");
  line.append(element("b", one.words), ` ${one.author}, from step ${one.step} on, ${time(one.at)}`);
  if (one.refused) line.append(element("span", ` refused: ${one.refused}`, "refused"));
  if (one.preferred) line.append(element("span", ` forced: the search preferred ${one.preferred}`, "forced"));
  return line;
}

const time = (seconds) => new Date(1000 * seconds).toLocaleTimeString();

function lasting(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function showDoing() {
  const state = panels.state;
  if (!state) return;
  const words = stateWords(state), progress = live?.progress;
  $("status").textContent = words;
  $("status").classList.toggle("open", !state.finished);
  const parts = [state.tried];
  if (state.finished) parts.push(state.stopped ? `ended: ${state.stopped}` : "");
  else parts.push(state.status);
  if (progress?.expected && !state.finished) {
    parts.push(`${progress.phase}${progress.phase === "search" ? ` step ${progress.step}` : ""}: ${progress.done} of ${progress.expected} done`);
    if (progress.seconds_left !== null) parts.push(`about ${lasting(progress.seconds_left)} left`);
  }
  $("doing").textContent = `${parts.filter(Boolean).join("; ")}.`;
}

function enable() {
  const state = panels.state, may = rights === "steer", over = state?.finished ?? false;
  for (const one of document.querySelectorAll(".verbs button, .verbs input, #edge-verbs button, #op-form button, #op, #focus-form button, #penalty-set, #pick")) {
    // A finished run goes on from a pick alone.
    one.disabled = !may || (over && !one.closest("#note-form") && one.id !== "pick");
  }
  for (const one of document.querySelectorAll('[data-verb="pause"],[data-verb="stop"],[data-verb="cancel"]')) {
    one.disabled = !may || over || (one.dataset.verb === "pause" && state.paused);
  }
  document.querySelector('[data-verb="resume"]').disabled = !may || over || !state?.paused;
  $("cell-panel").classList.toggle("steerable", may);
  if (rights === "read" && !$("said").textContent) $("said").textContent = "This link is for looking only.";
}

// --- commands -----------------------------------------------------------------------------------------------------

async function tell(command, words) {
  try {
    const { id, finished } = await post("api/commands", command);
    const when = finished || !live ? "`autoshrink resume` takes it in" : "it is taken in between steps";
    $("said").textContent = `Told as ${id}: ${words}; ${when}.`;
  } catch (error) {
    $("said").textContent = `Not told: ${error.message}`;
  }
}

for (const button of document.querySelectorAll("[data-verb]")) {
  const first = button.textContent;
  button.addEventListener("click", () => {
    if ("sure" in button.dataset && button.textContent === first) {
      button.textContent = `${first}: sure?`;
      setTimeout(() => { button.textContent = first; }, 4000);
      return;
    }
    button.textContent = first;
    tell({ command: button.dataset.verb }, button.dataset.verb);
  });
}
$("note-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("note").value.trim();
  if (text) tell({ command: "note", text }, "a note").then(() => { $("note").value = ""; });
});

// --- the cell -----------------------------------------------------------------------------------------------------

const stage = new Stage($("stage"), { label: "The cell: choose an edge or a node", onPoint: point, onChoose: choose });
const twins = new Stage($("diff"), { label: "Two cells over one another" });

function showCell(cell) {
  $("cell-size").textContent = cell.size;
  $("cell-legend").hidden = !cell.stage;
  if (!cell.stage) {
    stage.html = null;
    put($("stage"), cell.picture);
    return;
  }
  stage.draw(cell.stage, cell.whole, cell.ops);
  paint();
}

function paint() {
  const cell = panels.cell;
  if (!cell?.stage) return;
  const step = at === null ? null : panels.trajectory?.steps[at];
  const mask = step?.mask ?? cell.mask, past = Boolean(step?.mask);
  stage.show(mask);
  const held = panels.state ?? {}, is = (list, name) => (list ?? []).some((edge) => edge.join("-") === name);
  for (const one of cell.edges) {
    const name = one.edge.join("-"), path = stage.edges.get(name);
    path.classList.remove(...[...path.classList].filter((kind) => /^(hurts|helps)-|^(noise|unmeasured)$/.test(kind)));
    if (!past) path.classList.add(one.loss);
    path.style.setProperty("--as-width", past ? 2 : 1 + 0.6 * one.width);
    const pinned = is(held.pinned, name), forbidden = is(held.forbidden, name);
    path.classList.toggle("pinned", pinned);
    path.classList.toggle("forbidden", forbidden);
    const there = path.classList.contains("gone") ? "not in the cell" : "in the cell";
    const state = pinned ? "pinned" : forbidden ? "forbidden" : there;
    stage.words(`edge ${name}`, `Edge ${one.edge[0]} to ${one.edge[1]}, ${state}. ${one.words.join("; ")}`, chosen === `edge ${name}`);
  }
  for (const node of stage.nodes.keys()) {
    const op = mask.ops[node] ?? cell.whole.ops[node];
    if (node !== "0") stage.words(`node ${node}`, `Node ${node}, ${op}`, chosen === `node ${node}`);
  }
  if (chosen) describe(chosen);
}

function point(thing) {
  if (!chosen) describe(thing);
}

function choose(thing) {
  chosen = chosen === thing ? null : thing;
  for (const one of stage.box.querySelectorAll("[data-thing]")) {
    one.classList.toggle("chosen-thing", one.dataset.thing === chosen);
    one.setAttribute("aria-pressed", String(one.dataset.thing === chosen));
  }
  describe(thing);
}

function describe(thing) {
  const cell = panels.cell, [sort, name] = thing.split(" ");
  const edge = sort === "edge" ? cell.edges.find((one) => one.edge.join("-") === name) : null;
  if (sort === "edge" && !edge) return;
  $("chosen").hidden = false;
  $("edge-verbs").hidden = sort !== "edge" || chosen !== thing;
  $("op-form").hidden = sort !== "node" || chosen !== thing;
  const hint = chosen === thing || rights !== "steer" ? "" : "\nChoose it to steer.";
  if (edge) {
    const path = stage.edges.get(name), held = ["pinned", "forbidden"].filter((kind) => path.classList.contains(kind));
    $("chosen-title").textContent = `Edge ${edge.edge[0]}→${edge.edge[1]}${held.length ? `, ${held[0]} by a person` : ""}`;
    $("chosen-words").textContent = edge.words.join("\n") + hint;
    return;
  }
  const op = panels.cell.mask.ops[name] ?? cell.whole.ops[name];
  $("chosen-title").textContent = `Node ${name}: ${op}`;
  $("chosen-words").textContent = `What it computes: ${op}.${hint}`;
  if ($("op").dataset.node !== name) {
    $("op").dataset.node = name;
    $("op").replaceChildren(...Object.keys(cell.ops).map((one) => new Option(one, one, one === op, one === op)));
  }
}

for (const button of document.querySelectorAll("[data-edge-verb]")) {
  button.addEventListener("click", () => {
    if (!chosen?.startsWith("edge ")) return;
    const name = chosen.slice(5), edge = name.split("-").map(Number), command = button.dataset.edgeVerb;
    tell({ command, edge }, `${command} edge ${name}`);
  });
}
$("op-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const node = Number($("op").dataset.node), op = $("op").value;
  tell({ command: "op", node, op }, `node ${node} is ${op}`);
});
$("slider").addEventListener("input", () => {
  const steps = panels.trajectory.steps, place = Number($("slider").value);
  at = place >= steps.length ? null : place;
  showSlider();
  paint();
});

const present = () => (panels.state?.finished ? "found" : "now");

function showSlider() {
  const steps = panels.trajectory?.steps ?? [], step = at === null ? null : steps[at];
  $("slider-at").textContent = step ? `step ${step.step}` : present();
  $("slider-words").textContent = step ? `${step.change}: ${step.size}. ${step.evidence}. ${step.forced ?? ""}` : "";
  $("slider").setAttribute("aria-valuetext", step ? `step ${step.step}, ${step.change}` : present());
}

// --- charts -------------------------------------------------------------------------------------------------------

const tip = element("div", "", "tip");
tip.hidden = true;
document.body.append(tip);

function titles(box) {
  for (const title of box.querySelectorAll("svg.chart title")) {
    title.parentNode.dataset.tip = title.textContent;
    title.remove();
  }
}

function unlit() {
  tip.hidden = true;
  for (const mark of document.querySelectorAll(".lit")) mark.classList.remove("lit");
  for (const edge of stage.box.querySelectorAll(".faded")) edge.classList.remove("faded");
}

function nearest(box, x, y) {
  let best = null, closest = 18;
  for (const mark of box.querySelectorAll("[data-tip]")) {
    const place = mark.getBoundingClientRect();
    const far = Math.hypot(place.x + place.width / 2 - x, place.y + place.height / 2 - y);
    if (far < closest) [best, closest] = [mark, far];
  }
  return best;
}

function hover(box, event) {
  unlit();
  const mark = nearest(box, event.clientX, event.clientY);
  if (!mark) return;
  tip.textContent = mark.dataset.tip;
  tip.hidden = false;
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 16, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8))}px`;
  const key = mark.dataset.key;
  if (!key) return;
  for (const same of document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)) same.classList.add("lit");
  // Its edges in the cell: the others fade.
  const mask = byName.get(key)?.mask;
  if (!mask || !stage.html) return;
  whole.edges.forEach((edge, place) => {
    if (mask.bits[place] === "0") stage.edges.get(edge.join("-"))?.classList.add("faded");
  });
}

function chart(name) {
  return (panel) => {
    const box = $(name);
    if ($(`${name}-note`)) $(`${name}-note`).textContent = panel.note;
    if (box.dataset.html === String(panel.html.length) && box.kept === panel.html) return;
    box.kept = panel.html;
    put(box, panel.html);
    titles(box);
    if (name === "trajectory") showTrajectory(panel);
  };
}

function showTrajectory(panel) {
  const steps = panel.steps;
  $("way-note").textContent = panel.note;
  const masks = steps.some((step) => step.mask);
  $("slider-row").hidden = !masks || steps.length < 2;
  $("slider").max = steps.length;
  if (at === null) $("slider").value = steps.length;
  showSlider();
  $("decisions").replaceChildren(
    ...steps.map((step) => {
      const line = element("li", "", step.clear === false ? "within-noise" : "");
      line.value = step.step;
      line.append(element("b", step.change), ` (${step.candidate}) ${step.size}. ${step.evidence}.`);
      if (step.forced) line.append(element("span", ` ${step.forced}`, "forced"));
      return line;
    }),
  );
  for (const step of steps) {
    if (step.forced) {
      for (const mark of $("trajectory").querySelectorAll(`.chosen[data-key="${CSS.escape(step.candidate)}"]`)) {
        mark.classList.add("by-person");
      }
    }
    if (step.clear !== false) continue;
    for (const mark of $("trajectory").querySelectorAll(`.chosen[data-key="${CSS.escape(step.candidate)}"]`)) {
      mark.classList.add("within-noise");
    }
  }
}

// Drag over candidates: those in the rectangle become the focus.
function brush(box) {
  let start = null;
  const frame = element("div", "", "brush");
  document.body.append(frame);
  frame.hidden = true;
  const corners = (event) => [
    Math.min(start.x, event.clientX), Math.min(start.y, event.clientY),
    Math.max(start.x, event.clientX), Math.max(start.y, event.clientY),
  ];
  box.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" || event.button !== 0) return;
    start = { x: event.clientX, y: event.clientY };
    box.setPointerCapture(event.pointerId);
  });
  box.addEventListener("pointermove", (event) => {
    if (!start) return hover(box, event);
    const [left, top, right, bottom] = corners(event);
    frame.hidden = false;
    Object.assign(frame.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
  });
  box.addEventListener("pointerleave", unlit);
  // A finger drags the page, and taps a candidate.
  box.addEventListener("click", (event) => {
    if (event.pointerType !== "touch") return;
    hover(box, event);
    choosePoint(box, event);
  });
  box.addEventListener("pointerup", (event) => {
    if (!start) return;
    const [left, top, right, bottom] = corners(event);
    start = null;
    frame.hidden = true;
    if (right - left < 6 && bottom - top < 6) return choosePoint(box, event);
    const inside = [...box.querySelectorAll("[data-key]")].filter((mark) => {
      const place = mark.getBoundingClientRect(), x = place.x + place.width / 2, y = place.y + place.height / 2;
      return left <= x && x <= right && top <= y && y <= bottom;
    });
    brushed([...new Set(inside.map((mark) => mark.dataset.key))]);
  });
}

function choosePoint(box, event) {
  const key = nearest(box, event.clientX, event.clientY)?.dataset.key;
  if (!key || !byName.has(key)) return;
  $("a").value = $("b").value || key;
  $("b").value = key;
  showDiff();
}

function brushed(keys) {
  const known = keys.map((key) => byName.get(key)).filter((one) => one?.mask);
  for (const mark of document.querySelectorAll(".brushed")) mark.classList.remove("brushed");
  if (!known.length) {
    $("focus-said").textContent = "No candidate with a cell is in there.";
    return;
  }
  for (const key of keys) {
    for (const mark of document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)) mark.classList.add("brushed");
  }
  const found = middle(known.slice(0, 400).map((one) => one.mask));
  $("centre").value = known.find((one) => one.mask === found.mask).candidate;
  $("radius").value = Math.max(1, found.furthest);
  $("focus-said").textContent = `${known.length} chosen: all are within ${Math.max(1, found.furthest)} edges and operations of ${$("centre").value}.`;
}

$("focus-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const one = byName.get($("centre").value.trim()), radius = Number($("radius").value);
  if (!one?.mask || !panels.cell?.kind) {
    $("focus-said").textContent = "There is no such candidate with a cell.";
    return;
  }
  tell({ command: "focus", cell: cellOf(whole, one.mask, panels.cell.kind), radius }, `focus around ${one.candidate}`);
});

// --- what is training ---------------------------------------------------------------------------------------------

const NS = "http://www.w3.org/2000/svg";
const drawn = (name, attributes, words) => {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (words !== undefined) made.textContent = words;
  return made;
};

function showCurves() {
  const curves = (live?.training ?? []).map((one) => ({ ...one, shown: one.shown.filter((value) => value !== null) }));
  const some = curves.filter((one) => one.shown.length);
  if (!some.length) {
    const words = live?.progress ? "No epoch of what is training now is over yet." : "Nothing is training now.";
    $("curves").replaceChildren(element("p", words, "note"));
    return;
  }
  const values = some.flatMap((one) => one.shown), low = Math.min(...values), high = Math.max(...values);
  const most = Math.max(2, ...some.map((one) => one.shown.length));
  const x = (epoch) => 52 + (398 * epoch) / (most - 1), y = (value) => 130 - (105 * (value - low)) / (high - low || 1);
  const svg = drawn("svg", { class: "chart", viewBox: "0 0 470 160", role: "img", "aria-label": `${some[0].metric} of what is training now, epoch by epoch` });
  svg.append(drawn("text", { class: "panel-name", x: 52, y: 14 }, some[0].metric));
  for (const value of low === high ? [low] : [low, high]) {
    svg.append(drawn("line", { class: "rule", x1: 52, x2: 450, y1: y(value), y2: y(value) }));
    svg.append(drawn("text", { class: "tick", x: 46, y: y(value) + 4, "text-anchor": "end" }, value.toPrecision(3)));
  }
  some.forEach((one, place) => {
    const points = one.shown.map((value, epoch) => `${x(epoch)},${y(value)}`).join(" ");
    svg.append(drawn("polyline", { class: `curve curve-${place % 4}`, points }));
    svg.append(drawn("circle", { class: `curve-end curve-${place % 4}`, cx: x(one.shown.length - 1), cy: y(one.shown.at(-1)), r: 3 }));
  });
  svg.append(drawn("text", { class: "axis-name", x: 450, y: 154, "text-anchor": "end" }, `epoch ${Math.max(...some.map((one) => one.shown.length))} →`));
  $("curves").replaceChildren(svg);
}

// --- what if λ were another, and two candidates -------------------------------------------------------------------

const most = () => Math.max(0.5, 4 * Number($("penalty").dataset.from));
const penalty = () => (most() * Number($("penalty").value)) / 1000;

function beginPenalty(value) {
  $("penalty").dataset.from = String(value);
  $("penalty").value = Math.round((1000 * value) / most());
  showWhatIf();
}

function showWhatIf() {
  const now = Number($("penalty").dataset.from);
  const asked = Math.abs(penalty() - now) < most() / 1500 ? now : penalty();
  $("penalty-at").textContent = asked.toPrecision(3);
  const before = ranked(candidates, now), after = ranked(candidates, asked);
  const place = new Map(before.map((one, index) => [one.candidate.candidate, index + 1]));
  $("whatif").replaceChildren(
    ...after.slice(0, 8).map(({ candidate, score }) => {
      const row = element("tr");
      row.append(element("td", `${candidate.candidate} ${candidate.what}`), element("td", score.toFixed(4), "num"));
      row.append(element("td", candidate.performance, "num"), element("td", candidate.cost, "num"));
      row.append(element("td", String(place.get(candidate.candidate)), "num"));
      return row;
    }),
  );
  const first = after[0]?.candidate.candidate, changed = first !== before[0]?.candidate.candidate;
  $("whatif-said").textContent = first ? `${after.length} candidates scored again: ${changed ? `${first} would lead` : "the same one leads"}.` : "";
  const relative = panels.state?.evaluator !== "trained" ? " Estimates compare the candidates of one step only." : "";
  $("whatif-said").textContent += relative;
}
$("penalty").addEventListener("input", showWhatIf);
$("penalty-set").addEventListener("click", () => tell({ command: "penalty", penalty: Number(penalty().toPrecision(6)) }, `λ is ${penalty().toPrecision(3)}`));

function showCandidates() {
  const steps = panels.trajectory?.steps ?? [];
  const names = [...new Set([...steps.map((step) => step.candidate), ...ranked(candidates, Number($("penalty").dataset.from)).slice(0, 40).map((one) => one.candidate.candidate)])];
  $("known").replaceChildren(...names.map((name) => new Option(byName.get(name)?.what ?? "", name)));
  if (!$("a").value && steps.length) {
    $("a").value = steps[0].candidate;
    $("b").value = steps.at(-1).candidate;
  }
  showWhatIf();
  showDiff();
}

function showDiff() {
  const [a, b] = ["a", "b"].map((id) => byName.get($(id).value.trim()));
  if (!a || !b) {
    $("diff-words").textContent = "Give two candidates that were measured.";
    return;
  }
  const penaltyNow = Number($("penalty").dataset.from);
  const line = (name, one) => `${name}, ${one.candidate} (${one.what}): ${one.performance ?? "failed"}, ${one.cost}${one.gain === null ? "" : `, S ${(one.gain - penaltyNow * one.decades).toFixed(4)}`}`;
  const lines = [line("A", a), line("B", b)];
  if (a.mask && b.mask && whole) {
    const only = (one, other) => whole.edges.filter((_, place) => one.mask.bits[place] === "1" && other.mask.bits[place] === "0").map((edge) => edge.join("→"));
    const list = (edges) => (edges.length ? edges.join(", ") : "nothing");
    lines.push(`only in A: ${list(only(a, b))}`, `only in B: ${list(only(b, a))}`);
    lines.push(`in both: ${edgesOf(whole, a.mask).length - only(a, b).length} edges; they differ in ${distance(a.mask, b.mask)}`);
    if (panels.cell?.stage) {
      twins.draw(panels.cell.stage, panels.cell.whole, panels.cell.ops);
      twins.compare(a.mask, b.mask);
    }
  } else {
    lines.push("These have no edges to lay over one another.");
  }
  $("diff-words").textContent = lines.join("\n");
}
for (const id of ["a", "b"]) $(id).addEventListener("change", showDiff);
$("pick").addEventListener("click", () => {
  const candidate = $("b").value.trim();
  if (byName.has(candidate)) tell({ command: "pick", candidate }, `go on from ${candidate}`);
});

// --- events -------------------------------------------------------------------------------------------------------

function eventWords({ kind, body }) {
  const evaluation = body.evaluation ?? {};
  if (kind === "evaluated") {
    const edge = body.edge ? ` without ${body.edge.join("→")}` : "";
    return `candidate ${body.step}.${body.index}${edge}: ${evaluation.performance === null ? `failed, ${evaluation.reason}` : "measured"}`;
  }
  if (kind === "decided") return `step ${body.step} decided: ${body.step}.${body.index}`;
  if (kind === "command") return `${body.refused ? "refused: " : ""}${body.command?.command} by ${body.author}`;
  if (kind === "retrained") return `playoff, round ${body.round + 1}: one trained from scratch`;
  if (kind === "remeasured") return `fresh seed ${body.repeat + 1} measured`;
  if (kind === "stopped") return `no further step: ${body.reason}`;
  if (kind === "beside") return `measured beside: ${body.name || body.role}`;
  return { created: "the run was made", opened: "a process took it up", data: "the data were read", finished: "finished" }[kind] ?? kind;
}

const waiting = [];
let painting = false;

function flush() {
  painting = false;
  const lines = waiting.splice(0).slice(-MOST_EVENTS).map((event) => {
    const line = element("li", "");
    line.append(element("span", `${event.sequence}`, "quiet"), ` ${eventWords(event)} `, element("span", time(event.at), "quiet"));
    return line;
  });
  $("events").prepend(...lines.reverse());
  while ($("events").childElementCount > MOST_EVENTS) $("events").lastElementChild.remove();
}

function onEvent(name, value) {
  if (name === "live") {
    const before = JSON.stringify(live?.progress ?? null);
    live = value;
    if (JSON.stringify(live?.progress ?? null) !== before) showDoing();
    return showCurves();
  }
  if (name === "reset") return location.reload();
  if (name === "failed") {
    $("doing").textContent = `The run can no longer be read: ${value.error}`;
    return;
  }
  if (name !== "log") return;
  waiting.push(value);
  if (!painting) {
    painting = true;
    setTimeout(flush, 100);
  }
  for (const panel of CHANGES[value.kind] ?? [...NAMES, "candidates"]) dirty.add(panel);
  soon();
}

// --- the beginning ------------------------------------------------------------------------------------------------

const SHOW = {
  state: showState,
  honesty: (panel) => $("honesty").replaceChildren(...panel.words.map((words) => element("li", words))),
  cell: showCell,
  now: (panel) => {
    $("now-title").textContent = panel.title;
    put($("now"), panel.html);
  },
  blocks: (panel) => {
    $("blocks-panel").hidden = !panel.html;
    put($("blocks"), panel.html);
  },
  front: chart("front"),
  map: chart("map"),
  trajectory: chart("trajectory"),
};

brush($("front"));
brush($("map"));
$("trajectory").addEventListener("pointermove", (event) => hover($("trajectory"), event));
$("trajectory").addEventListener("pointerleave", unlit);
document.addEventListener("visibilitychange", () => soon(0));

const begin = async () => {
  const { found, rights: own } = await get("api/panels?only=state");
  rights = own;
  dirty.delete("state");
  panels.state = found.state;
  showState(found.state);
  for (const section of document.querySelectorAll("[data-panels]")) watcher.observe(section);
  follow("api/events", Math.max(0, found.sequence - 60), {
    on: onEvent,
    connected: (yes) => {
      if (yes && !connection) for (const panel of [...NAMES, "candidates"]) dirty.add(panel);
      connection = yes;
      $("connection").textContent = yes ? "" : "no connection to the page's server; the search does not need it";
      soon();
    },
  });
};
begin().catch((error) => {
  $("headline").textContent = "This run cannot be shown";
  $("doing").textContent = error.message;
});
