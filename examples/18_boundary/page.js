"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg", LINK = "http://www.w3.org/1999/xlink";
const places = data.places, frames = data.frames;

function svg(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  if (text !== undefined) made.textContent = text;
  return made;
}

// White where a unit does not know, blue where it says yes, orange where it says no.
function colour(share) {
  const end = share >= 0 ? [47, 111, 181] : [224, 112, 40], part = Math.min(1, Math.abs(share));
  return end.map((to) => Math.round(255 + (to - 255) * part));
}

// A map as a small picture, one pixel for each place.
function draw(canvas, map) {
  const pen = canvas.getContext("2d"), picture = pen.createImageData(places, places);
  for (let place = 0; place < places * places; place++) {
    const [red, green, blue] = colour((parseInt(map.substr(2 * place, 2), 16) - 128) / 127);
    picture.data.set([red, green, blue, 255], 4 * place);
  }
  pen.putImageData(picture, 0, 0);
}
function small() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = places;
  return canvas;
}

// ---- the network: units in columns, as maps of what they say ----

const SIDE = 62, APART = 12, ACROSS = 210;
const tallest = Math.max(2, ...data.units);
const height = tallest * (SIDE + APART) + 30, width = data.units.length * ACROSS + 90;
byId("network").setAttribute("viewBox", `0 0 ${width} ${height}`);
const column = (count, x) =>
  Array.from({ length: count }, (_, at) => ({ x, y: 30 + (height - 30 - count * (SIDE + APART)) / 2 + at * (SIDE + APART) }));
const inputs = column(2, 6), layers = data.units.map((count, layer) => column(count, 90 + layer * ACROSS));
const lines = [], pictures = [];
layers.forEach((units, layer) => {
  const before = layer ? layers[layer - 1] : inputs, leave = layer ? SIDE : 34;
  units.forEach((to, row) => before.forEach((from, at) => {
    const [x1, y1, x2, y2] = [from.x + leave, from.y + SIDE / 2, to.x, to.y + SIDE / 2], bend = (x2 - x1) / 2;
    const line = svg("path", { d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`, fill: "none" });
    byId("network").append(line);
    lines.push({ line, layer, at: row * before.length + at });
  }));
});
inputs.forEach(({ x, y }, at) => {
  byId("network").append(svg("rect", { x, y: y + 14, width: 34, height: 34, rx: 17, class: "frame" }));
  byId("network").append(svg("text", { x: x + 17, y: y + 35, "text-anchor": "middle" }, at ? "y" : "x"));
});
layers.forEach((units, layer) => {
  const name = layer === layers.length - 1 ? "what it says" : `layer ${layer + 1}`;
  byId("network").append(svg("text", { x: units[0].x, y: 16 }, name));
  units.forEach(({ x, y }) => {
    const picture = svg("image", { x, y, width: SIDE, height: SIDE });
    byId("network").append(picture, svg("rect", { x, y, width: SIDE, height: SIDE, class: "frame" }));
    pictures.push(picture);
  });
});

// ---- the loss along the training ----

const last = frames[frames.length - 1].step || 1, highest = Math.max(...frames.map((frame) => frame.loss));
const at = (frame) => [10 + (frame.step / last) * 380, 108 - (frame.loss / highest) * 90];
byId("loss").append(svg("path", { class: "curve", d: "M" + frames.map((frame) => at(frame).map((x) => x.toFixed(1)).join(" ")).join("L") }));
byId("loss").append(svg("text", { x: 10, y: 12 }, "loss"));
const mark = svg("line", { class: "mark", y1: 14, y2: 112 });
byId("loss").append(mark);

// ---- a moment ----

let now = 0;
function show(moment) {
  now = Math.max(0, Math.min(frames.length - 1, moment));
  const frame = frames[now];
  byId("slider").value = now;
  byId("figures").textContent = `step ${frame.step} of ${last} · loss ${frame.loss.toFixed(4)} · ${frame.accuracy.toFixed(1)} % told right`;
  frame.maps.forEach((map, unit) => {
    const canvas = small();
    draw(canvas, map);
    pictures[unit].setAttributeNS(LINK, "href", canvas.toDataURL());
    pictures[unit].setAttribute("href", canvas.toDataURL());
  });
  for (const { line, layer, at } of lines) {
    const weight = frame.weights[layer][at];
    line.setAttribute("stroke", weight >= 0 ? "var(--blue)" : "var(--orange)");
    line.setAttribute("stroke-width", Math.min(7, 0.3 + Math.abs(weight) * 1.3).toFixed(2));
    line.setAttribute("stroke-opacity", Math.min(0.9, 0.15 + Math.abs(weight) * 0.35).toFixed(2));
  }
  const [x] = at(frame);
  mark.setAttribute("x1", x);
  mark.setAttribute("x2", x);
  const plane = byId("plane"), pen = plane.getContext("2d"), canvas = small();
  draw(canvas, frame.maps[frame.maps.length - 1]);
  pen.imageSmoothingEnabled = true;
  pen.drawImage(canvas, 0, 0, plane.width, plane.height);
  for (let point = 0; point < data.classes.length; point++) {
    const place = (x) => ((x / data.reach + 1) / 2) * plane.width;
    pen.beginPath();
    pen.arc(place(data.points[2 * point]), plane.height - place(data.points[2 * point + 1]), 3.2, 0, 7);
    pen.fillStyle = data.classes[point] ? "#174a80" : "#b34e0e";
    pen.fill();
    pen.strokeStyle = "#fff";
    pen.lineWidth = 0.8;
    pen.stroke();
  }
}

let playing = null;
function play() {
  if (playing) {
    clearInterval(playing);
    playing = null;
  } else {
    if (now === frames.length - 1) show(0);
    playing = setInterval(() => (now < frames.length - 1 ? show(now + 1) : play()), 140);
  }
  byId("play").textContent = playing ? "pause" : "play";
}
byId("play").addEventListener("click", play);
byId("slider").max = frames.length - 1;
byId("slider").addEventListener("input", (event) => { if (playing) play(); show(+event.target.value); });
document.addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1, Home: -frames.length, End: frames.length }[event.key];
  if (by && event.target.id !== "slider") { event.preventDefault(); show(now + by); }
  else if (event.key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); play(); }
});
show(0);
// For whoever drives the page.
window.film = { show, now: () => now, count: frames.length, data };
