/* Places of a text with their surroundings, shaded. Event 'contextpick' {index}. */
const G = window.Glassbox;
const ROW = '.gb-context';
const root = G.el('div', { class: 'gb-contexts gb-scroll', role: 'group' }), foot = G.el('div', { class: 'gb-contexts-foot' });
element.querySelector('.gb-host').append(root, foot);
let value = null;

const shade = (v) => (v > 0 ? G.seq(Math.min(1, v / value.bound)) : null);
function paint(node, v) {
  const fill = shade(v);
  node.style.background = fill || '';
  node.style.color = fill ? G.ink(fill) : '';
}
function build(place, index) {
  const words = place.tokens.map((token, i) => {
    const node = G.el('span', { class: `gb-context-tok${i === place.peak ? ' gb-context-peak' : ''}`, text: token, title: G.num(place.values[i], 3) });
    node.v = place.values[i];
    paint(node, node.v);
    return node;
  });
  return G.el('button', { type: 'button', class: 'gb-context', tabindex: index ? '-1' : '0', dataset: { index }, 'aria-label': `${G.num(place.values[place.peak], 2)}: ${place.tokens.join('')}` },
    [G.el('span', { class: 'gb-context-number', text: G.num(place.values[place.peak], 2) }), G.el('span', { class: 'gb-context-words' }, words)]);
}
function draw() {
  const next = G.snapshot(props);
  if (!next) return;                                     // nothing new: the last picture stays
  value = next;
  root.setAttribute('aria-label', value.text.label);
  root.replaceChildren(...value.places.map(build));
  if (!value.places.length) root.append(G.el('div', { class: 'gb-muted', text: value.text.empty }));
  foot.replaceChildren(...(value.places.length ? [G.legend('seq', { title: value.unit, low: '0', high: G.num(value.bound, 2) }), G.el('span', { text: value.text.pick })] : []));
  element.dataset.painted = value.id;
}
element.gbPicture = () => {
  const ink = G.css('--gb-ink'), line = 26, size = 7.9;
  let width = 300;
  const rows = value.places.flatMap((place, r) => {
    let x = 76;
    const y = 34 + r * line;
    const cells = place.tokens.flatMap((token, i) => {
      const w = size * token.length + 3, fill = shade(place.values[i]), at = x;
      x += w;
      width = Math.max(width, x + 12);
      return [G.sx('rect', { x: at, y: y - 11, width: w, height: 22, fill: fill || 'none', stroke: i === place.peak ? ink : 'none' }),
        G.sx('text', { x: at + 1.5, y, fill: fill ? G.ink(fill) : ink, 'dominant-baseline': 'central' }, null, token)];
    });
    return [G.sx('text', { x: 62, y, fill: ink, 'text-anchor': 'end', 'dominant-baseline': 'central' }, null, G.num(place.values[place.peak], 2)), ...cells];
  });
  return G.svgDoc(Math.ceil(width), 34 + value.places.length * line, rows, value.text.label);
};
root.addEventListener('click', (e) => { const node = e.target.closest(ROW); if (node) trigger('contextpick', { index: Number(node.dataset.index) }); });
G.roving(root, { selector: ROW, vertical: true });
G.onTheme(() => root.querySelectorAll('.gb-context-tok').forEach((node) => paint(node, node.v)), element);
watch('value', draw);
draw();
