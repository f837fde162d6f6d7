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
