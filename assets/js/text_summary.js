/* Figures about a text, and what can be done with it. Event 'summaryaction' {name}. Only what changed is rebuilt, so that a button
   keeps its focus while the text is being written. */
const G = window.Glassbox;
const head = G.el('span', { class: 'gb-sum-heading' });
const list = G.el('dl', { class: 'gb-sum-figures' });
const note = G.el('span', { class: 'gb-sum-note gb-muted' });
const bar = G.el('span', { class: 'gb-sum-actions' });
element.querySelector('.gb-host').append(G.el('div', { class: 'gb-sum' }, [head, list, note, bar]));
let value = null, barKey = '';

function figure(f) {
  const node = G.el('div', { class: 'gb-sum-figure', tabindex: f.title ? '0' : null }, [
    G.el('dt', { text: f.label }),
    G.el('dd', {}, [f.value, f.was === null ? null : G.el('span', { class: 'gb-sum-was', text: f.was })]),
  ]);
  node.figure = f;
  return node;
}

function drawFigures() {
  value.figures.forEach((f, i) => {
    const old = list.children[i], key = JSON.stringify(f);
    if (old?.dataset.key === key) return;
    const node = figure(f);
    node.dataset.key = key;
    if (!old) return list.append(node);
    const held = old === document.activeElement;
    old.replaceWith(node);
    if (held) node.focus({ preventScroll: true });
  });
  while (list.children.length > value.figures.length) list.lastElementChild.remove();
  list.hidden = !value.figures.length;
}

function button(index) {
  const action = value.actions[index];
  const node = G.el('button', { type: 'button', class: 'gb-button gb-quiet', dataset: { name: action.name }, text: action.label });
  node.addEventListener('click', async () => {
    const now = value.actions[index];                      // the text may have grown since
    if (now.copy === null) return trigger('summaryaction', { name: now.name });
    const said = (await G.copy(now.copy)) ? now.done : now.failed;
    node.textContent = said;
    G.announce(said);
    setTimeout(() => { node.textContent = now.label; }, 1600);
  });
  return node;
}

function drawActions() {
  const key = JSON.stringify(value.actions.map((a) => [a.name, a.label, a.title]));
  if (key === barKey) return;
  barKey = key;
  bar.replaceChildren(...value.actions.map((_, i) => button(i)));
}

function draw() {
  const next = G.snapshot(props);
  if (!next) return;                                     // nothing new: the last picture stays
  value = next;
  head.textContent = value.heading;
  head.hidden = !value.heading;
  list.setAttribute('aria-label', value.label || value.heading);
  note.textContent = value.note;
  drawFigures();
  drawActions();
  element.dataset.painted = value.id;
}

/* Text of the model stays marked when it is selected and copied by hand. */
function onCopy(e) {
  if (!element.isConnected) return document.removeEventListener('copy', onCopy);
  const strip = value?.strip && document.getElementById(value.strip), chosen = getSelection();
  if (!strip || !value.credit || !chosen.rangeCount || !strip.contains(chosen.anchorNode)) return;
  const written = [...strip.querySelectorAll('.gb-generated, .gb-continued')].some((node) => chosen.containsNode(node, true));
  if (!written) return;
  const text = chosen.toString().replace(/\u00b7/g, ' ').replace(/\u21b5\n?/g, '\n').replace(/\u21e5/g, '\t');
  e.clipboardData.setData('text/plain', `${text}\n\n${value.credit}`);
  e.preventDefault();
}
document.addEventListener('copy', onCopy);

G.tooltip(list, '.gb-sum-figure', (node) => node.figure.title);
list.addEventListener('click', (e) => { const node = e.target.closest('.gb-sum-figure'); if (node) G.showTip(node, node.figure.title); });
G.tooltip(bar, 'button', (node) => value.actions.find((a) => a.name === node.dataset.name)?.title || '');
watch('value', draw);
draw();
