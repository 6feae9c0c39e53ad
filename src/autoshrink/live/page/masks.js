// Cells as masks over all edges that the search has met.
export function edgesOf(whole, mask) {
  return whole.edges.filter((_, place) => mask.bits[place] === "1");
}

export function cellOf(whole, mask, kind) {
  const ops = whole.ops.map((op, node) => mask.ops[node] ?? op);
  return { format: "autoshrink.cell/1", kind, ops, edges: edgesOf(whole, mask) };
}

// In how many edges and operations two differ.
export function distance(one, other) {
  let found = 0;
  for (let place = 0; place < one.bits.length; place += 1) found += one.bits[place] !== other.bits[place];
  for (const node of new Set([...Object.keys(one.ops), ...Object.keys(other.ops)])) {
    found += one.ops[node] !== other.ops[node];
  }
  return found;
}

// The one that is nearest to all, and how far the furthest is from it.
export function middle(masks) {
  let best = null;
  for (const one of masks) {
    const furthest = Math.max(...masks.map((other) => distance(one, other)));
    if (best === null || furthest < best.furthest) best = { mask: one, furthest };
  }
  return best;
}

// Nodes on a way from node 0, and those of them that nobody reads.
export function reached(edges) {
  const nodes = new Set([0]);
  for (const [from, to] of [...edges].sort((one, other) => one[1] - other[1] || one[0] - other[0])) {
    if (nodes.has(from)) nodes.add(to);
  }
  const read = new Set(edges.filter(([from]) => nodes.has(from)).map(([from]) => from));
  return { nodes, leaves: new Set([...nodes].filter((node) => !read.has(node))) };
}
