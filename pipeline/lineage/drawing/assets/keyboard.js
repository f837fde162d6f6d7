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
