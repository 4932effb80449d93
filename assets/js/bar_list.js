/* Lists of bars side by side, on one scale. Event 'rowselect' {key} of rows that have a key. */
const G = window.Glassbox;
const ROW = '.gb-bars-row';
const head = G.el('div', { class: 'gb-bars-head' });
const root = G.el('div', { class: 'gb-bars' });
element.querySelector('.gb-host').append(head, root);
let value = null;

const share = (x) => `${(100 * Math.min(1, Math.abs(x) / value.bound)).toFixed(2)}%`;
const fillOf = (x) => (value.signed ? (x < 0 ? 'var(--gb-neg-3)' : 'var(--gb-pos-3)') : 'var(--gb-seq-5)');

function build(row, first) {
  const bar = G.el('span', { class: 'gb-bars-bar' }, [G.el('span', { class: 'gb-bars-now', style: { width: share(row.value), background: fillOf(row.value) } })]);
  if (row.before !== null) bar.append(G.el('span', { class: 'gb-bars-ghost', style: { width: share(row.before) } }));
  const node = G.el(row.key ? 'button' : 'div', { class: 'gb-bars-row', type: row.key ? 'button' : null, tabindex: first ? '0' : '-1' }, [
    G.el('span', { class: 'gb-bars-text', text: row.text }), bar, G.el('span', { class: 'gb-bars-number', text: row.shown })]);
  if (row.key) node.setAttribute('aria-pressed', String(row.key === value.selected));
  node.row = row;
  return node;
}

function draw() {
  const next = G.snapshot(props);
  if (!next) return;                                     // nothing new: the last picture stays
  value = next;
  const focused = root.contains(document.activeElement) ? document.activeElement.row?.key : null;
  head.replaceChildren(...(value.caption ? [G.el('span', { text: value.caption })] : []));
  const ghosts = value.lists.some((list) => list.rows.some((row) => row.before !== null));
  if (ghosts) head.append(G.el('span', { class: 'gb-bars-key' }, [G.el('span', { class: 'gb-bars-key-ghost' }), value.text.before]));
  root.setAttribute('role', 'group');
  root.setAttribute('aria-label', value.label);
  let first = true;
  root.replaceChildren(...value.lists.map((list) => G.el('div', { class: 'gb-bars-list' }, [
    list.title ? G.el('div', { class: 'gb-bars-title', text: list.title }) : null,
    ...list.rows.map((row) => { const node = build(row, first); first = false; return node; }),
    list.rows.length ? null : G.el('div', { class: 'gb-muted', text: value.text.empty })])));
  const again = focused && [...root.querySelectorAll(ROW)].find((node) => node.row.key === focused);
  if (again) G.focusItem(root, ROW, again);
  element.dataset.painted = value.id;
}

element.gbPicture = () => {
  const line = 22, ink = G.css('--gb-ink'), muted = G.css('--gb-muted'), longest = Math.max(4, ...value.lists.flatMap((l) => l.rows.map((r) => r.text.length)));
  const label = 8 * Math.min(28, longest) + 12, column = label + 250, rows = Math.max(1, ...value.lists.map((l) => l.rows.length));
  const text = (x, y, words, more = {}) => G.sx('text', { x, y, fill: ink, 'dominant-baseline': 'central', ...more }, null, words);
  const parts = value.lists.flatMap((list, c) => [text(12 + c * column, 46, list.title, { fill: muted }), ...list.rows.flatMap((row, i) => {
    const x = 12 + c * column + label, y = 60 + i * line;
    return [text(x - 8, y + 10, row.text.slice(0, 28), { 'text-anchor': 'end' }),
      G.sx('rect', { x, y: y + 3, width: (140 * Math.abs(row.value)) / value.bound, height: 14, fill: value.signed ? G.css(row.value < 0 ? '--gb-neg-3' : '--gb-pos-3') : G.css('--gb-seq-5') }),
      row.before === null ? '' : G.sx('rect', { x, y: y + 3, width: (140 * Math.abs(row.before)) / value.bound, height: 14, fill: 'none', stroke: ink, 'stroke-dasharray': '3 2' }),
      text(x + 146, y + 10, row.shown)];
  })]);
  const title = [value.label, value.unit].filter(Boolean).join(', ');
  return G.svgDoc(Math.max(24 + column * value.lists.length, 24 + 8 * title.length), 76 + rows * line, [text(12, 20, title), ...parts], title);
};

function choose(node) {
  G.hideTip();
  for (const other of root.querySelectorAll('[aria-pressed="true"]')) other.setAttribute('aria-pressed', 'false');
  node.setAttribute('aria-pressed', 'true');
  value.selected = node.row.key;
  trigger('rowselect', { key: node.row.key });
}
root.addEventListener('click', (e) => { const node = e.target.closest(ROW); if (node?.row.key) choose(node); });
G.roving(root, { selector: ROW, vertical: true });
G.tooltip(root, ROW, (node) => node.row.title);
watch('value', draw);
draw();
