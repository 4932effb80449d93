/* A matrix as a coloured map (app/components/heat_map.py). One canvas as large as the box, painted from what is in view, so that
   48 x 1,024 cells cost what a screenful does. Event cellselect {row, col}: trigger('cellselect') on click, Enter, arrow keys.
   For tests: element.gbCell(row, col) scrolls the cell into view and gives its centre {x, y} in the window. */
const G = window.Glassbox, P = G.pixels, { el, fill } = G;
const root = element.querySelector(".gb-host");
root.classList.add("gb-heat-map");
const canvas = el("canvas", { class: "hm-canvas", "aria-hidden": "true" }), sheet = el("div", { class: "hm-sheet" }, [canvas]);
const box = el("div", { class: "gb-scroll hm-box", tabindex: "0", role: "application" }, [sheet]), foot = el("div", { class: "hm-foot" });
root.replaceChildren(box, foot);
const FONT = 12, TALLEST = 120;
let value = null, data = null, size = null, cursor = null, drawing = 0, frame = 0, pending = 0;

/* ---- value ---------------------------------------------------------------------------------------------------- */
async function draw() {
  const next = G.snapshot(props);
  if (!next || !next.values || next.id === value?.id) return;
  const turn = ++drawing, numbers = await P.unpack(next.values);
  if (turn !== drawing) return;
  const same = value && ["rows", "columns", "row_title", "column_title"].every((k) => JSON.stringify(value[k]) === JSON.stringify(next[k]));
  const moved = JSON.stringify(value?.selected) !== JSON.stringify(next.selected);
  [value, data] = [next, numbers];
  if (!same || moved) cursor = value.selected && [...value.selected];
  box.setAttribute("aria-label", cursor ? `${value.text.label}. ${details(...cursor)}` : `${value.text.label}. ${value.text.keys}`);
  legend();
  layout();
  if (cursor && box.clientWidth && !box.contains(document.activeElement)) reveal(...cursor);
  paint();
}
const at = (row, column) => data[row * value.columns.length + column];
const digits = () => (value.bound >= 100 ? 0 : value.bound >= 10 ? 1 : value.bound >= 0.5 ? 2 : value.bound >= 0.05 ? 3 : Math.min(8, 2 - Math.floor(Math.log10(value.bound))));
const shown = (x) => G.num(x, digits()).replace(/^\u2212(0(\.0*)?)$/, "$1"); // no minus before zero
function colour(x) {
  const far = (x - value.center) / value.bound;
  return value.diverging ? G.div(Math.max(-1, Math.min(1, far))) : G.seq(far);
}
function details(row, column) {
  const x = at(row, column), t = value.text, where = { row: value.rows[row], column: value.columns[column] };
  const lines = [fill(t.hover, { ...where, value: Number.isNaN(x) ? t.not_yet : shown(x), unit: Number.isNaN(x) ? "" : value.unit }).trim()];
  if (value.marked.some(([r, c]) => r === row && c === column)) lines.push(value.marked_label || t.marked);
  return lines.join("\n");
}

/* ---- sizes ---------------------------------------------------------------------------------------------------- */
const coarse = () => matchMedia("(max-width: 640px), (pointer: coarse)").matches;
const font = (weight = 400) => `${weight} ${FONT}px ${G.css("--gb-mono") || "monospace"}`;
const context = canvas.getContext("2d");
const wide = (text) => context.measureText(text).width;
function cut(text, room) {
  if (wide(text) <= room) return text;
  const letters = [...text];
  while (letters.length > 1 && wide(`${letters.join("")}\u2026`) > room) letters.pop();
  return `${letters.join("")}\u2026`;
}
function sizes(room) {
  context.font = font();
  const rows = value.rows.length, columns = value.columns.length, touch = coarse();
  const left = Math.min(Math.max(30, ...value.rows.map(wide)) + 12, Math.max(60, room * 0.34), 170);
  const floor = touch ? 46 : columns > 160 ? 8 : 18, roof = touch ? 56 : 64;
  const w = Math.floor(Math.max(floor, Math.min(roof, (room - left - 2) / columns)));
  const h = Math.floor(touch ? 40 : Math.max(rows > 60 ? 8 : 20, Math.min(34, 420 / rows)));
  const longest = Math.max(0, ...value.columns.map(wide)), upright = longest + 8 <= w;
  const head = upright ? 22 : Math.min(TALLEST, longest) + 12;
  return { rows, columns, left, w, h, upright, head, width: Math.ceil(left + w * columns + 1), height: Math.ceil(head + h * rows + 1) };
}
function layout() {
  const room = root.clientWidth;
  if (!value || !room) { size = null; return; }
  size = sizes(room);
  sheet.style.width = `${size.width}px`;
  sheet.style.height = `${size.height}px`;
  const most = Math.max(220, Math.min(0.7 * innerHeight, 620));
  box.style.height = `${Math.min(most, size.height + (size.width > room ? 14 : 2))}px`;
}

/* ---- painting ------------------------------------------------------------------------------------------------- */
function hatch() {
  const tile = el("canvas", { width: 6, height: 6 }), c = tile.getContext("2d");
  c.strokeStyle = G.css("--gb-line-strong");
  c.globalAlpha = 0.55;
  c.beginPath();
  c.moveTo(-1, 7); c.lineTo(7, -1);
  c.stroke();
  return context.createPattern(tile, "repeat");
}
/* Every n-th label, always the first and the last. */
const kept = (i, count, step) => i === count - 1 || (i % step === 0 && count - 1 - i >= step);
function paint() {
  if (!size) return;
  const s = size, width = Math.min(box.clientWidth, s.width), height = Math.min(box.clientHeight, s.height), scale = Math.min(3, devicePixelRatio || 1);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.fillStyle = G.css("--gb-panel");
  context.fillRect(0, 0, width, height);
  cells(width, height);
  labels(width, height);
  element.dataset.painted = value.id;
}
const corner = (row, column) => [size.left + column * size.w - box.scrollLeft, size.head + row * size.h - box.scrollTop];
function cells(width, height) {
  const s = size, [c0, r0] = [Math.floor(box.scrollLeft / s.w), Math.floor(box.scrollTop / s.h)], lines = hatch(), gap = s.w > 12 && s.h > 12 ? 1 : 0;
  const c1 = Math.min(s.columns, c0 + Math.ceil(width / s.w) + 1), r1 = Math.min(s.rows, r0 + Math.ceil(height / s.h) + 1);
  const ink = G.css("--gb-line"), warn = G.css("--gb-warn");
  context.textBaseline = "middle";
  context.textAlign = "center";
  context.font = `11px ${G.css("--gb-mono") || "monospace"}`;
  const ends = [value.center - value.bound, value.center + value.bound].slice(value.diverging ? 0 : 1);
  const numbers = s.h >= 18 && Math.max(...ends.map((end) => wide(shown(end)))) + 4 <= s.w; // in all cells or in none: an empty one has no value
  for (let r = r0; r < r1; r++) for (let c = c0; c < c1; c++) {
    const [x, y] = corner(r, c), v = at(r, c), known = !Number.isNaN(v), back = known ? colour(v) : lines;
    context.fillStyle = back;
    context.fillRect(x, y, s.w - gap, s.h - gap);
    if (gap) { context.strokeStyle = ink; context.lineWidth = 1; context.strokeRect(x + 0.5, y + 0.5, s.w - 1, s.h - 1); }
    const words = known && numbers ? shown(v) : "";
    if (words && wide(words) + 2 <= s.w) { context.fillStyle = G.ink(back); context.fillText(words, x + s.w / 2, y + s.h / 2 + 0.5); }
  }
  for (const [r, c] of value.marked) {
    const [x, y] = corner(r, c), k = Math.min(9, s.w / 2, s.h / 2);
    context.fillStyle = warn;
    context.beginPath();
    context.moveTo(x + s.w - gap, y); context.lineTo(x + s.w - gap - k, y); context.lineTo(x + s.w - gap, y + k);
    context.fill();
  }
  if (cursor) outline(...cursor);
}
function outline(row, column) {
  const [x, y] = corner(row, column);
  for (const [inset, name] of [[1, "--gb-accent"], [3, "--gb-panel"]]) {
    context.strokeStyle = G.css(name);
    context.lineWidth = 2;
    context.strokeRect(x + inset, y + inset, size.w - 2 * inset - 0.5, size.h - 2 * inset - 0.5);
  }
}
/* Labels are painted over the cells that scrolled below them. */
function labels(width, height) {
  const s = size, muted = G.css("--gb-muted"), strong = G.css("--gb-ink");
  const across = Math.ceil((s.upright ? 1 : 15) / s.w), down = Math.ceil(14 / s.h);
  context.fillStyle = G.css("--gb-panel");
  context.fillRect(0, 0, width, s.head - 1);
  context.fillRect(0, 0, s.left - 1, height);
  const label = (chosen) => { context.fillStyle = chosen ? strong : muted; context.font = font(chosen ? 700 : 400); };
  for (let c = Math.floor(box.scrollLeft / s.w); c < s.columns && corner(0, c)[0] < width; c++) {
    const x = corner(0, c)[0] + s.w / 2;
    if (x < s.left + 4 || !kept(c, s.columns, across)) continue;
    label(cursor?.[1] === c);
    context.save();
    context.translate(x, s.head - 7);
    if (!s.upright) context.rotate(-Math.PI / 2);
    context.textAlign = s.upright ? "center" : "left";
    context.textBaseline = s.upright ? "alphabetic" : "middle";
    context.fillText(s.upright ? value.columns[c] : cut(value.columns[c], s.head - 12), 0, 0);
    context.restore();
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let r = Math.floor(box.scrollTop / s.h); r < s.rows && corner(r, 0)[1] < height; r++) {
    const y = corner(r, 0)[1] + s.h / 2;
    if (y < s.head + 2 || !kept(r, s.rows, down)) continue;
    label(cursor?.[0] === r);
    context.fillText(cut(value.rows[r], s.left - 10), s.left - 7, y);
  }
}
function legend() {
  const low = value.diverging ? value.center - value.bound : value.center, high = value.center + value.bound, kind = value.diverging ? "div" : "seq";
  const scale = el("span", { class: "hm-scale" }, [el("span", { class: "gb-legend-bar", dataset: { kind } }),
    ...value.ticks.filter(([x]) => x >= low && x <= high).map(([x, name]) => el("i", { class: "hm-tick", style: { left: `${(100 * (x - low)) / (high - low)}%` } }, [el("span", { text: name })]))]);
  const axes = [value.row_title, value.column_title].filter(Boolean).join(" \u00d7 ");
  const parts = [axes ? el("span", { class: "hm-axes", text: axes }) : null, el("span", { text: value.unit }), el("span", { class: "gb-legend-scale" }, [shown(low), scale, shown(high)])];
  if (value.marked.length) parts.push(el("span", { class: "hm-key" }, [el("i", { class: "hm-corner" }), value.marked_label || value.text.marked]));
  const pieces = [el("div", { class: `hm-legend${value.ticks.length ? " hm-ticked" : ""}`, role: "img", "aria-label": `${value.unit}: ${shown(low)} \u2013 ${shown(high)}` }, parts.filter(Boolean))];
  if (value.caption) pieces.push(el("div", { class: "hm-caption", text: value.caption }));
  foot.replaceChildren(...pieces);
}

/* ---- pointer and keyboard ------------------------------------------------------------------------------------- */
function under(event) {
  if (!size) return null;
  const r = canvas.getBoundingClientRect(), x = event.clientX - r.left, y = event.clientY - r.top;
  if (x < size.left || y < size.head) return null;
  const column = Math.floor((x - size.left + box.scrollLeft) / size.w), row = Math.floor((y - size.head + box.scrollTop) / size.h);
  return row < size.rows && column < size.columns ? [row, column] : null;
}
function reveal(row, column) {
  const x = column * size.w, y = row * size.h;
  box.scrollLeft = Math.max(Math.min(box.scrollLeft, x), x + size.w - (box.clientWidth - size.left) + 2);
  box.scrollTop = Math.max(Math.min(box.scrollTop, y), y + size.h - (box.clientHeight - size.head) + 2);
}
function centre(row, column) {
  reveal(row, column);
  const r = canvas.getBoundingClientRect(), [x, y] = corner(row, column);
  return { x: r.left + x + size.w / 2, y: r.top + y + size.h / 2 };
}
function select(row, column, later) {
  cursor = [row, column];
  reveal(row, column);
  paint();
  box.setAttribute("aria-label", `${value.text.label}. ${details(row, column)}`);
  clearTimeout(pending);
  const send = () => trigger('cellselect', { row, col: column });
  if (later) pending = setTimeout(send, 180); else send();
}
const STEP = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -1e6], End: [0, 1e6], PageUp: [-1e6, 0], PageDown: [1e6, 0] };
box.addEventListener("keydown", (e) => {
  const step = STEP[e.key];
  if (!size || e.ctrlKey || e.metaKey || e.altKey || (!step && e.key !== "Enter" && e.key !== " ")) return;
  e.preventDefault();
  e.stopPropagation();
  const [row, column] = cursor || [0, 0], clamp = (x, n) => Math.max(0, Math.min(n - 1, x));
  if (!step || !cursor) select(row, column, false);
  else select(clamp(row + step[0], size.rows), clamp(column + step[1], size.columns), true);
  G.announce(details(...cursor));
  setTimeout(() => { if (document.activeElement === box) G.showTip(centre(...cursor), details(...cursor)); }, 60);
});
box.addEventListener("click", (e) => { const cell = under(e); if (cell) select(...cell, false); });
box.addEventListener("pointermove", (e) => {
  const cell = under(e);
  canvas.style.cursor = cell ? "pointer" : "default";
  if (!cell || e.pointerType === "touch") return G.hideTip();
  G.showTip({ x: e.clientX, y: e.clientY }, details(...cell));
});
box.addEventListener("pointerleave", G.hideTip);
box.addEventListener("focusout", G.hideTip);
box.addEventListener("scroll", () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(paint); }, { passive: true });

/* ---- picture -------------------------------------------------------------------------------------------------- */
element.gbCell = (row, column) => (size ? centre(row, column) : null);
element.gbPicture = () => {
  const s = sizes(900), out = [], text = (x, y, words, more = {}) => G.sx("text", { x, y, fill: G.css("--gb-ink"), "font-size": FONT, ...more }, null, words);
  const across = Math.ceil((s.upright ? 1 : 15) / s.w), down = Math.ceil(14 / s.h), low = value.diverging ? value.center - value.bound : value.center;
  value.columns.forEach((name, c) => {
    const x = s.left + c * s.w + s.w / 2, y = s.head - 7;
    if (kept(c, s.columns, across)) out.push(s.upright ? text(x, y, name, { "text-anchor": "middle" }) : text(x + 4, y, cut(name, s.head - 12), { transform: `rotate(-90 ${x + 4} ${y})` }));
  });
  value.rows.forEach((name, r) => { if (kept(r, s.rows, down)) out.push(text(s.left - 7, s.head + r * s.h + s.h / 2 + 4, cut(name, s.left - 10), { "text-anchor": "end" })); });
  for (let r = 0; r < s.rows; r++) for (let c = 0; c < s.columns; c++) {
    const v = at(r, c), known = !Number.isNaN(v), x = s.left + c * s.w, y = s.head + r * s.h;
    out.push(G.sx("rect", { x, y, width: s.w, height: s.h, fill: known ? colour(v) : "none", stroke: G.css("--gb-line"), "stroke-width": 0.5 }));
    if (known && s.w >= 34 && s.h >= 18) out.push(text(x + s.w / 2, y + s.h / 2 + 4, shown(v), { "text-anchor": "middle", "font-size": 11, fill: G.ink(colour(v)) }));
  }
  for (const [r, c] of value.marked) out.push(G.sx("path", { d: `M${s.left + (c + 1) * s.w} ${s.head + r * s.h}h-8l8 8z`, fill: G.css("--gb-warn") }));
  out.push(...svgScale(s, low, text));
  return G.svgDoc(Math.max(s.width + 8, 420), s.height + 64, out, value.caption || value.text.label);
};
function svgScale(s, low, text) {
  const y = s.height + 14, wideBar = 160, high = value.center + value.bound, out = [];
  for (let i = 0; i < 64; i++) out.push(G.sx("rect", { x: s.left + (i * wideBar) / 64, y, width: wideBar / 64 + 0.3, height: 10, fill: value.diverging ? G.div(i / 31.5 - 1) : G.seq(i / 63) }));
  out.push(text(s.left - 6, y + 10, shown(low), { "text-anchor": "end" }), text(s.left + wideBar + 6, y + 10, `${shown(high)}  ${value.unit}`));
  for (const [x, name] of value.ticks) if (x >= low && x <= high) out.push(text(s.left + (wideBar * (x - low)) / (high - low), y + 26, name, { "text-anchor": "middle", "font-size": 10 }));
  if (value.caption) out.push(text(8, y + 44, value.caption, { "font-size": 11 }));
  return out;
}

let room = 0;
new ResizeObserver(() => { if (!value || !root.clientWidth || root.clientWidth === room) return; const first = !room; room = root.clientWidth; layout(); if (first && cursor) reveal(...cursor); paint(); }).observe(root);
G.onTheme(() => { if (value) { legend(); paint(); } }, element);
watch("value", draw);
draw();
