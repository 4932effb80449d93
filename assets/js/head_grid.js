/* All heads at once. One grey PNG carries the weights (app/components/head_grid.py); colours, hover and zoom need no server.
   Event headselect {layer, head}: trigger('headselect') after a click, Enter or an arrow key. */
const G = window.Glassbox, P = G.pixels, { el, fill } = G;
const root = element.querySelector(".gb-host");
root.classList.add("gb-head-grid");
const GAP = 3, LABEL = 38, SELECTED = "gb-selected";
let value = null, sheet = null, tiles = [], size = 0, pending = 0, drawing = 0;

const name = (tile) => `L${tile.layer}H${tile.head}`;
const read = (grey) => (value.clipped && grey === 255 ? "\u2265" : "") + weight(grey).toFixed(2);
const weight = (grey) => (grey / 255) * value.scale;

/* ---- building ------------------------------------------------------------------------------------------------- */
const box = el("div", { class: "gb-scroll hg-box" }), foot = el("div", { class: "hg-foot" });
root.replaceChildren(box, foot);

function tileNode(tile, index) {
  const parts = [el("canvas", { "aria-hidden": "true" })];
  if (!value.matrix) parts.unshift(el("span", { class: "hg-name", text: name(tile) }));
  if (tile.score) parts.push(el("span", { class: "hg-score" }, value.matrix ? tile.score[1].toFixed(2) : [
    el("span", { class: "hg-score-label", text: tile.score[0] }), el("b", { text: tile.score[1].toFixed(2) })]));
  if (tile.role) parts.push(el("span", { class: "hg-role", style: { background: G.cat(tile.role[1] - 1) } }));
  if (tile.changed !== null) parts.push(el("span", { class: "hg-changed", text: "\u0394" }));
  return el("div", { class: `hg-tile${tile.off ? " hg-off" : ""}`, role: "option", tabindex: "-1", "aria-selected": "false", "aria-label": describe(tile),
    dataset: { index, head: name(tile) } }, parts);
}
function describe(tile, named = true) {
  const t = value.text, parts = named ? [fill(t.tile_label, { layer: tile.layer, head: tile.head })] : [];
  if (tile.role) parts.push(tile.role[0]);
  if (tile.score) parts.push(`${tile.score[0]} ${tile.score[1].toFixed(2)}`);
  if (tile.off) parts.push(t.off);
  if (tile.changed !== null) parts.push(fill(t.changed, { value: tile.changed.toFixed(2) }));
  return parts.join(", ");
}
function build() {
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.head : null;
  tiles = value.tiles.map(tileNode);
  const list = el("div", { class: `hg-tiles ${value.matrix ? "hg-matrix" : "hg-flow"}`, role: "listbox", "aria-label": value.text.grid_label });
  if (value.matrix) {
    const label = (text, cls) => el("span", { class: cls, "aria-hidden": "true", text });
    list.append(label("", "hg-corner"), ...Array.from({ length: value.columns }, (_, h) => label(`H${h}`, "hg-column")));
    tiles.forEach((node, i) => { if (i % value.columns === 0) list.append(label(`L${value.tiles[i].layer}`, "hg-row")); list.append(node); });
  } else list.append(...tiles);
  box.replaceChildren(list);
  buildFoot();
  size = 0;
  mark(focused !== null);
}
function buildFoot() {
  const t = value.text, roles = new Map(value.tiles.filter((x) => x.role).map((x) => [x.role[0], x.role[1]]));
  const top = value.scale < 0.1 ? value.scale.toPrecision(2) : value.scale.toFixed(2);
  const notes = [fill(t.note_precision, { step: (value.scale / 510).toFixed(value.scale < 0.5 ? 4 : 3) })];
  if (value.block > 1) notes.unshift(fill(t.note_pooled, { block: value.block }));
  if (value.hide_first) notes.unshift(fill(t.note_hide_first, { top }));
  foot.replaceChildren(el("div", { class: "hg-bar" }, [G.legend("seq", { title: t.unit, low: "0", high: (value.clipped ? "\u2265" : "") + (value.scale === 1 ? "1" : top) }),
    ...[...roles].map(([label, i]) => el("span", { class: "hg-key" }, [el("i", { style: { background: G.cat(i - 1) } }), label]))]), el("div", { class: "hg-notes", text: notes.join(" ") }));
}

/* ---- painting ------------------------------------------------------------------------------------------------- */
function fit() {
  const layers = value.tiles.length / value.columns, width = box.clientWidth;
  const across = Math.max(2, Math.round(width / 140)), wide = value.matrix ? (width - LABEL - 4) / value.columns - GAP : (width - 4 - 8 * (across - 1)) / across - 8;
  const tall = value.matrix ? 760 / layers - GAP : 150;
  return Math.floor(Math.max(40, Math.min(wide, tall, 150)));
}
function at(index, row, column) {
  const n = value.pixels, x = (index % value.columns) * n, y = Math.floor(index / value.columns) * n;
  return sheet.values[(y + row) * sheet.width + x + column];
}
function paint(force = false) {
  if (!value || !sheet || !box.clientWidth) return;
  const wanted = fit();
  if (wanted === size && !force) return;
  size = wanted;
  const list = box.firstChild;
  list.style.setProperty("--hg-size", `${size}px`);
  list.style.setProperty("--hg-columns", value.columns);
  list.classList.toggle("hg-tight", size < 72);
  const pixels = Math.round(size * Math.min(2, devicePixelRatio)), colours = P.palette("seq");
  const span = P.spans(pixels, 0, value.pixels / pixels, value.pixels);
  tiles.forEach((node, i) => {
    const canvas = node.querySelector("canvas");
    canvas.width = canvas.height = pixels;
    canvas.getContext("2d").putImageData(P.paint(pixels, pixels, span, span, (r, c) => at(i, r, c), (v) => v, colours), 0, 0);
  });
  element.dataset.painted = value.id;
}
function mark(focus = false) {
  const wanted = value.selected && value.tiles.findIndex((t) => t.layer === value.selected[0] && t.head === value.selected[1]);
  tiles.forEach((node, i) => { node.classList.toggle(SELECTED, i === wanted); node.setAttribute("aria-selected", String(i === wanted)); node.tabIndex = -1; });
  const stop = tiles[Math.max(0, wanted ?? 0)];
  if (stop) { stop.tabIndex = 0; if (focus) stop.focus({ preventScroll: true }); }
}
/* Only the box scrolls: a selection made elsewhere must not move the page. */
function reveal() {
  const node = box.querySelector(`.${SELECTED}`);
  if (!node || node === document.activeElement) return;
  const top = value.matrix ? 26 : 4, left = value.matrix ? LABEL + 4 : 4;
  box.scrollTop = Math.max(Math.min(box.scrollTop, node.offsetTop - top), node.offsetTop + node.offsetHeight + 8 - box.clientHeight);
  box.scrollLeft = Math.max(Math.min(box.scrollLeft, node.offsetLeft - left), node.offsetLeft + node.offsetWidth + 8 - box.clientWidth);
}
async function draw() {
  const next = G.snapshot(props);
  if (!next || !next.png || next.id === value?.id) return;
  const turn = ++drawing, pixels = next.picture === value?.picture ? sheet : await P.grey(next.png);
  if (turn !== drawing) return;
  const same = value && same_tiles(value, next);
  [value, sheet] = [next, pixels];
  if (same) { mark(); element.dataset.painted = value.id; } else { build(); paint(true); }
  reveal();
}
const same_tiles = (a, b) => ["picture", "tiles", "text", "matrix", "columns", "tokens", "hide_first", "clipped"].every((k) => JSON.stringify(a[k]) === JSON.stringify(b[k]));

/* ---- pointer and keyboard ------------------------------------------------------------------------------------- */
function hover(event) {
  const canvas = event.target.closest("canvas");
  if (!canvas || event.pointerType === "touch") { if (!event.target.closest(".hg-tile")) G.hideTip(); return; }
  const index = Number(canvas.parentNode.dataset.index), r = canvas.getBoundingClientRect(), n = value.pixels;
  const cell = (p, start, length) => Math.min(n - 1, Math.max(0, Math.floor(((p - start) / length) * n)));
  const query = cell(event.clientY, r.top, r.height), key = cell(event.clientX, r.left, r.width), t = value.text;
  const parts = { layer: value.tiles[index].layer, head: value.tiles[index].head, value: read(at(index, query, key)) };
  const range = (i) => { const a = i * value.block, b = Math.min(value.tokens.length, a + value.block) - 1; return { a, b, text: a === b ? value.tokens[a] : `${value.tokens[a]} \u2026 ${value.tokens[b]}` }; };
  const q = range(query), k = range(key);
  Object.assign(parts, { query: q.text, key: k.text, query_from: q.a, query_to: q.b, key_from: k.a, key_to: k.b, count: (q.b - q.a + 1) * (k.b - k.a + 1) });
  const extra = describe(value.tiles[index], false);
  G.showTip({ x: event.clientX, y: event.clientY }, `${fill(value.block > 1 ? t.hover_pooled : t.hover, parts)}${extra ? `\n${extra}` : ""}`);
}
function select(node, later) {
  const tile = value.tiles[Number(node.dataset.index)];
  value.selected = [tile.layer, tile.head];
  mark();
  clearTimeout(pending);
  const send = () => trigger("headselect", { layer: tile.layer, head: tile.head });
  if (later) pending = setTimeout(send, 180); else send();
}
box.addEventListener("pointermove", hover);
box.addEventListener("pointerleave", G.hideTip);
box.addEventListener("focusin", (e) => { if (e.target.matches(".hg-tile:focus-visible")) G.showTip(e.target, e.target.getAttribute("aria-label")); });
box.addEventListener("focusout", G.hideTip);
box.addEventListener("click", (e) => { const node = e.target.closest(".hg-tile"); if (node) { node.focus({ preventScroll: true }); select(node, false); } });
box.addEventListener("keydown", (e) => {
  if (e.key !== "Enter" && e.key !== " ") return;
  const node = e.target.closest(".hg-tile");
  if (node) { e.preventDefault(); select(node, false); }
});
G.roving(box, { selector: ".hg-tile", onMove: (node) => select(node, true) });

/* ---- picture -------------------------------------------------------------------------------------------------- */
function layout() {
  const columns = value.matrix ? value.columns : Math.min(8, value.tiles.length), pitch = size + (value.matrix ? 6 : 26), left = value.matrix ? 40 : 8, top = 28;
  return { columns, pitch, left, top, width: left + columns * pitch + 8, height: top + Math.ceil(value.tiles.length / columns) * pitch + 30 };
}
function svg() {
  const l = layout(), out = [], text = (x, y, s, more = {}) => G.sx("text", { x, y, fill: G.css("--gb-ink"), "font-size": 11, ...more }, null, s);
  value.tiles.forEach((tile, i) => {
    const x = l.left + (i % l.columns) * l.pitch, y = l.top + Math.floor(i / l.columns) * l.pitch;
    if (value.matrix && i < l.columns) out.push(text(x + size / 2, l.top - 8, `H${tile.head}`, { "text-anchor": "middle" }));
    if (value.matrix && i % l.columns === 0) out.push(text(l.left - 6, y + size / 2 + 4, `L${tile.layer}`, { "text-anchor": "end" }));
    if (!value.matrix) out.push(text(x, y - 4, name(tile) + (tile.score ? ` ${tile.score[1].toFixed(2)}` : "")));
    out.push(G.sx("image", { x, y, width: size, height: size, style: "image-rendering: pixelated", href: tiles[i].querySelector("canvas").toDataURL() }));
    out.push(G.sx("rect", { x, y, width: size, height: size, fill: "none", stroke: tile.role ? G.cat(tile.role[1] - 1) : G.css("--gb-line-strong"), "stroke-width": tile.role ? 2 : 0.5 }));
    if (tile.off) out.push(G.sx("path", { d: `M${x} ${y}l${size} ${size}M${x + size} ${y}l${-size} ${size}`, stroke: G.css("--gb-error"), "stroke-width": 1.5 }));
  });
  out.push(text(l.left, l.height - 10, `${value.text.unit} 0 \u2013 ${value.scale.toPrecision(3)}${value.block > 1 ? ` (${fill(value.text.note_pooled, { block: value.block })})` : ""}`));
  return G.svgDoc(l.width, l.height, out, value.text.grid_label);
}
element.gbPicture = svg;

new ResizeObserver(() => paint()).observe(box);
G.onTheme(() => { if (value) { build(); paint(true); } }, element);
watch("value", draw);
draw();
