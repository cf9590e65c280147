"use strict";
// The page of a trace: the data, then the walk through its moments, the layout of the graph, the panel, the controls.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// ---- the moments: forward, backward, update ----

const moments = [
  ...data.operations.map((_, at) => ({ phase: "forward", at: ["operation", at] })),
  ...data.moments.map((moment) => ({ phase: "backward", at: moment.at, moment })),
  ...data.updates.map((update) => ({ phase: "update", at: ["leaf", update.leaf], update })),
];
const keyOf = ([kind, number]) => (kind === "operation" ? "o" : "l") + number;
const forwardOf = new Map(), backwardOf = new Map();
moments.forEach((moment, i) => {
  if (moment.phase === "forward") forwardOf.set(keyOf(moment.at), i);
  if (moment.phase === "backward") backwardOf.set(keyOf(moment.at), i);
});
const nameOf = ([kind, number]) =>
  kind === "operation" ? data.operations[number].label || data.operations[number].name : data.leaves[number].name;

function placeOf(group) {
  const parts = [];
  for (let at = group; at !== null && at !== undefined && data.groups[at].parent !== null; at = data.groups[at].parent) {
    parts.unshift(data.groups[at].name);
  }
  return parts.join(".");
}

// ---- numbers ----

// As the library prints them: up to four digits.
function short(x) {
  if (typeof x === "string") return x;
  if (x === 0) return Object.is(x, -0) ? "-0" : "0";
  const magnitude = Math.floor(Math.log10(Math.abs(x)));
  if (magnitude < -4 || magnitude >= 6) return x.toExponential(3).replace("e+", "e");
  const text = x.toFixed(Math.max(0, 3 - magnitude));
  return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
}

// Blue above zero, orange below; the stronger the farther from it.
function shade(x, largest) {
  if (typeof x === "string") return "rgba(200,0,0,.6)";
  const part = largest > 0 ? Math.min(1, Math.abs(x) / largest) : 0;
  return x >= 0 ? `rgba(47,111,181,${(part * 0.75).toFixed(3)})` : `rgba(224,112,40,${(part * 0.75).toFixed(3)})`;
}

const element = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

function tensor(name, value, note) {
  const box = element("div", "tensor");
  const head = element("div", "head");
  head.append(element("b", "", name), ` [${value.dims.join(", ")}] ${value.dtype}`, note ? ` · ${note}` : "");
  box.append(head);
  box.append(value.all ? grid(value) : map(value));
  return box;
}

// All numbers: one table for each matrix.
function grid(value) {
  const columns = value.dims.length ? value.dims[value.dims.length - 1] : 1;
  const rows = value.dims.length > 1 ? value.dims[value.dims.length - 2] : 1;
  const largest = Math.max(0, ...value.all.filter((x) => typeof x === "number").map(Math.abs));
  const scroll = element("div", "scroll");
  if (value.all.length === 0) scroll.append(element("span", "figures", "no numbers"));
  for (let start = 0; start < value.all.length; start += rows * columns) {
    const table = element("table");
    for (let row = 0; row < rows; row++) {
      const line = table.insertRow();
      for (let column = 0; column < columns; column++) {
        const x = value.all[start + row * columns + column];
        const cell = line.insertCell();
        cell.textContent = short(x);
        cell.style.background = shade(x, largest);
      }
    }
    scroll.append(table);
  }
  return scroll;
}

// Many numbers: means over blocks, and figures.
function map(value) {
  const box = element("div");
  const rows = value.cells.length / 2 / value.columns, size = Math.max(5, Math.min(12, Math.floor(300 / value.columns)));
  const canvas = element("canvas");
  canvas.width = value.columns * size;
  canvas.height = rows * size;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "map of the numbers");
  const pen = canvas.getContext("2d");
  for (let cell = 0; cell < rows * value.columns; cell++) {
    pen.fillStyle = shade((parseInt(value.cells.substr(2 * cell, 2), 16) - 128) / 127, 1);
    pen.fillRect((cell % value.columns) * size, Math.floor(cell / value.columns) * size, size, size);
  }
  const count = value.dims.reduce((a, b) => a * b, 1);
  let text = `${short(value.least)} to ${short(value.greatest)}, mean ${short(value.mean)}, deviation ${short(value.deviation)}, ` +
    `norm ${short(value.norm)}, ${value.zeros} of ${count} are 0`;
  if (value.notFinite) text += `, ${value.notFinite} are not finite`;
  box.append(canvas, element("div", "figures", text));
  return box;
}

// ---- the graph: which boxes are there ----

const closed = new Set();
const inside = data.groups.map(() => ({ operations: [], groups: [], leaves: [] }));
data.operations.forEach((operation, at) => inside[operation.group].operations.push(at));
data.groups.forEach((group, at) => group.parent !== null && inside[group.parent].groups.push(at));
const uses = data.leaves.map(() => []);
data.operations.forEach((operation, at) => operation.operands.forEach(({ from }) => from[0] === "leaf" && uses[from[1]].push(at)));
// A parameter stands beside the operation that reads it first; data stands outside.
data.leaves.forEach((leaf, at) => uses[at].length && inside[leaf.learnt ? data.operations[uses[at][0]].group : 0].leaves.push(at));
const groupOfLeaf = data.leaves.map((leaf, at) => (leaf.learnt && uses[at].length ? data.operations[uses[at][0]].group : 0));

const depthOf = (group) => (data.groups[group].parent === null ? 0 : 1 + depthOf(data.groups[group].parent));
// A large graph begins with its modules closed: as deep as about forty boxes are seen.
(function closeAtFirst() {
  const seen = (depth) => data.operations.filter((o) => depthOf(o.group) <= depth).length;
  const deepest = Math.max(0, ...data.groups.map((_, at) => depthOf(at)));
  let open = deepest;
  while (open > 0 && seen(open) + data.leaves.length > 40) open--;
  data.groups.forEach((_, at) => depthOf(at) > open && closed.add(at));
})();

// The box that stands for a node: itself, or the outermost closed group around it.
function shown(kind, number) {
  let group = kind === "operation" ? data.operations[number].group : groupOfLeaf[number];
  let box = keyOf([kind, number]);
  for (; data.groups[group].parent !== null; group = data.groups[group].parent) if (closed.has(group)) box = "g" + group;
  return box;
}

// ---- the graph: where they stand ----

const GAP = 26, BESIDE = 18, TITLE = 22, EDGE = 10, LETTER = 7.1;
const widthOf = (text) => Math.max(46, Math.round(text.length * LETTER) + 22);
const sizes = (value) => (value ? `[${value.dims.join(", ")}]` : "");

function makeBox(key) {
  const number = +key.slice(1);
  if (key[0] === "o") {
    const operation = data.operations[number], title = operation.label || operation.name;
    const under = sizes(operation.results[0]);
    return { key, title, under, warned: operation.findings.length, w: Math.max(widthOf(title), under.length * 5.6 + 16), h: 38, first: number };
  }
  if (key[0] === "l") {
    const leaf = data.leaves[number], title = leaf.name.split(".").pop();
    const under = sizes(leaf.value);
    return { key, title, under, leaf: true, learnt: leaf.learnt, warned: leaf.findings.length, w: Math.max(widthOf(title), under.length * 5.6 + 16), h: 34,
      first: Math.min(...uses[number]) - 0.5 };
  }
  const group = number, title = data.groups[group].name + " ▸";
  const all = everything(group);
  return { key, title, under: `${all.length} operations`, group, closed: true, w: Math.max(widthOf(title), 100), h: 40, first: Math.min(...all),
    warned: all.some((at) => data.operations[at].findings.length) };
}
const everything = (group) => [...inside[group].operations, ...inside[group].groups.flatMap(everything)];

// Boxes of one group in rows: what is computed later stands below. Gives the group's own box, its items placed inside.
function arrange(group) {
  const items = [
    ...inside[group].operations.map((at) => makeBox("o" + at)),
    ...inside[group].leaves.map((at) => makeBox("l" + at)),
    ...inside[group].groups.map((at) => (closed.has(at) ? makeBox("g" + at) : arrange(at))),
  ];
  const holder = new Map();
  const hold = (item, top) => { holder.set(item.key, top); (item.items || []).forEach((inner) => hold(inner, top)); };
  items.forEach((item) => hold(item, item));
  const links = [];
  for (const { from, to } of edgesShown()) {
    const a = holder.get(from), b = holder.get(to);
    if (a && b && a !== b && a.first < b.first) links.push([a, b]);
  }
  // rows by the longest way; a leaf stands just above the first that reads it
  items.sort((a, b) => a.first - b.first);
  items.forEach((item) => { item.row = 0; item.to = []; item.from = []; });
  links.forEach(([a, b]) => { if (!a.to.includes(b)) { a.to.push(b); b.from.push(a); } });
  for (const item of items) for (const earlier of item.from.filter((other) => !other.leaf)) item.row = Math.max(item.row, earlier.row + 1);
  for (const item of items) if (item.leaf && item.to.length) item.row = Math.min(...item.to.map((b) => b.row)) - 1;
  const rows = [];
  items.forEach((item) => (rows[item.row + 1] ||= []).push(item));
  const present = rows.filter((row) => row);
  present.forEach((row, at) => row.forEach((item) => (item.row = at)));
  // the order in a row follows what it is connected with
  present.forEach((row) => row.forEach((item, at) => (item.order = at - row.length / 2)));
  for (let sweep = 0; sweep < 8; sweep++) {
    for (const row of sweep % 2 ? [...present].reverse() : present) {
      row.forEach((item) => {
        const near = sweep % 2 ? item.to : item.from;
        item.wish = near.length ? near.reduce((sum, other) => sum + other.order, 0) / near.length : item.order;
      });
      row.sort((a, b) => a.wish - b.wish || a.first - b.first);
      row.forEach((item, at) => (item.order = at - (row.length - 1) / 2));
    }
  }
  // across: pulled to what it is connected with, kept apart from its neighbours
  present.forEach((row) => {
    let x = -row.reduce((sum, item) => sum + item.w + BESIDE, -BESIDE) / 2;
    row.forEach((item) => { item.x = x; x += item.w + BESIDE; });
  });
  for (let sweep = 0; sweep < 12; sweep++) {
    for (const row of sweep % 2 ? [...present].reverse() : present) {
      row.forEach((item) => {
        const near = [...item.from, ...item.to].filter((other) => !other.leaf || item.leaf);
        if (near.length) item.x += (near.reduce((sum, other) => sum + other.x + other.w / 2, 0) / near.length - item.w / 2 - item.x) * 0.6;
      });
      for (let at = 1; at < row.length; at++) row[at].x = Math.max(row[at].x, row[at - 1].x + row[at - 1].w + BESIDE);
      const middle = row.reduce((sum, item) => sum + item.x + item.w / 2, 0) / row.length;
      for (let at = row.length - 2; at >= 0; at--) row[at].x = Math.min(row[at].x, row[at + 1].x - row[at].w - BESIDE);
      const moved = row.reduce((sum, item) => sum + item.x + item.w / 2, 0) / row.length - middle;
      row.forEach((item) => (item.x -= moved));
    }
  }
  const inner = data.groups[group].parent === null ? 0 : 1;
  const left = Math.min(0, ...items.map((item) => item.x)), right = Math.max(60, ...items.map((item) => item.x + item.w));
  let y = inner ? TITLE + 4 : EDGE;
  present.forEach((row) => {
    const tallest = Math.max(...row.map((item) => item.h));
    row.forEach((item) => { item.x += EDGE - left; item.y = y + (tallest - item.h) / 2; });
    y += tallest + GAP;
  });
  const title = data.groups[group].name + " ▾";
  const w = Math.max(right - left + 2 * EDGE, inner ? widthOf(title) + 8 : 0);
  return { key: "g" + group, group, title, items, w, h: y - GAP + EDGE, first: Math.min(...everything(group)) };
}

// From box to box, each once.
function edgesShown() {
  const found = new Map();
  data.operations.forEach((operation, at) => operation.operands.forEach(({ from }, operand) => {
    const a = shown(from[0], from[1]), b = shown("operation", at);
    if (a === b) return;
    const edge = found.get(a + ">" + b) || { from: a, to: b, carries: [] };
    edge.carries.push([keyOf(from), at, operand]);
    found.set(a + ">" + b, edge);
  }));
  return [...found.values()];
}

// ---- the graph: drawing ----

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  if (text !== undefined) made.textContent = text;
  return made;
}
let drawn = { boxes: new Map(), edges: [] };

function draw() {
  const root = arrange(0);
  const picture = svg("svg", { width: root.w, height: root.h, viewBox: `0 0 ${root.w} ${root.h}` });
  const boxes = new Map(), places = new Map();
  const frames = svg("g"), lines = svg("g"), nodes = svg("g");
  picture.append(frames, lines, nodes);
  const put = (box, x, y) => {
    places.set(box.key, { x, y, w: box.w, h: box.h });
    if (box.items) {
      if (data.groups[box.group].parent !== null) {
        const frame = svg("g", { class: "group" });
        frame.append(svg("rect", { x, y, width: box.w, height: box.h, rx: 8 }));
        frame.append(svg("text", { x: x + 10, y: y + 16, class: "title small", "font-size": 12 }, box.title));
        frame.lastChild.addEventListener("click", () => toggle(box.group));
        frames.append(frame);
        boxes.set(box.key, frame);
      }
      box.items.forEach((item) => put(item, x + item.x, y + item.y));
      return;
    }
    const kind = box.closed ? "group closed" : box.leaf ? (box.learnt ? "node leaf learnt" : "node leaf") : "node";
    const node = svg("g", { class: kind, "data-key": box.key });
    node.append(svg("rect", { x, y, width: box.w, height: box.h, rx: box.leaf ? 14 : 6 }));
    const title = { x: x + box.w / 2, y: y + 16, "text-anchor": "middle", "font-size": 13 };
    if (box.warned) title.class = "warned";
    node.append(svg("text", title, box.title));
    node.append(svg("text", { x: x + box.w / 2, y: y + 30, "text-anchor": "middle", class: "small", "font-size": 10.5 }, box.under));
    node.addEventListener("click", () => (box.closed ? toggle(box.group) : goTo(box.key)));
    nodes.append(node);
    boxes.set(box.key, node);
  };
  put(root, 0, 0);
  const edges = edgesShown().map((edge) => {
    const a = places.get(edge.from), b = places.get(edge.to);
    // What is read many times would lie over everything else: only its first way is drawn in full.
    const leaf = edge.from[0] === "l" ? +edge.from.slice(1) : -1;
    const again = leaf >= 0 && !edge.carries.some(([from, to]) => from === edge.from && to === Math.min(...uses[leaf]));
    const line = svg("path", { class: again ? "edge again" : "edge", d: way(a, b, [...places.entries()].filter(([key]) => key[0] !== "g" || closed.has(+key.slice(1))).map(([, place]) => place)) });
    lines.append(line);
    return { ...edge, line };
  });
  drawn = { boxes, edges };
  byId("graph").replaceChildren(picture);
  mark();
}

// From the foot of a box to the head of another; beside what stands between them.
function way(a, b, others) {
  const [x1, y1, x2, y2] = [a.x + a.w / 2, a.y + a.h, b.x + b.w / 2, b.y];
  if (y2 < y1) return `M${a.x + a.w} ${a.y + a.h / 2}C${a.x + a.w + 50} ${a.y + a.h / 2} ${b.x + b.w + 50} ${b.y + b.h / 2} ${b.x + b.w} ${b.y + b.h / 2}`;
  const across = (y) => x1 + ((x2 - x1) * (y - y1)) / Math.max(1, y2 - y1);
  const between = others.filter((o) => o !== a && o !== b && o.y >= y1 - 1 && o.y + o.h <= y2 + 1);
  const hit = between.filter((o) => Math.abs(across(o.y + o.h / 2) - (o.x + o.w / 2)) < o.w / 2 + 6);
  const half = (y2 - y1) / 2;
  if (!hit.length) return `M${x1} ${y1}C${x1} ${y1 + half} ${x2} ${y2 - half} ${x2} ${y2}`;
  const right = Math.max(...hit.map((o) => o.x + o.w)) + 12, left = Math.min(...hit.map((o) => o.x)) - 12;
  const x = Math.abs(right - (x1 + x2) / 2) <= Math.abs(left - (x1 + x2) / 2) ? right : left;
  const top = Math.min(...hit.map((o) => o.y)), foot = Math.max(...hit.map((o) => o.y + o.h));
  return `M${x1} ${y1}C${x1} ${y1 + GAP} ${x} ${top - GAP} ${x} ${top}V${foot}C${x} ${foot + GAP} ${x2} ${y2 - GAP} ${x2} ${y2}`;
}

function toggle(group) {
  closed.has(group) ? closed.delete(group) : closed.add(group);
  draw();
}

// ---- the moment that is shown ----

let now = 0;

// Colours what has been computed, what gradients have passed, and the place of this moment.
function mark() {
  const computed = new Set(data.leaves.map((_, at) => "l" + at)), returned = new Set();
  for (let i = 0; i <= now; i++) (moments[i].phase === "forward" ? computed : returned).add(keyOf(moments[i].at));
  const here = moments[now], hereKey = keyOf(here.at), hereBox = shown(...here.at);
  const boxesOf = (keys) => new Set([...keys].map((key) => shown(key[0] === "o" ? "operation" : "leaf", +key.slice(1))));
  const done = boxesOf(computed), back = boxesOf(returned);
  for (const [key, box] of drawn.boxes) {
    box.classList.toggle("done", done.has(key));
    box.classList.toggle("returned", back.has(key));
    box.classList.toggle("now", key === hereBox);
  }
  for (const { line, carries } of drawn.edges) {
    const gone = ([from, to]) => computed.has("o" + to) && computed.has(from);
    const passed = ([, to, operand]) => {
      const moment = backwardOf.get("o" + to);
      return moment !== undefined && moment <= now && moments[moment].moment.passed.some((pass) => pass.operand === operand);
    };
    const isNow = here.phase === "forward" ? ([, to]) => "o" + to === hereKey : (carry) => passed(carry) && "o" + carry[1] === hereKey;
    line.classList.toggle("done", carries.some(gone));
    line.classList.toggle("returned", carries.some(passed));
    line.classList.toggle("now", here.phase !== "update" && carries.some(isNow));
  }
  const box = drawn.boxes.get(hereBox);
  if (box) box.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function equation(text, numbers) {
  const box = element("div", "equation", text);
  if (numbers) box.append(element("span", "numbers", numbers));
  return box;
}

function link(text, moment) {
  if (moment === undefined) return element("span", "", text);
  const made = element("button", "link", text);
  made.addEventListener("click", () => show(moment));
  return made;
}

function panel() {
  const { phase, at, moment, update } = moments[now];
  const body = element("div");
  const [kind, number] = at;
  const operation = kind === "operation" ? data.operations[number] : null, leaf = kind === "leaf" ? data.leaves[number] : null;
  body.append(element("div", `phase ${phase}`, phase === "update" ? "update of a parameter" : phase));
  body.append(element("h2", "", nameOf(at)));
  if (operation) {
    const place = placeOf(operation.group);
    const line = element("div", "place", [operation.label ? operation.name : "", place ? `in ${place}` : "", operation.source].filter(Boolean).join(" · "));
    body.append(line);
  }
  (operation || leaf).findings.forEach((finding) => body.append(element("p", "finding", finding)));
  if (phase === "forward") {
    body.append(equation(operation.equation, operation.inNumbers));
    body.append(element("h3", "", operation.operands.length > 1 ? "operands" : "operand"));
    operation.operands.forEach(({ from, value }) => body.append(tensor(nameOf(from), value, from[0] === "operation" ? `from step ${from[1] + 1}` : "")));
    body.append(element("h3", "", "result"));
    operation.results.forEach((value, at) => body.append(tensor(at ? `result ${at + 1}` : nameOf(["operation", number]), value)));
  }
  if (phase === "backward") {
    body.append(element("h3", "", operation ? "arrives: ∂L/∂ of its result" : "its gradient"));
    moment.arrived.forEach((value) => value && body.append(tensor(`∂L/∂ ${nameOf(at)}`, value)));
    if (moment.parts.length > 1) {
      const line = element("p", "figures", `The sum of ${moment.parts.length} parts, from `);
      moment.parts.forEach(([from, operand], i) => {
        line.append(i ? ", " : "", link(`${nameOf(["operation", from])} (step ${from + 1})`, backwardOf.get("o" + from)));
      });
      body.append(line);
    }
    moment.passed.forEach((pass) => {
      const box = element("div", "passes"), to = operation.operands[pass.operand].from;
      box.append(element("h3", "", `passed on to ${nameOf(to)}`), equation(pass.rule, pass.inNumbers), tensor(`∂L/∂ ${nameOf(to)}`, pass.value));
      body.append(box);
    });
    if (leaf) body.append(element("h3", "", "the numbers themselves"), tensor(leaf.name, leaf.value));
  }
  if (phase === "update") {
    const gradient = backwardOf.get("l" + number);
    body.append(element("h3", "", "before"), tensor(leaf.name, leaf.value));
    if (gradient !== undefined) body.append(element("h3", "", "gradient"), tensor(`∂L/∂ ${leaf.name}`, moments[gradient].moment.arrived[0]));
    body.append(element("h3", "", "after"), tensor(leaf.name, update.after));
  }
  byId("panel").replaceChildren(body);
  byId("panel").scrollTop = 0;
}

function show(moment) {
  now = Math.max(0, Math.min(moments.length - 1, moment));
  byId("slider").value = now;
  byId("where").textContent = `${moments[now].phase} · ${now + 1} of ${moments.length}`;
  panel();
  mark();
}

// To the moment of a box: on the way back to its gradient, before to its value.
function goTo(key) {
  const back = moments[now].phase !== "forward";
  const moment = back ? backwardOf.get(key) ?? forwardOf.get(key) : forwardOf.get(key) ?? backwardOf.get(key);
  if (moment !== undefined) show(moment);
}

// ---- the controls ----

let playing = null;
function pause() {
  clearInterval(playing);
  playing = null;
  byId("play").textContent = "play";
}
function play() {
  if (playing) return pause();
  if (now === moments.length - 1) show(0);
  byId("play").textContent = "pause";
  playing = setInterval(() => (now < moments.length - 1 ? show(now + 1) : pause()), 900);
}
const moves = {
  first: () => show(0), back: () => show(now - 1), next: () => show(now + 1), last: () => show(moments.length - 1),
};
for (const name in moves) byId(name).addEventListener("click", () => { pause(); moves[name](); });
byId("play").addEventListener("click", play);
byId("slider").max = moments.length - 1;
byId("slider").addEventListener("input", (event) => { pause(); show(+event.target.value); });
function foldAll() {
  const all = data.groups.map((_, at) => at).filter((at) => data.groups[at].parent !== null);
  if (closed.size) closed.clear(); else all.forEach((at) => closed.add(at));
  draw();
}
byId("fold").addEventListener("click", foldAll);
if (data.groups.length < 2) byId("fold").hidden = true;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.id === "slider" && event.key.startsWith("Arrow")) return;
  const keys = { ArrowRight: "next", ArrowLeft: "back", Home: "first", End: "last" };
  if (keys[event.key]) { event.preventDefault(); pause(); moves[keys[event.key]](); }
  else if (event.key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); play(); }
  else if (event.key === "m") foldAll();
});

// On paper there is no slider: every moment is a line.
function listAll() {
  const table = element("table");
  const line = (cells, tag) => { const row = table.insertRow(); cells.forEach((cell) => row.append(element(tag || "td", "", cell))); };
  line(["moment", "at", "what", "in numbers"], "th");
  moments.forEach(({ phase, at, moment }, i) => {
    if (phase === "forward") line([`${i + 1} forward`, nameOf(at), data.operations[at[1]].equation, data.operations[at[1]].inNumbers || ""]);
    else if (phase === "update") line([`${i + 1} update`, nameOf(at), "", ""]);
    else if (!moment.passed.length) line([`${i + 1} backward`, nameOf(at), "its gradient has arrived", ""]);
    else moment.passed.forEach((pass, k) => line([k ? "" : `${i + 1} backward`, k ? "" : nameOf(at), pass.rule, pass.inNumbers || ""]));
  });
  byId("all").replaceChildren(table);
}
addEventListener("beforeprint", listAll);

byId("summary").textContent = `${data.operations.length} operations, ${data.leaves.filter((leaf) => leaf.learnt).length} learnt tensors, loss ${short(data.loss)}`;
const phases = { forward: "var(--forward)", backward: "var(--backward)", update: "var(--learnt-line)" };
for (const phase in phases) {
  const bar = element("div");
  bar.style.background = phases[phase];
  bar.style.flex = moments.filter((moment) => moment.phase === phase).length;
  byId("phases").append(bar);
}
draw();
show(0);
// For whoever drives the page.
window.trace = { moments, show, draw, data, short, now: () => now };
