/* A prompt as named, coloured parts. The text in `.gb-pp-text` adds up to the exact prompt; marks are drawn by the style sheet. */
const G = window.Glassbox;
const box = G.el('div', { class: 'gb-pp gb-scroll', role: 'group', tabindex: '0' });
const foot = G.el('div', { class: 'gb-pp-foot' });
const problem = G.el('div', { class: 'gb-error gb-pp-problem', role: 'alert', hidden: true });
element.querySelector('.gb-host').append(box, problem, foot);

const run = ([text, mark]) => (mark ? G.el('span', { class: 'gb-ws', dataset: { mark }, text }) : text);
const part = (p) => G.el('span', { class: 'gb-pp-part', dataset: { kind: p.kind, label: p.label, ...(p.counted ? { counted: '1' } : {}) }, title: p.title || null }, [
  G.el('span', { class: 'gb-pp-label', text: p.label }),
  G.el('span', { class: 'gb-pp-text' }, p.runs.map(run)),
]);

function draw() {
  const value = G.snapshot(props);
  if (!value) return;
  problem.hidden = !value.problem;
  problem.textContent = value.problem;
  box.classList.toggle('gb-pp-old', Boolean(value.problem));
  if (value.parts) {
    box.setAttribute('aria-label', value.label);
    box.replaceChildren(...value.parts.map(part));
    const kinds = value.legend.map((k) => G.el('span', { class: 'gb-pp-key' }, [G.el('span', { class: 'gb-pp-swatch', dataset: { kind: k.kind } }), k.text]));
    if (value.counted) kinds.push(G.el('span', { class: 'gb-pp-key' }, [G.el('span', { class: 'gb-pp-swatch', dataset: { counted: '1' } }), value.counted]));
    foot.replaceChildren(...kinds, ...value.notes.map((text) => G.el('span', { text })));
  }
  element.dataset.painted = value.id;
}

box.addEventListener('copy', (e) => {                    // the names of the parts are no part of the prompt
  const copy = getSelection().rangeCount ? getSelection().getRangeAt(0).cloneContents() : null;
  if (!copy) return;
  copy.querySelectorAll('.gb-pp-label').forEach((label) => label.remove());
  e.clipboardData.setData('text/plain', copy.textContent);
  e.preventDefault();
});
watch('value', draw);
draw();
