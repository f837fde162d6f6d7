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

const READABLE = 0.55, CLOSEST = 3;
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
  if (view.scale >= READABLE) return;
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

// --- Selection: what it was made from, and what was made from it.

let selected = null;
let path = { nodes: new Map(), edges: new Map() };

function follow(number, side) {
  const links = side === 'up' ? incoming : outgoing, end = side === 'up' ? 0 : 1;
  const waiting = [number], seen = new Set(waiting);
  while (waiting.length) {
    const here = waiting.pop();
    let steps = links[here].filter(i => data.edges[i][2] !== 'choice');
    // Cached executions only repeat what really wrote an artifact.
    const written = steps.filter(i => data.edges[i][2] === 'output');
    if (side === 'up' && written.length) steps = written;
    for (const i of steps) {
      path.edges.set(i, side);
      const next = data.edges[i][end];
      if (!seen.has(next)) { seen.add(next); waiting.push(next); path.nodes.set(next, side); }
    }
  }
}

function mark() {
  scene.classList.toggle('selecting', selected !== null);
  nodes.forEach((element, i) => {
    element.classList.toggle('selected', i === selected);
    for (const side of ['up', 'down']) element.classList.toggle(side, path.nodes.get(i) === side);
  });
  edges.forEach((element, i) => { for (const side of ['up', 'down']) element.classList.toggle(side, path.edges.get(i) === side); });
  lanes.forEach(element => element.classList.remove('selected'));
  filter();
}

function select(number, { centered = false, focused = false } = {}) {
  selected = number;
  path = { nodes: new Map(), edges: new Map() };
  follow(number, 'up');
  follow(number, 'down');
  mark();
  describe(number);
  if (centered) center(number); else reveal(number);
  if (focused) nodes[number].focus({ preventScroll: true });
  try { history.replaceState(null, '', `#${data.nodes[number].key}`); } catch { /* not every browser lets a file do so */ }
}

function deselect() {
  const before = selected;
  selected = null;
  path = { nodes: new Map(), edges: new Map() };
  const hadFocus = panel.contains(document.activeElement);
  panel.hidden = true;
  mark();
  if (hadFocus && before !== null) nodes[before].focus({ preventScroll: true });
  try { history.replaceState(null, '', location.pathname + location.search); } catch { /* see above */ }
}

canvas.addEventListener('click', event => {
  if (wasDragged) { wasDragged = false; return; }
  const node = event.target.closest('.node'), lane = event.target.closest('.lane');
  if (node) select(nodes.indexOf(node), { focused: true });
  else if (lane) describeRun(lanes.indexOf(lane));
  else deselect();
});
canvas.addEventListener('focusin', event => {
  const number = nodes.indexOf(event.target);
  if (number >= 0 && event.target.matches(':focus-visible')) reveal(number);
});

// --- The panel.

const MANY = 10;

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function openPanel(title, tone, facts) {
  const head = make('div', undefined, { class: 'head' }), close = make('button', '×', { 'aria-label': 'Close (Escape)', title: 'Close (Escape)' });
  head.append(make('h2', title, { id: 'panel-title' }), close);
  close.addEventListener('click', deselect);
  const list = make('dl', undefined, { class: 'facts' });
  for (const [name, text] of facts.filter(([, text]) => text)) list.append(make('dt', name), make('dd', text, name === 'Detail' && tone ? { class: tone } : {}));
  panel.replaceChildren(head, list);
  panel.hidden = false;
  panel.scrollTop = 0;
}

function addUri(uri) {
  const line = make('p', undefined, { class: 'uri' }), button = make('button', 'Copy');
  line.append(make('code', uri), button);
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(uri);
      button.textContent = 'Copied';
    } catch {
      // Where the clipboard is closed to files, the text stands selected for the user's own copy.
      getSelection().selectAllChildren(line.firstChild);
      button.textContent = document.execCommand('copy') ? 'Copied' : 'Selected';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
  panel.append(line);
}

function addLinks(title, links) {
  if (!links.length) return;
  const items = links.map(([number, about]) => {
    const item = make('li'), button = make('button', data.nodes[number].title);
    button.addEventListener('click', () => select(number, { focused: true }));
    item.append(button, make('span', ` ${about}`, { class: 'muted' }));
    return item;
  });
  const list = make('ul', undefined, { class: 'links' });
  list.append(...items.slice(0, MANY));
  panel.append(make('h3', links.length > MANY ? `${title} (${links.length})` : title), list);
  if (items.length <= MANY) return;
  const fold = make('details'), rest = make('ul', undefined, { class: 'links' });
  rest.append(...items.slice(MANY));
  fold.append(make('summary', `${items.length - MANY} more`), rest);
  panel.append(fold);
}

function addProperties(title, properties) {
  if (!properties.length) return;
  const list = make('dl', undefined, { class: 'properties' });
  for (const [name, number, isCode] of properties) {
    const text = data.texts[number], held = make('dd'), isLong = text.length > 240 || text.split('\n').length > 8;
    const body = make(isCode || isLong ? 'pre' : 'div', text || '(empty)', text ? {} : { class: 'muted' });
    if (isLong) {
      const fold = make('details');
      fold.append(make('summary', `${text.slice(0, 60).replaceAll(/\s+/g, ' ')} … (${text.length.toLocaleString('en')} characters)`), body);
      held.append(fold);
    } else held.append(body);
    list.append(make('dt', name), held);
  }
  panel.append(make('h3', `${title} (${properties.length})`), list);
}

function describe(number) {
  const node = data.nodes[number];
  openPanel(node.title, node.tone, node.facts);
  if (node.uri) addUri(node.uri);
  const tell = (list, end) => list.map(i => {
    const [, , kind, names] = data.edges[i], other = data.nodes[data.edges[i][end]];
    const told = { reuse: 'from the cache', choice: 'selected' }[kind];
    return [data.edges[i][end], [!names || names === other.title ? '' : `as ${names}`, told, other.run !== node.run ? other.run : ''].filter(Boolean).join(', ')];
  });
  const isExecution = node.kind === 'execution';
  addLinks(isExecution ? 'Read' : 'Written by', tell(incoming[number], 0));
  addLinks(isExecution ? 'Wrote' : 'Read by', tell(outgoing[number], 1));
  addProperties('Properties', node.properties);
  const run = data.runs.find(one => one.id === node.run);
  if (run) addProperties(`Run ${run.id}`, run.properties);
}

function describeRun(index) {
  const run = data.runs[index];
  deselect();
  openPanel(`Run ${run.id}`, '', run.facts);
  addProperties('Properties', run.properties);
  lanes[index].classList.add('selected');
}

// --- Search and filters.

let matches = [], current = -1;
const haystacks = [];

function getHaystack(i) {
  const node = data.nodes[i];
  return haystacks[i] ??= [node.key, node.title, node.detail, node.type, node.state, node.uri, node.run,
    ...node.properties.flatMap(([name, number]) => [name, data.texts[number]])].join('\n').toLowerCase();
}

function isOff(i) { return nodes[i].classList.contains('off'); }

function seek() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  matches = words.length ? data.nodes.map((_, i) => i).filter(i => !isOff(i) && words.every(word => getHaystack(i).includes(word))) : [];
  current = -1;
  const found = new Set(matches);
  nodes.forEach((element, i) => element.classList.toggle('match', found.has(i)));
  scene.classList.toggle('searching', words.length > 0);
  tell();
}

function tell() {
  count.textContent = !search.value.trim() ? '' : !matches.length ? 'none' : current < 0 ? `${matches.length} found` : `${current + 1} of ${matches.length}`;
}

function step(by) {
  if (!matches.length) return;
  current = (current < 0 && by < 0 ? matches.length - 1 : current + by + matches.length) % matches.length;
  select(matches[current], { centered: true });
  tell();
}

function filter() {
  const hidden = new Set([...document.querySelectorAll('.legend [aria-pressed=false]')].map(button => button.dataset.group));
  const narrow = onlyPath.checked && selected !== null;
  let shown = 0;
  const off = data.nodes.map((node, i) => hidden.has(node.group) || (narrow && i !== selected && !path.nodes.has(i)));
  off.forEach((value, i) => { nodes[i].classList.toggle('off', value); shown += !value; });
  data.edges.forEach(([source, target], i) => edges[i].classList.toggle('off', off[source] || off[target] || (narrow && !path.edges.has(i))));
  find('empty').hidden = shown > 0;
}

search.addEventListener('input', seek);
search.addEventListener('keydown', event => {
  if (event.key === 'Enter') { event.preventDefault(); step(event.shiftKey ? -1 : 1); }
});
onlyPath.addEventListener('change', () => { filter(); seek(); });
for (const button of document.querySelectorAll('.legend button')) {
  button.addEventListener('click', () => {
    button.setAttribute('aria-pressed', button.getAttribute('aria-pressed') !== 'true');
    filter();
    seek();
  });
}
find('closer').addEventListener('click', () => zoom(1.3));
find('farther').addEventListener('click', () => zoom(1 / 1.3));
find('fit').addEventListener('click', fit);
find('run')?.addEventListener('change', event => {
  if (event.target.value !== '') goToRun(Number(event.target.value));
});

// --- Keyboard.

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function findBeside(number, [dx, dy]) {
  const [x, y] = data.nodes[number].box;
  let best = null, least = Infinity;
  data.nodes.forEach((node, i) => {
    const ahead = (node.box[0] - x) * dx + (node.box[1] - y) * dy, aside = Math.abs((node.box[0] - x) * dy) + Math.abs((node.box[1] - y) * dx);
    if (i !== number && !isOff(i) && ahead > 4 && ahead + 2 * aside < least) { best = i; least = ahead + 2 * aside; }
  });
  return best;
}

document.addEventListener('keydown', event => {
  if (event.key === 'Escape') {
    if (document.activeElement === search && search.value) { search.value = ''; seek(); } else deselect();
    event.preventDefault();
    return;
  }
  if (event.target.matches('input[type=search], select') || event.ctrlKey || event.metaKey || event.altKey) return;
  const number = nodes.indexOf(document.activeElement), lane = lanes.indexOf(document.activeElement);
  if ((event.key === 'Enter' || event.key === ' ') && (number >= 0 || lane >= 0)) {
    if (number >= 0) select(number); else describeRun(lane);
  } else if (event.key in ARROWS && number >= 0) {
    const next = findBeside(number, ARROWS[event.key]);
    if (next !== null) { nodes[next].focus({ preventScroll: true }); reveal(next); }
  } else if (event.key === '/') search.focus();
  else if (event.key === '+' || event.key === '=') zoom(1.3);
  else if (event.key === '-') zoom(1 / 1.3);
  else if (event.key === '0') fit();
  else return;
  event.preventDefault();
});

// --- The beginning.

canvas.removeAttribute('viewBox');
size = canvas.getBoundingClientRect();
start();
const asked = numberOf.get(decodeURIComponent(location.hash.slice(1)));
if (asked !== undefined) select(asked, { centered: true });
