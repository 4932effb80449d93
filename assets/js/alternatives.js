/* What else could stand at one place of a generated text. Event 'continuefrom' {pos, id}. */
const G = window.Glassbox;
const ROW = '.gb-alt-row';
const head = G.el('div', { class: 'gb-alt-head' });
const list = G.el('div', { class: 'gb-alt gb-scroll', role: 'group' });
element.querySelector('.gb-host').append(head, list);
let value = null;

const share = (p) => `${(100 * Math.min(1, p / value.scale)).toFixed(2)}%`;
const isChosen = (row) => row.text === value.chosen.text && Math.abs(row.p - value.chosen.p) < 1e-9;
const hover = (row) => `${G.fill(value.text.hover, { logprob: row.p > 0 ? G.num(Math.log(row.p), 3) : '\u2212\u221e', id: row.id })}\n${isChosen(row) ? value.text.chosen : value.text.pick}`;

function build(row, index) {
  const node = G.el('button', { type: 'button', class: `gb-alt-row${isChosen(row) ? ' gb-chosen' : ''}`, tabindex: index ? '-1' : '0' }, [
    G.el('span', { class: 'gb-token', text: row.text }),
    G.el('span', { class: 'gb-bar' }, [G.el('span', { class: 'gb-bar-now', style: { width: share(row.p) } })]),
    G.el('span', { class: 'gb-alt-p', text: G.pct(row.p) }),
    G.el('span', { class: 'gb-alt-note', text: isChosen(row) ? value.text.chosen : '' }),
  ]);
  node.row = row;
  return node;
}

function csv() {
  const rows = value.rows.map((r, i) => [value.pos, i + 1, r.id, r.text, r.p, isChosen(r) ? 1 : 0]);
  return G.csvRows([['position', 'rank', 'token_id', 'token', 'probability', 'chosen'], ...rows]);
}

function drawHead() {
  const [first, rest] = G.fill(value.text.heading, { pos: value.pos, p: G.pct(value.chosen.p), token: '\u0000' }).split('\u0000');
  const token = rest === undefined ? null : G.el('span', { class: 'gb-token gb-alt-token', text: value.chosen.text });
  head.replaceChildren(G.el('span', { class: 'gb-alt-title' }, [first, token, rest ?? '']),
    G.el('span', { class: 'gb-muted', text: G.fill(value.text.scale, { max: G.pct(value.scale) }) }));
  if (value.export) G.exportMenu(head, { name: value.export, csv, json: () => value, text: value.text });
}

function draw() {
  const next = G.snapshot(props);
  if (!next) return;                                     // nothing new: the last picture stays
  value = next;
  const held = [...list.querySelectorAll(ROW)].indexOf(document.activeElement);
  drawHead();
  list.setAttribute('aria-label', head.querySelector('.gb-alt-title').textContent);
  list.replaceChildren(...value.rows.map(build));
  if (!value.rows.length) list.append(G.el('span', { class: 'gb-muted', text: value.text.empty }));
  const rows = list.querySelectorAll(ROW);
  if (held >= 0 && rows.length) G.focusItem(list, ROW, rows[Math.min(held, rows.length - 1)]);
  element.dataset.painted = value.id;
}

list.addEventListener('click', (e) => {
  const node = e.target.closest(ROW);
  if (node) { G.hideTip(); trigger('continuefrom', { pos: value.pos, id: node.row.id }); }
});
G.roving(list, { selector: ROW, vertical: true });
G.tooltip(list, ROW, (node) => hover(node.row));
watch('value', draw);
draw();
