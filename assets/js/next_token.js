/* The most probable next tokens: a strip of five, or a list of twenty. Event 'tokenpick' {id, text}. */
const G = window.Glassbox;
const ROW = '.gb-next-row';
const head = G.el('div', { class: 'gb-next-head' });
const list = G.el('div', { class: 'gb-next gb-scroll', role: 'group' });
element.querySelector('.gb-host').append(head, list);
let value = null;

const share = (p) => `${(100 * Math.min(1, p / value.scale)).toFixed(2)}%`;
const was = (row) => (value.edited && row.before !== null ? G.fill(value.text.was, { p: G.pct(row.before) }) : '');
const hover = (row) => G.fill(value.text.hover, { logprob: row.p > 0 ? G.num(Math.log(row.p), 3) : '\u2212\u221e', id: row.id })
  + (was(row) ? `\n${was(row)}` : '') + `\n${value.text.pick}`;

function build(row, index) {
  const bar = G.el('span', { class: 'gb-bar' }, [G.el('span', { class: 'gb-bar-now', style: { width: share(row.p) } })]);
  if (value.edited && row.before !== null) bar.append(G.el('span', { class: 'gb-bar-ghost', style: { width: share(row.before) } }));
  const node = G.el('button', { type: 'button', class: 'gb-next-row', tabindex: index ? '-1' : '0' }, [
    G.el('span', { class: 'gb-token', text: row.text }), bar,
    G.el('span', { class: 'gb-next-p', text: G.pct(row.p) }), G.el('span', { class: 'gb-next-was', text: was(row) }),
  ]);
  node.row = row;
  return node;
}

function drawHead() {
  head.textContent = '';
  const notes = [G.el('span', { class: 'gb-next-label', text: value.label })];
  if (value.entropy !== null) notes.push(G.el('span', { text: G.fill(value.text.entropy, { bits: G.num(value.entropy, 2) }) }));
  notes.push(G.el('span', { text: G.fill(value.text.scale, { max: G.pct(value.scale) }) }));
  if (value.edited) notes.push(G.el('span', { class: 'gb-key' }, [G.el('span', { class: 'gb-key-ghost' }), value.text.before]));
  head.append(...notes);
  if (value.export) G.exportMenu(head, { name: value.export, svg, csv, json: () => value, text: value.text });
}

function csv() {
  const rows = value.rows.map((r, i) => [i + 1, r.id, r.text, r.p, r.p > 0 ? Math.log(r.p) : null, r.before]);
  return G.csvRows([['rank', 'token_id', 'token', 'probability', 'logprob_nats', 'probability_before'], ...rows]);
}

function svg() {
  const line = 24, left = 24 + 8 * Math.max(4, ...value.rows.map((row) => row.text.length)), width = left + 470;
  const ink = G.css('--gb-ink'), muted = G.css('--gb-muted'), wide = (p) => 300 * Math.min(1, p / value.scale);
  const rows = value.rows.flatMap((row, i) => {
    const y = 34 + i * line, at = { y: y + 12, 'dominant-baseline': 'central' };
    return [
      G.sx('text', { x: left - 10, 'text-anchor': 'end', fill: ink, ...at }, null, row.text),
      G.sx('rect', { x: left, y: y + 4, width: wide(row.p), height: 16, fill: G.css('--gb-seq-5') }),
      value.edited && row.before !== null ? G.sx('rect', { x: left, y: y + 4, width: wide(row.before), height: 16, fill: 'none', stroke: ink, 'stroke-dasharray': '3 2' }) : '',
      G.sx('text', { x: left + 308, fill: ink, ...at }, null, G.pct(row.p)),
      G.sx('text', { x: left + 366, fill: muted, ...at }, null, was(row)),
    ];
  });
  const title = G.sx('text', { x: 12, y: 20, fill: muted }, null, `${value.label}  (${G.fill(value.text.scale, { max: G.pct(value.scale) })})`);
  return G.svgDoc(width, 34 + value.rows.length * line + 10, [title, ...rows], value.label);
}

function draw() {
  const next = G.snapshot(props);
  if (!next) return;                                     // nothing new: the last picture stays
  value = next;
  const before = [...list.querySelectorAll(ROW)].indexOf(document.activeElement);
  element.querySelector('.gb-host').dataset.layout = value.layout;
  list.setAttribute('aria-label', value.label);
  list.replaceChildren(...value.rows.map(build));
  if (!value.rows.length) list.append(G.el('span', { class: 'gb-muted', text: value.text.empty }));
  const rows = list.querySelectorAll(ROW);
  if (before >= 0 && rows.length) G.focusItem(list, ROW, rows[Math.min(before, rows.length - 1)]);
  drawHead();
  element.dataset.painted = value.id;
}

list.addEventListener('click', (e) => {
  const node = e.target.closest(ROW);
  if (node) { G.hideTip(); trigger('tokenpick', { id: node.row.id, text: node.row.text }); }
});
G.roving(list, { selector: ROW });
G.tooltip(list, ROW, (node) => hover(node.row));
element.gbPicture = svg;
watch('value', draw);
draw();
