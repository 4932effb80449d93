/* Two prompts one above the other (app/components/token_pair.py). Event tokenselect {pos}: trigger('tokenselect'). */
const G = window.Glassbox, { el, fill } = G;
const root = element.querySelector(".gb-host");
root.classList.add("gb-token-pair");
const box = el("div", { class: "gb-scroll tp-box", role: "listbox" }), foot = el("div", { class: "tp-advice" });
root.replaceChildren(box, foot);
let value = null, pending = 0;

function draw() {
  const next = G.snapshot(props);
  if (!next || !next.columns || next.id === value?.id) return;
  const same = value && JSON.stringify(value.columns) === JSON.stringify(next.columns);
  const focused = box.contains(document.activeElement);
  value = next;
  if (!same) build();
  mark(focused);
  foot.textContent = value.advice;
  foot.classList.toggle("tp-warn", !value.ok);
  box.setAttribute("aria-label", value.text.label);
  element.dataset.painted = value.id;
}
function build() {
  const t = value.text, cell = (text, cls) => el("span", { class: `tp-token ${cls}${text === null ? " tp-none" : ""}`, text: text === null ? "\u2014" : text });
  box.replaceChildren(el("div", { class: "tp-names", "aria-hidden": "true" }, [el("span", { class: "tp-pos" }), el("span", { text: t.clean }), el("span", { text: t.corrupted })]),
    ...value.columns.map((c, i) => el("div", { class: `tp-column${c.same ? "" : " tp-differs"}`, role: "option", tabindex: "-1", "aria-selected": "false", "aria-label": spoken(c), dataset: { index: i } },
      [el("span", { class: "tp-pos", text: c.pos === null ? "" : String(c.pos) }), cell(c.clean, "tp-clean"), cell(c.corrupted, "tp-corrupted")])));
}
function spoken(c) {
  const t = value.text, name = (x) => (x === null ? t.missing : x);
  return fill(t.column, { position: c.pos === null ? "" : c.pos, clean: name(c.clean), corrupted: name(c.corrupted) }) + (c.same ? "" : `, ${t.differs}`);
}
function mark(focus) {
  const nodes = [...box.querySelectorAll(".tp-column")], at = value.columns.findIndex((c) => c.pos !== null && c.pos === value.selected);
  nodes.forEach((node, i) => { node.classList.toggle("tp-selected", i === at); node.setAttribute("aria-selected", String(i === at)); node.tabIndex = -1; });
  const stop = nodes[Math.max(0, at)];
  if (!stop) return;
  stop.tabIndex = 0;
  if (focus) return stop.focus({ preventScroll: true });
  const show = at >= 0 ? stop : box.querySelector(".tp-differs"); // with nothing selected, what the pair is about
  if (show) box.scrollLeft = Math.max(Math.min(box.scrollLeft, show.offsetLeft - 100), show.offsetLeft + show.offsetWidth + 8 - box.clientWidth);
}
function select(node, later) {
  const { pos } = value.columns[Number(node.dataset.index)];
  if (pos === null) return;
  value.selected = pos;
  mark(true);
  clearTimeout(pending);
  const send = () => trigger('tokenselect', { pos });
  if (later) pending = setTimeout(send, 180); else send();
}
box.addEventListener("click", (e) => { const node = e.target.closest(".tp-column"); if (node) select(node, false); });
box.addEventListener("keydown", (e) => { const node = e.target.closest(".tp-column"); if (node && (e.key === "Enter" || e.key === " ")) { e.preventDefault(); select(node, false); } });
G.roving(box, { selector: ".tp-column", onMove: (node) => select(node, true) });
G.tooltip(box, ".tp-column", (node) => node.getAttribute("aria-label"));
watch("value", draw);
draw();
