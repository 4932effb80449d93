/* The network at its true size, and one position's way through it. Event pointselect {point, layer, head}: trigger('pointselect'). */
const G = window.Glassbox, { el, fill } = G;
const root = element.querySelector(".gb-host");
root.classList.add("gb-anatomy-map");
const box = el("div", { class: "gb-scroll an-box" }), foot = el("div", { class: "an-foot" });
root.replaceChildren(box, foot);
let value = null, width = 0, pending = 0;

function paint(refocus = false, reveal = false) {
  if (!value || !box.clientWidth) return;
  width = box.clientWidth;
  const drawn = G.anatomy(value, Math.max(330, width - 14));
  const source = G.sx("svg", { xmlns: "http://www.w3.org/2000/svg", class: "an-svg", width: drawn.width, height: drawn.height, viewBox: `0 0 ${drawn.width} ${drawn.height}`, role: "listbox", "aria-label": value.text.map_label }, drawn.inner);
  const svg = document.importNode(new DOMParser().parseFromString(source, "image/svg+xml").documentElement, true);
  box.replaceChildren(svg);
  const chosen = svg.querySelector(".an-on") || svg.querySelector(".an-point");
  if (chosen) { chosen.setAttribute("tabindex", "0"); if (refocus) chosen.focus({ preventScroll: true }); }
  if (reveal) {
    const top = drawn.tops[value.selected.layer];
    if (top < box.scrollTop || top + 300 > box.scrollTop + box.clientHeight) box.scrollTop = Math.max(0, top - 60);
  }
  legend();
  element.dataset.painted = value.id;
}
function legend() {
  const t = value.text;
  foot.replaceChildren(
    el("span", { class: "an-key" }, [el("i", { class: "an-swatch" }), t.river]),
    G.legend("div", { title: t.cosine, low: "\u22121", high: "+1" }), G.legend("seq", { title: t.heads_scale, low: "0", high: Math.max(...value.heads.flat()).toPrecision(3) }),
    ...(value.before ? [el("span", { text: t.before })] : []), el("span", { text: t.open_layer }));
}
function draw() {
  const came = props.value, next = came?.sealed ? JSON.parse(came.sealed) : null;
  if (!next || next.id === value?.id) return;
  const moved = !value || value.selected.layer !== next.selected.layer;
  value = next;
  paint(box.contains(document.activeElement), moved && !box.contains(document.activeElement));
}
function select(node, later = false) {
  const { point, layer, head } = node.dataset, at = { point, layer: layer === undefined ? value.selected.layer : Number(layer), head: head === undefined ? null : Number(head) };
  const opened = at.layer !== value.selected.layer, was = box.scrollTop, y = node.getBoundingClientRect().top;
  value.selected = { ...at, head: at.head ?? value.selected.head };
  paint(true);
  const now = box.querySelector(".an-on");
  if (opened && now) box.scrollTop = was + now.getBoundingClientRect().top - y; // what was chosen stays under the finger
  clearTimeout(pending);
  const send = () => trigger("pointselect", at);
  if (later) pending = setTimeout(send, 200); else send();
}
box.addEventListener("click", (e) => {
  const node = e.target.closest(".an-point") || (e.target.closest(".an-open") && box.querySelector(`.an-point[data-point=resid_pre][data-layer="${e.target.closest(".an-open").dataset.layer}"]`));
  if (node) { G.hideTip(); select(node); }
});
box.addEventListener("keydown", (e) => {
  const node = e.target.closest(".an-point");
  if (node && (e.key === "Enter" || e.key === " ")) { e.preventDefault(); select(node); }
});
G.roving(box, { selector: ".an-point" });
G.tooltip(box, ".an-point", (node) => node.getAttribute("aria-label"));
element.gbPicture = () => { const d = G.anatomy(value, Math.max(720, box.clientWidth)); return G.svgDoc(d.width, d.height, d.inner, value.text.map_label); };
new ResizeObserver(() => { if (value && box.clientWidth && box.clientWidth !== width) paint(false, !width); }).observe(box);
G.onTheme(() => paint(), element);
watch("value", draw);
draw();
