// The picture of the cell: drawn once with every edge, and then told which of them a cell has.
import { edgesOf, reached } from "./masks.js";

// A fragment of the server's: what it says of colours and widths is set here, since the page allows no inline style.
export function put(box, html) {
  box.innerHTML = html;
  for (const one of box.querySelectorAll("[data-style]")) {
    for (const part of one.dataset.style.split(";")) {
      const [name, value] = part.split(":");
      if (name.startsWith("--as-")) one.style.setProperty(name, value);
    }
  }
}

const STATES = ["gone", "both", "only-a", "only-b", "pinned", "forbidden", "faded"];

export class Stage {
  constructor(box, { label, onPoint, onChoose } = {}) {
    Object.assign(this, { box, label, onPoint, onChoose, html: null, edges: new Map(), nodes: new Map() });
  }

  draw(html, whole, ops) {
    this.whole = whole;
    this.ops = ops;
    if (html === this.html) return;
    this.html = html;
    const focused = document.activeElement?.dataset?.thing;
    put(this.box, html);
    const svg = this.box.querySelector("svg");
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", this.label);
    svg.querySelector("title")?.remove();
    this.edges = new Map([...svg.querySelectorAll("[data-edge]")].map((one) => [one.dataset.edge, one]));
    this.nodes = new Map([...svg.querySelectorAll("[data-node]")].map((one) => [one.dataset.node, one]));
    this.leaves = new Map([...svg.querySelectorAll("[data-leaf]")].map((one) => [one.dataset.leaf, one]));
    for (const one of this.edges.values()) one.classList.add("edge");
    if (!this.onChoose) return;
    for (const [name, path] of this.edges) this.open(path, `edge ${name}`, this.hit(path));
    for (const [name, group] of this.nodes) if (name !== "0") this.open(group, `node ${name}`, group);
    if (focused) this.box.querySelector(`[data-thing="${CSS.escape(focused)}"]`)?.focus();
  }

  // A wide invisible line over a thin one, for fingers.
  hit(path) {
    const wide = path.cloneNode(false);
    wide.setAttribute("class", "hit");
    wide.removeAttribute("data-edge");
    path.after(wide);
    return wide;
  }

  open(one, thing, target) {
    one.dataset.thing = thing;
    one.setAttribute("tabindex", "0");
    one.setAttribute("role", "button");
    const point = () => this.onPoint?.(thing);
    target.addEventListener("pointerenter", point);
    one.addEventListener("focus", point);
    const choose = () => this.onChoose(thing);
    target.addEventListener("click", choose);
    if (target !== one) one.addEventListener("click", choose);
    one.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        choose();
      }
    });
  }

  words(thing, words, pressed) {
    const one = this.box.querySelector(`[data-thing="${CSS.escape(thing)}"]`);
    one?.setAttribute("aria-label", words);
    one?.setAttribute("aria-pressed", String(pressed));
  }

  clear() {
    for (const one of [...this.edges.values(), ...this.nodes.values(), ...(this.leaves?.values() ?? [])]) {
      one.classList.remove(...STATES);
    }
  }

  show(mask) {
    this.clear();
    const edges = edgesOf(this.whole, mask);
    const has = new Set(edges.map(([from, to]) => `${from}-${to}`));
    const { nodes, leaves } = reached(edges);
    for (const [name, one] of this.edges) one.classList.toggle("gone", !has.has(name));
    this.reach(nodes, leaves, (node) => mask.ops[node] ?? this.whole.ops[node]);
  }

  // Two cells over one another.
  compare(a, b) {
    this.clear();
    this.whole.edges.forEach(([from, to], place) => {
      const one = this.edges.get(`${from}-${to}`);
      const inA = a.bits[place] === "1", inB = b.bits[place] === "1";
      one.classList.add(inA && inB ? "both" : inA ? "only-a" : inB ? "only-b" : "gone");
    });
    const first = reached(edgesOf(this.whole, a)), second = reached(edgesOf(this.whole, b));
    const union = (one, other) => new Set([...one, ...other]);
    this.reach(union(first.nodes, second.nodes), union(first.leaves, second.leaves), (node) => {
      const [one, other] = [a, b].map((mask) => mask.ops[node] ?? this.whole.ops[node]);
      return one === other ? one : `${one} | ${other}`;
    });
  }

  reach(nodes, leaves, op) {
    for (const [name, one] of this.nodes) {
      one.classList.toggle("gone", !nodes.has(Number(name)));
      if (name !== "0") this.name(one, op(Number(name)));
    }
    for (const [name, one] of this.leaves) one.classList.toggle("gone", !leaves.has(Number(name)));
  }

  name(group, op) {
    const [, text] = group.querySelectorAll("text"), box = group.querySelector("rect"), colours = this.ops[op];
    if (text.textContent !== op) text.textContent = op;
    if (colours) {
      box.style.setProperty("--as-light", colours.light);
      box.style.setProperty("--as-dark", colours.dark);
    }
  }
}
