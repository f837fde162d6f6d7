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
