/* One head, large: matrix or lines, after, before or difference of the edits; everything switches in the browser.
   Only what is visible is drawn, on one canvas that stays in place while the box scrolls, so 1,024 tokens cost what 40 do.
   Events cellselect {query, key}: trigger('cellselect'), where key is null when only a query was chosen, and lookselect {mode, show}. */
const G = window.Glassbox, P = G.pixels, { el, fill } = G, View = window.Glassbox.headView;
const root = element.querySelector(".gb-host");
root.classList.add("gb-head-view");
const bar = el("div", { class: "hv-bar" }), box = el("div", { class: "gb-scroll hv-box" }), foot = el("div", { class: "hv-foot" });
const canvas = el("canvas", { class: "hv-canvas", tabindex: "0", role: "application" }), space = el("div", { class: "hv-space" }, [canvas]);
box.append(space);
root.replaceChildren(bar, box, foot);
/* s: everything the drawing functions of head_view_draw.js read. */
const s = { value: null, data: {}, show: "after", mode: "matrix", zoom: 1, cursor: null, hover: null, canvas, box, range: 1 };
let drawing = 0, frame = 0;

/* ---- value ---------------------------------------------------------------------------------------------------- */
async function weights(packed, value) {
  if (!packed) return null;
  const flat = await P.unpack(packed), n = value.tokens.length, out = new Float32Array(n * n), k = packed.dtype === "uint16" ? value.largest / 65535 : 1;
  let i = 0;
  for (let q = 0; q < n; q++) for (let key = 0; key < (value.causal ? q + 1 : n); key++) out[q * n + key] = flat[i++] * k;
  return out;
}
async function draw() {
  const next = G.snapshot(props);
  if (!next || !next.after || next.id === s.value?.id) return;
  const turn = ++drawing;
  if (next.picture !== s.value?.picture) {
    const [after, before] = [await weights(next.after, next), await weights(next.before, next)];
    if (turn !== drawing) return;
    s.data = { after, before, difference: before && after.map((v, i) => v - before[i]) };
  }
  const first = !s.value, was = s.value, moved = first || was.position !== next.position || was.tokens.length !== next.tokens.length;
  s.value = next;
  if (first || was.mode !== next.mode) s.mode = next.mode;
  if (first || was.show !== next.show || !s.data[s.show]) s.show = next.show;
  if (first || was.tokens.length !== next.tokens.length) s.zoom = 1;
  s.cursor = s.hover = null;
  s.seek = s.seek || moved;
  refresh();
}
function refresh() {
  buildBar();
  s.range = View.range(s);
  s.links = s.mode === "lines" ? View.links(s) : null;
  buildFoot();
  canvas.setAttribute("aria-label", `${s.value.text.view_label} ${s.value.label || `L${s.value.layer}H${s.value.head}`}`);
  layout();
}
function layout() {
  if (!s.value || !box.clientWidth) return;
  View.measure(s);
  box.style.height = `${Math.min(s.height, s.mode === "matrix" ? Math.max(320, Math.min(innerHeight * 0.8, 760)) : 620)}px`;
  space.style.width = `${s.width}px`;
  space.style.height = `${s.height}px`;
  if (s.seek && s.value.position !== null) View.reveal(s, { query: s.value.position, key: View.best(s, s.value.position) }, true);
  s.seek = false;
  View.render(s);
  element.dataset.painted = s.value.id;
}
const later = () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(() => { if (s.value && s.height) View.render(s); }); };

/* ---- buttons and legend --------------------------------------------------------------------------------------- */
function group(label, names, current, choose) {
  return el("div", { class: "hv-group", role: "group", "aria-label": label }, names.map((name) => el("button", {
    type: "button", class: "gb-button hv-toggle", "aria-pressed": String(name === current), dataset: { choice: name }, text: s.value.text[name],
    onclick: () => { choose(name); trigger('lookselect', { mode: s.mode, show: s.show }); refresh(); bar.querySelector(`[data-choice="${name}"]`).focus(); } })));
}
function buildBar() {
  const v = s.value, t = v.text, zoom = (sign, label, name) => el("button", { type: "button", class: "gb-button hv-zoom", "aria-label": label, text: name, onclick: () => zoomBy(sign) });
  const parts = [el("strong", { class: "hv-title", text: v.label || `L${v.layer}H${v.head}` }), group(t.view_label, ["matrix", "lines"], s.mode, (m) => { s.mode = m; s.hover = s.cursor = null; s.seek = true; })];
  if (s.data.before) parts.push(group(t.compare_label, ["after", "before", "difference"], s.show, (x) => { s.show = x; }));
  if (s.mode === "matrix") parts.push(el("div", { class: "hv-group", role: "group", "aria-label": t.zoom_label }, [zoom(-1, t.zoom_out, "\u2212"), zoom(0, t.fit, "\u2922"), zoom(1, t.zoom_in, "+")]));
  bar.replaceChildren(...parts);
}
function buildFoot() {
  const v = s.value, t = v.text, diff = s.show === "difference", top = s.range < 0.1 ? s.range.toPrecision(2) : s.range.toFixed(2).replace(/\.00$/, "");
  const notes = [];
  if (v.hide_first) notes.push(fill(t.hidden_first, { top }));
  if (s.links) notes.push(fill(t.threshold, { value: s.links.threshold.toPrecision(2), count: s.links.list.length.toLocaleString(), total: s.links.total.toLocaleString() }));
  if (v.after.dtype === "uint16") notes.push(fill(t.quantised, { step: (v.largest / 65535).toPrecision(1) }));
  if (v.edited.length) notes.push(fill(t.edited, { count: v.edited.length }));
  const least = !diff && v.ends_at ? "\u2265" : "", legend = G.legend(diff ? "div" : "seq", { title: diff ? t.unit_difference : t.unit, low: diff ? `\u2212${top}` : "0", mid: diff ? "" : "", high: diff ? `+${top}` : least + top });
  const line = el("div", { class: "hv-legend" }, [legend]);
  foot.replaceChildren(line, el("div", { class: "hv-notes", text: notes.join(" ") }));
}
function zoomBy(sign) {
  const before = s.cell, mid = { x: (box.scrollLeft + (box.clientWidth - s.left) / 2) / before, y: (box.scrollTop + (box.clientHeight - s.top) / 2) / before };
  s.zoom = sign === 0 ? 1 : Math.max(1, Math.min(48 / s.fitted, s.zoom * (sign > 0 ? 1.6 : 1 / 1.6)));
  layout();
  box.scrollLeft = mid.x * s.cell - (box.clientWidth - s.left) / 2;
  box.scrollTop = mid.y * s.cell - (box.clientHeight - s.top) / 2;
}

/* ---- pointer and keyboard ------------------------------------------------------------------------------------- */
const n = () => s.value.tokens.length;
function point(e) { const r = canvas.getBoundingClientRect(); return View.pick(s, e.clientX - r.left, e.clientY - r.top); }
function read(cell) {
  const { tokens, text: t } = s.value, v = s.data[s.show], quoted = (i) => tokens[i];
  if (cell.key === null || cell.query === null) return View.summary(s, cell);
  const x = v[cell.query * n() + cell.key], diff = s.show === "difference";
  const parts = { query: quoted(cell.query), key: quoted(cell.key), query_pos: cell.query, key_pos: cell.key, value: diff ? signed(x) : x.toFixed(4) };
  if (s.data.before) Object.assign(parts, { after: s.data.after[cell.query * n() + cell.key].toFixed(4), before: s.data.before[cell.query * n() + cell.key].toFixed(4) });
  return fill(diff ? t.hover_difference : t.hover, parts) + (cell.pooled ? ` ${t.hover_largest}` : "");
}
const signed = (x) => (x >= 0 ? "+" : "\u2212") + Math.abs(x).toFixed(4);
function hover(cell, where) {
  const same = s.hover && cell && s.hover.query === cell.query && s.hover.key === cell.key;
  s.hover = cell;
  if (!same) later();
  if (cell && where) G.showTip(where, read(cell)); else if (!cell) G.hideTip();
}
canvas.addEventListener("pointermove", (e) => { if (s.value && s.height) hover(point(e), { x: e.clientX, y: e.clientY }); });
canvas.addEventListener("pointerleave", () => hover(null));
canvas.addEventListener("click", (e) => { const cell = s.value && point(e); if (cell) choose(cell); });
box.addEventListener("scroll", later, { passive: true });
function choose(cell) {
  if (cell.query === null) {
    if (s.value.position === null) return;
    cell = { query: s.value.position, key: cell.key };
  }
  s.value.position = cell.query;
  s.cursor = cell;
  later();
  trigger("cellselect", { query: cell.query, key: cell.key });
}
canvas.addEventListener("keydown", (e) => {
  const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -1e6], End: [0, 1e6] }[e.key];
  if (!s.value || e.ctrlKey || e.metaKey || e.altKey || (!move && e.key !== "Enter" && e.key !== " ")) return;
  e.preventDefault();
  const clamp = (x) => Math.max(0, Math.min(n() - 1, x)), start = s.cursor || { query: s.value.position ?? n() - 1, key: View.best(s, s.value.position ?? n() - 1) };
  if (!move) return choose({ query: start.query, key: s.mode === "lines" ? null : start.key ?? View.best(s, start.query) });
  const query = clamp(start.query + move[0]);
  s.cursor = { query, key: s.mode === "lines" ? null : clamp((start.key ?? View.best(s, query)) + move[1]) };
  const spot = View.reveal(s, s.cursor);
  hover(s.cursor, null);
  later();
  const r = canvas.getBoundingClientRect(), message = read(s.cursor);
  setTimeout(() => G.showTip({ x: r.left + spot.x, y: r.top + spot.y }, message), 60);
  G.announce(message);
});
canvas.addEventListener("blur", () => { s.cursor = null; hover(null); });
element.gbPicture = () => View.svg(s);

let width = 0;
new ResizeObserver(() => { if (box.clientWidth !== width) { width = box.clientWidth; layout(); } }).observe(root);
G.onTheme(() => { if (s.value) refresh(); }, element);
watch("value", draw);
draw();
