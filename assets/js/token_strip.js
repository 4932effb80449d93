/* A row or a paragraph of tokens. Event 'tokenselect' {pos}. Only tokens that changed are touched, so a text that is being written
   stays cheap and keeps its focus. */
const G = window.Glassbox;
const ITEM = '.gb-tok';
const list = G.el('div', { class: 'gb-strip gb-scroll', role: 'listbox', 'aria-orientation': 'horizontal' });
const foot = G.el('div', { class: 'gb-strip-foot' });
element.querySelector('.gb-host').append(list, foot);
let value = null, nodes = [], selected = null, footKey = '', hidden = false;

const colour = (x, sign) => (sign ? G.div(x) : G.seq(x));

function paint(node, token) {
  let style = '';
  if (token.shade !== null) {
    const background = colour(token.shade, token.sign);
    style = `background:${background};color:${G.ink(background)};`;
  }
  if (token.before !== null) style += `--ghost:${colour(token.before, token.sign)}`;
  if (style || node.style.length) node.style.cssText = style;
}

/* The marks for space, newline and tab are paler than the letters; everything is text. */
function letters(node, text) {
  for (const part of text.split(/([\u00b7\u21b5\u21e5]+)/)) {
    if (!part) continue;
    if (!/^[\u00b7\u21b5\u21e5]/.test(part)) { node.append(part); continue; }
    const mark = document.createElement('span');
    mark.className = 'gb-mark';
    mark.textContent = part;
    node.append(mark);
  }
}

function build(token, inline) {                           // without Glassbox.el: a thousand of these must be quick
  const node = document.createElement('span');
  node.className = `gb-token gb-tok gb-${token.kind}${token.edited ? ' gb-edited' : ''}${token.before !== null ? ' gb-ghost' : ''}`;
  node.setAttribute('role', 'option');
  node.setAttribute('aria-selected', 'false');
  node.tabIndex = -1;
  node.dataset.pos = token.pos;
  letters(node, token.text);
  node.token = token;
  paint(node, token);
  if (!inline) return [node];
  const out = /^[\u00b7\u21e5]/.test(token.text) ? [document.createElement('wbr'), node] : [node];
  for (const mark of token.text) if (mark === '\u21b5') out.push(document.createElement('br'));
  return out;
}

function fillList() {
  const same = list.classList.contains('gb-inline') === value.inline;
  if (!same) { list.textContent = ''; nodes = []; }
  list.classList.toggle('gb-inline', value.inline);
  const focused = list.contains(document.activeElement);
  let kept = 0;
  while (kept < nodes.length && kept < value.tokens.length && nodes[kept].key === JSON.stringify(value.tokens[kept])) kept++;
  const changedOnly = nodes.length === value.tokens.length && !value.inline;
  if (changedOnly) {
    for (let i = kept; i < nodes.length; i++) {
      const key = JSON.stringify(value.tokens[i]);
      if (nodes[i].key === key) continue;
      const parts = build(value.tokens[i], false);
      nodes[i].parts[0].replaceWith(parts[0]);
      nodes[i] = { key, parts, node: parts[0] };
    }
  } else {
    for (const old of nodes.splice(kept)) for (const part of old.parts) part.remove();
    const fresh = document.createDocumentFragment();
    for (const token of value.tokens.slice(kept)) {
      const parts = build(token, value.inline);
      fresh.append(...parts);
      nodes.push({ key: JSON.stringify(token), parts, node: parts.find((part) => part.token) });
    }
    list.append(fresh);
  }
  list.querySelector('.gb-none')?.remove();
  if (!nodes.length) list.append(G.el('span', { class: 'gb-none gb-muted', text: value.text.empty }));
  return focused;
}

function reveal(node) {                                  // scroll inside the box only: the page never jumps
  hidden = !list.offsetHeight;
  const box = list.getBoundingClientRect(), item = node.getBoundingClientRect();
  if (item.top < box.top) list.scrollTop -= box.top - item.top + 4;
  else if (item.bottom > box.bottom) list.scrollTop += item.bottom - box.bottom + 4;
}

function mark(pos, focus) {
  const was = list.querySelector('[aria-selected="true"]');
  if (was) was.setAttribute('aria-selected', 'false');
  selected = pos;
  const found = nodes.find((entry) => entry.node.token.pos === pos);
  const stop = found ? found.node : nodes[0]?.node;
  if (found) { found.node.setAttribute('aria-selected', 'true'); reveal(found.node); }
  if (stop) G.focusItem(list, ITEM, stop, focus);
}

function drawFoot() {
  const has = (kind) => value.tokens.some((token) => token.kind === kind);
  const ghost = value.tokens.some((token) => token.before !== null), edited = value.tokens.some((token) => token.edited);
  const sign = value.tokens.some((token) => token.sign);
  const key = JSON.stringify([value.legend, has('generated'), has('continued'), ghost, edited, sign, value.text]);
  if (key === footKey) return;
  footKey = key;
  const sample = (kind, text) => G.el('span', { class: 'gb-key' }, [G.el('span', { class: `gb-key-mark gb-key-${kind}` }), text]);
  foot.textContent = '';
  if (value.legend) foot.append(G.legend(sign ? 'div' : 'seq', value.legend));
  if (ghost) foot.append(sample('ghost', value.text.before));
  for (const kind of ['generated', 'continued']) if (has(kind)) foot.append(sample(kind, value.text[kind]));
  if (edited) foot.append(sample('edited', value.text.edited));
}

function svg() {
  const origin = list.getBoundingClientRect(), pad = 12;
  const parts = nodes.flatMap(({ node }) => {
    const token = node.token, boxes = [...node.getClientRects()], fill = token.shade === null ? 'none' : colour(token.shade, token.sign);
    const at = (box) => ({ x: box.left - origin.left + list.scrollLeft + pad, y: box.top - origin.top + list.scrollTop + pad });
    const ink = token.shade === null ? G.css('--gb-ink') : G.ink(fill), first = at(boxes[0]);
    return [
      ...boxes.map((box) => G.sx('rect', { ...at(box), width: box.width, height: box.height, rx: 3, fill, stroke: G.css('--gb-line') })),
      token.before === null ? '' : G.sx('rect', { x: first.x, y: first.y + boxes[0].height - 4, width: boxes[0].width, height: 4, fill: colour(token.before, token.sign), stroke: G.css('--gb-line-strong'), 'stroke-width': .5 }),
      ...boxes.map((box) => underline(token.kind, at(box).x, at(box).y + box.height, box.width)),
      G.sx('text', { x: first.x + boxes[0].width / 2, y: first.y + boxes[0].height / 2, fill: ink, 'text-anchor': 'middle', 'dominant-baseline': 'central' }, null, token.text),
    ];
  });
  const right = Math.max(0, ...nodes.map(({ node }) => node.getBoundingClientRect().right - origin.left + list.scrollLeft));
  const bottom = list.scrollHeight + 2 * pad, written = ['generated', 'continued'].filter((kind) => value.tokens.some((t) => t.kind === kind));
  if (value.legend) parts.push(scale(pad, bottom + 4));
  let x = pad;
  for (const kind of written) {
    const y = bottom + (value.legend ? 38 : 14);
    parts.push(underline(kind, x, y, 18), G.sx('text', { x: x + 24, y, fill: G.css('--gb-muted') }, null, value.text[kind]));
    x += 48 + 8 * value.text[kind].length;
  }
  const words = value.legend ? 8 * Object.values(value.legend).join('').length + 170 : 0;
  return G.svgDoc(Math.ceil(Math.max(right + 2 * pad, words, x + pad)), bottom + (value.legend ? 24 : 0) + (written.length ? 24 : 0), parts, value.label);
}

/* Text of the model stays marked in a saved picture too. */
function underline(kind, x, y, width) {
  const look = { generated: ['--gb-cat-2', null], continued: ['--gb-cat-3', '2 2'] }[kind];
  return look ? G.sx('line', { x1: x, x2: x + width, y1: y, y2: y, stroke: G.css(look[0]), 'stroke-width': 2, 'stroke-dasharray': look[1] }) : '';
}

function scale(x, y) {
  const muted = G.css('--gb-muted'), { title, low, high } = value.legend, sign = value.tokens.some((token) => token.sign);
  const left = x + 7.9 * (title.length + low.length + 2);
  const steps = Array.from({ length: 27 }, (_, i) => G.sx('rect', { x: left + 4 * i, y, width: 4.2, height: 12, fill: sign ? G.div(i / 13 - 1) : G.seq(i / 26) }));
  return [G.sx('text', { x, y: y + 10, fill: muted }, null, `${title}  ${low}`), ...steps,
    G.sx('rect', { x: left, y, width: 108, height: 12, fill: 'none', stroke: G.css('--gb-line-strong') }),
    G.sx('text', { x: left + 114, y: y + 10, fill: muted }, null, high)].join('');
}

element.gbPicture = svg;                               // for a panel's menu

function draw() {
  const next = G.snapshot(props);
  if (!next) return;                                     // nothing new: the last picture stays
  if (typeof next.tokens === 'string') next.tokens = next.tokens.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  value = next;
  list.setAttribute('aria-label', value.label);
  const focused = fillList();
  mark(waiting === null ? value.selected : selected, focused && !list.contains(document.activeElement));
  drawFoot();
  element.dataset.painted = value.id;
}

let waiting = null;
function send(pos, delay) {                              // one event for a burst of arrow keys, none is left behind
  clearTimeout(waiting);
  waiting = setTimeout(() => { waiting = null; trigger('tokenselect', { pos }); }, delay);
}
function choose(node, delay) {
  if (node.token.pos === selected) return;
  mark(node.token.pos, false);
  send(node.token.pos, delay);
}
list.addEventListener('click', (e) => { const node = e.target.closest(ITEM); if (node) { choose(node, 0); node.focus({ preventScroll: true }); } });
list.addEventListener('keydown', (e) => {
  const node = e.target.closest(ITEM);
  if (node && (e.key === 'Enter' || e.key === ' ')) { e.preventDefault(); mark(node.token.pos, false); send(node.token.pos, 0); }
});
G.roving(list, { selector: ITEM, onMove: (node) => choose(node, 90) });
G.tooltip(list, ITEM, (node) => node.token.title);
G.onTheme(() => nodes.forEach(({ node }) => paint(node, node.token)), element);
new ResizeObserver(() => {                              // chosen while the tab was hidden: show it now
  const node = hidden && list.offsetHeight && list.querySelector('[aria-selected="true"]');
  if (node) reveal(node);
}).observe(list);
watch('value', draw);
draw();
