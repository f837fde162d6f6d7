'use strict';
// What the store holds comes in through textContent only: nothing of it is ever read as HTML.
const data = JSON.parse(document.getElementById('data').textContent);
const find = id => document.getElementById(id);
const canvas = find('canvas'), scene = find('scene'), panel = find('panel'), search = find('search'), count = find('count'), onlyPath = find('path');
// Elements stand in the order of the data.
const nodes = [...scene.querySelectorAll('.nodes > .node')], edges = [...scene.querySelectorAll('.edges > .edge')], lanes = [...scene.querySelectorAll('.lane')];
const incoming = data.nodes.map(() => []), outgoing = data.nodes.map(() => []);
data.edges.forEach(([source, target], i) => { outgoing[source].push(i); incoming[target].push(i); });
const numberOf = new Map(data.nodes.map((node, i) => [node.key, i]));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
document.body.classList.add('scripted');

// --- The view: scene coordinates times `scale`, plus `x` and `y`.

// Below `SMALLEST` the beginning shows a part instead of the whole; `READABLE` is for what one has looked for.
const SMALLEST = 0.45, READABLE = 0.55, CLOSEST = 3;
const view = { x: 0, y: 0, scale: 1 };
let size = { width: 1, height: 1 }, pending = 0;

function show() {
  pending ||= requestAnimationFrame(() => {
    pending = 0;
    scene.setAttribute('transform', `translate(${view.x.toFixed(2)} ${view.y.toFixed(2)}) scale(${view.scale.toFixed(5)})`);
    scene.classList.toggle('far', view.scale < 0.42);
    scene.classList.toggle('farther', view.scale < 0.26);
    if (view.scale < 0.26) scene.style.setProperty('--label', `${Math.min(12 / view.scale, 64)}px`);
  });
}

// The part of the canvas that the panel leaves free.
function getFree() {
  const free = { left: 0, top: 0, width: size.width, height: size.height };
  if (!panel.hidden) {
    const box = panel.getBoundingClientRect(), all = canvas.getBoundingClientRect();
    if (box.left > all.left + 1) free.width = box.left - all.left;
    else free.height = Math.max(box.top - all.top, 60);
  }
  return free;
}

// Lanes make a long list, of which the width is shown; one run is shown as a whole.
function getFitting(whole = !data.lanes) {
  const free = getFree();
  return Math.min(free.width / data.width, whole ? free.height / data.height : Infinity, 1.25);
}

function zoom(factor, x = getFree().width / 2, y = getFree().height / 2) {
  const scale = clamp(view.scale * factor, Math.min(getFitting(true), READABLE) / 2, CLOSEST);
  view.x = x - (x - view.x) * scale / view.scale;
  view.y = y - (y - view.y) * scale / view.scale;
  view.scale = scale;
  show();
}

function fit() {
  const free = getFree();
  view.scale = getFitting();
  view.x = (free.width - data.width * view.scale) / 2;
  view.y = Math.max((free.height - data.height * view.scale) / 2, 0);
  show();
}

function center(number, scale = Math.max(view.scale, READABLE)) {
  const [x, y] = data.nodes[number].box, free = getFree();
  view.scale = scale;
  view.x = free.width / 2 - x * scale;
  view.y = free.height / 2 - y * scale;
  show();
}

function reveal(number) {
  const [x, y] = data.nodes[number].box, free = getFree();
  const at = { x: x * view.scale + view.x, y: y * view.scale + view.y };
  const room = { x: Math.min(100 * view.scale, free.width / 2), y: Math.min(40 * view.scale, free.height / 2) };
  if (at.x < room.x || at.x > free.width - room.x || at.y < room.y || at.y > free.height - room.y) center(number, view.scale);
}

function goToRun(run) {
  const lane = data.runs[run];
  view.scale = Math.max(view.scale, READABLE);
  view.x = 8;
  view.y = 16 - lane.top * view.scale;
  show();
}

function start() {
  fit();
  if (view.scale >= SMALLEST) return;
  const subject = numberOf.get(data.subject);
  if (subject !== undefined) return center(subject, READABLE);
  view.scale = READABLE;
  view.x = data.lanes ? 0 : (size.width - data.width * READABLE) / 2;
  view.y = 0;
  show();
}

new ResizeObserver(() => {
  const box = canvas.getBoundingClientRect();
  size = { width: box.width, height: box.height };
}).observe(canvas);

// --- Drag, wheel, pinch.

const pointers = new Map();
let moved = 0, wasDragged = false;

function at(event) {
  const box = canvas.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

function getSpread() {
  const [one, two] = [...pointers.values()];
  return { x: (one.x + two.x) / 2, y: (one.y + two.y) / 2, distance: Math.hypot(one.x - two.x, one.y - two.y) || 1 };
}

canvas.addEventListener('pointerdown', event => {
  if (event.button > 0) return;
  pointers.set(event.pointerId, at(event));
  if (pointers.size === 1) moved = 0;
});
canvas.addEventListener('pointermove', event => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = at(event), old = pointers.size === 2 && getSpread();
  pointers.set(event.pointerId, now);
  moved += Math.hypot(now.x - before.x, now.y - before.y);
  if (moved < 5) return;
  // Captured only now: a click without a move must reach the node.
  canvas.setPointerCapture(event.pointerId);
  canvas.classList.add('dragging');
  if (old) {
    const spread = getSpread();
    view.x += spread.x - old.x;
    view.y += spread.y - old.y;
    zoom(spread.distance / old.distance, spread.x, spread.y);
  } else {
    view.x += now.x - before.x;
    view.y += now.y - before.y;
    show();
  }
});
for (const kind of ['pointerup', 'pointercancel']) {
  canvas.addEventListener(kind, event => {
    if (!pointers.delete(event.pointerId) || pointers.size) return;
    canvas.classList.remove('dragging');
    wasDragged = moved >= 5;
  });
}
canvas.addEventListener('wheel', event => {
  event.preventDefault();
  const { x, y } = at(event), lines = event.deltaMode === 1 ? 16 : 1;
  // A pinch on a touchpad comes as a wheel with Ctrl, in small steps.
  zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), x, y);
}, { passive: false });
// The browser would scroll to what gets the focus; `reveal` does.
for (const element of [canvas, canvas.parentElement]) element.addEventListener('scroll', () => element.scrollTo(0, 0));
