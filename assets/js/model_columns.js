/* Models beside each other: texts, bars, small tables, numbers. No events. */
const G = window.Glassbox;
const note = G.el('p', { class: 'gb-mc-note', role: 'status', hidden: true });
const grid = G.el('div', { class: 'gb-mc', role: 'group' });
element.querySelector('.gb-host').append(note, grid);
let columns = null;                                      // the last ones there were

const run = ([text, mark]) => (mark ? G.el('span', { class: 'gb-ws', dataset: { mark }, text }) : text);
const share = (x) => `${(100 * x).toFixed(2)}%`;

function text(block) {
  const body = block.runs.length ? block.runs.map(run) : [G.el('span', { class: 'gb-muted', text: block.empty })];
  return G.el('div', { class: `gb-mc-block${block.main ? ' gb-mc-main' : ''}` }, [
    G.el('div', { class: 'gb-mc-label' }, [block.label, block.generated ? G.el('span', { class: 'gb-mc-generated', text: block.generated }) : null]),
    G.el('div', { class: 'gb-mc-text gb-scroll', dataset: block.generated && block.runs.length ? { generated: block.generated } : {} }, body),
  ]);
}

function bars(block) {
  const rows = block.rows.map((row, i) => {
    const node = G.el('div', { class: `gb-mc-row${row.picked ? ' gb-mc-picked' : ''}`, role: 'listitem', tabindex: i ? '-1' : '0' }, [
      G.el('span', { class: 'gb-token', text: row.text }),
      G.el('span', { class: 'gb-mc-bar' }, [
        G.el('span', { class: 'gb-mc-now', style: { width: share(row.width) } }),
        row.before === null ? null : G.el('span', { class: 'gb-mc-ghost', style: { width: share(row.before) } }),
      ]),
      G.el('span', { class: 'gb-mc-value', text: row.value }),
      G.el('span', { class: 'gb-mc-extra', text: row.extra }),
    ]);
    node.dataset.hint = row.title;
    return node;
  });
  const list = G.el('div', { class: 'gb-mc-bars', role: 'list', dataset: { align: block.align }, 'aria-label': block.label }, rows);
  G.roving(list, { selector: '.gb-mc-row', vertical: true });
  return G.el('div', { class: 'gb-mc-block' }, [G.el('div', { class: 'gb-mc-label', text: block.label }), list,
    block.note ? G.el('p', { class: 'gb-mc-small', text: block.note }) : null]);
}

function table(block) {
  const row = (cells, tag) => G.el('tr', {}, cells.map((cell, i) => G.el(i ? tag : 'th', { scope: tag === 'th' ? 'col' : (i ? null : 'row'), text: cell })));
  return G.el('div', { class: 'gb-scroll gb-mc-table', tabindex: '0' }, [G.el('table', {}, [
    G.el('thead', {}, [row(block.head, 'th')]), G.el('tbody', {}, block.rows.map((cells) => row(cells, 'td')))])]);
}

const block = (b) => ({ text, bars, table })[b.kind](b);
const fact = (f) => {
  const name = G.el('dt', { class: f.title ? 'gb-mc-hint' : null, tabindex: f.title ? '0' : null, text: f.label });
  name.dataset.hint = f.title;
  return G.el('div', {}, [name, G.el('dd', { text: f.value })]);
};
const column = (c) => G.el('section', { class: 'gb-mc-column', dataset: { state: c.state, model: c.title } }, [
  c.title ? G.el('h3', { class: 'gb-mc-title', text: c.title }) : null,
  c.status ? G.el('p', { class: c.state === 'failed' ? 'gb-error' : 'gb-mc-status', text: c.status }) : null,
  ...c.blocks.map(block),
  c.facts.length ? G.el('dl', { class: 'gb-mc-facts' }, c.facts.map(fact)) : null,
  ...c.notes.map((line) => G.el('p', { class: 'gb-mc-small', text: line })),
]);

function draw() {
  const value = G.snapshot(props);
  if (!value) return;
  note.hidden = !value.note;
  note.textContent = value.note;
  grid.classList.toggle('gb-mc-old', value.columns === null);
  if (value.columns) {
    columns = value.columns;
    const kept = [...grid.querySelectorAll('.gb-mc-text')].map((node) => node.scrollTop);
    grid.setAttribute('aria-label', value.label);
    grid.dataset.count = value.columns.length;
    grid.replaceChildren(...value.columns.map(column));
    grid.querySelectorAll('.gb-mc-text').forEach((node, i) => { node.scrollTop = kept[i] || 0; });
  }
  element.dataset.painted = value.id;
}

grid.addEventListener('copy', (e) => {                   // what a model wrote stays marked where it is pasted
  const from = getSelection().anchorNode;
  const made = (from instanceof Element ? from : from?.parentElement)?.closest('[data-generated]');
  if (!made) return;
  e.clipboardData.setData('text/plain', `[${made.dataset.generated}] ${getSelection()}`);
  e.preventDefault();
});
G.tooltip(grid, '[data-hint]', (node) => node.dataset.hint);

/* ---- as a picture: the columns beside each other ---------------------------------------------------------------- */
const WIDE = 460, ABREAST = 4, PAD = 14, LINE = 20, LETTER = 7.9;
const cut = (text, most) => text.split('\n').flatMap((row) => row.match(new RegExp(`.{1,${most}}(?:\\s|$)|.{1,${most}}`, 'gu')) || ['']);
function written(x, c) {                                 // one column: [pieces of SVG, its height]
  const out = [], ink = G.css('--gb-ink'), muted = G.css('--gb-muted');
  let y = 8;
  const put = (at, text, more = {}) => out.push(G.sx('text', { x: x + at, y, fill: ink, ...more }, null, text));
  const say = (text, more) => { for (const row of cut(text, Math.floor((WIDE - 2 * PAD) / LETTER))) { y += LINE; put(PAD, row, more); } };
  const drawn = {
    text: (b) => { say([b.label, b.generated].filter(Boolean).join(' \u00b7 '), { fill: muted }); say(b.runs.map(([s, mark]) => (mark ? mark + (s.includes('\n') ? '\n' : '') : s)).join('') || b.empty); },
    bars: (b) => {
      say(b.label, { fill: muted });
      for (const row of b.rows) {
        y += LINE;
        const from = b.align === 'right' ? x + 150 + 180 * (1 - row.width) : x + 150;
        put(142, row.text, { 'text-anchor': 'end' });
        out.push(G.sx('rect', { x: from, y: y - 12, width: Math.max(1, 180 * row.width), height: 14, fill: G.css(row.picked ? '--gb-cat-2' : '--gb-seq-5') }));
        put(338, [row.value, row.extra].filter(Boolean).join('  '));
      }
      if (b.note) say(b.note, { fill: muted });
    },
    table: (b) => [b.head, ...b.rows].forEach((row) => say(row.join('   '))),
  };
  if (c.title) say(c.title, { 'font-weight': 700 });
  if (c.status) say(c.status, { fill: muted });
  c.blocks.forEach((b) => { y += 6; drawn[b.kind](b); });
  c.facts.forEach((f) => say(`${f.label}  ${f.value}`));
  c.notes.forEach((note) => say(note, { fill: muted }));
  return [out, y];
}
element.gbPicture = () => {
  const pictures = (columns || []).map((c, i) => written((i % ABREAST) * WIDE, c)), rows = [];
  let top = 0;
  for (let i = 0; i < pictures.length; i += ABREAST) {
    const row = pictures.slice(i, i + ABREAST);
    rows.push(G.sx('g', { transform: `translate(0 ${top})` }, row.flatMap(([out]) => out)));
    top += Math.max(...row.map(([, y]) => y)) + 16;
  }
  return G.svgDoc(Math.max(1, Math.min(ABREAST, pictures.length)) * WIDE, Math.max(56, top), rows, grid.getAttribute('aria-label'));
};
watch('value', draw);
draw();
