/* The edits in force. Events 'editremove' {index} and 'editclear' {}. */
const G = window.Glassbox;
const BUTTON = 'button';
const list = G.el('div', { class: 'gb-edits', role: 'group' });
element.querySelector('.gb-host').append(list);
let value = null;

function chip(edit) {
  const remove = G.el('button', { type: 'button', class: 'gb-edit-x', tabindex: '-1', 'aria-label': G.fill(value.text.remove, { label: edit.label }), text: '\u00d7' });
  remove.addEventListener('click', () => trigger('editremove', { index: edit.index }));
  remove.tip = edit.title;
  const label = G.el('span', { class: 'gb-edit-label', text: edit.label });
  label.tip = edit.title;
  return G.el('span', { class: 'gb-edit', role: 'listitem' }, [label, remove]);
}

function draw() {
  const next = G.snapshot(props);
  if (!next) return;                                     // nothing new: the last picture stays
  value = next;
  const held = [...list.querySelectorAll(BUTTON)].indexOf(document.activeElement);
  list.setAttribute('aria-label', value.text.label);
  G.hideTip();
  list.replaceChildren(G.el('span', { class: 'gb-edits-label gb-muted', text: value.text.label }));
  if (value.edits.length) list.append(G.el('span', { class: 'gb-edit-list', role: 'list' }, value.edits.map(chip)));
  else list.append(G.el('span', { class: 'gb-muted', text: value.text.empty }));
  if (value.edits.length > 1)
    list.append(G.el('button', { type: 'button', class: 'gb-button gb-quiet', tabindex: '-1', text: value.text.clear, onclick: () => trigger('editclear', {}) }));
  const buttons = list.querySelectorAll(BUTTON);
  if (buttons.length) G.focusItem(list, BUTTON, buttons[Math.max(0, Math.min(held, buttons.length - 1))], held >= 0);
  element.dataset.painted = value.id;
}

list.addEventListener('keydown', (e) => {
  if ((e.key === 'Delete' || e.key === 'Backspace') && e.target.matches('.gb-edit-x')) { e.preventDefault(); e.target.click(); }
});
G.roving(list, { selector: BUTTON });
G.tooltip(list, '.gb-edit-label, .gb-edit-x', (node) => node.tip);
watch('value', draw);
draw();
