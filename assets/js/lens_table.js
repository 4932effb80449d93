/* The logit lens as a table: one row per layer, one column per position. Only the columns in view are in the document,
   so 48 layers at 1,024 tokens cost what a screenful does. Events cellselect {row, pos}: trigger('cellselect'), and colorselect {color}. */
const G = window.Glassbox, P = G.pixels, { el, fill } = G;
const root = element.querySelector(".gb-host");
root.classList.add("gb-lens-table");
const COLUMN = 92, ROW = 30, SPARE = 3;
const bar = el("div", { class: "lt-bar" }), box = el("div", { class: "gb-scroll lt-box" }), foot = el("div", { class: "lt-foot" });
root.replaceChildren(bar, box, foot);
let value = null, data = null, color = "probability", shown = null, cursor = null, drawing = 0, frame = 0, pending = 0, heads = null, body = null, label = 64;

/* ---- value ---------------------------------------------------------------------------------------------------- */
async function unpackAll(v) {
  const get = (x) => (x ? P.unpack(x) : null), out = { colors: {} };
  [out.top, out.p, out.before] = [await get(v.top), await get(v.top_p), await get(v.before)];
  for (const name of Object.keys(v.colors)) out.colors[name] = await get(v.colors[name]);
  if (v.top5) Object.assign(out, { words5: await get(v.top5.words), p5: await get(v.top5.p), width5: v.top5.p.shape[2] });
  if (v.target) Object.assign(out, { targetP: await get(v.target.p), targetRank: await get(v.target.rank) });
  return out;
}
const CONTENT = ["rows", "tokens", "top", "top_p", "top5", "before", "target", "colors", "words", "text"];
async function draw() {
  const next = G.snapshot(props);
  if (!next || !next.top || next.id === value?.id) return;
  const turn = ++drawing, same = value && CONTENT.every((k) => JSON.stringify(value[k]) === JSON.stringify(next[k]));
  const numbers = same ? data : await unpackAll(next);
  if (turn !== drawing) return;
  if (!value || value.color !== next.color || !(color in next.colors)) color = next.color;
  [value, data] = [next, numbers];
  const chosen = value.selected && { row: value.rows.findIndex((r) => r.index === value.selected[0]), pos: value.selected[1] };
  cursor = chosen && chosen.row >= 0 ? chosen : null;
  if (same) columns(true); else build();
  if (cursor && box.clientWidth && !box.contains(document.activeElement)) reveal(cursor, false);
  element.dataset.painted = value.id;
}
const count = () => value.tokens.length;
const cellOf = (row, pos) => row * count() + pos;

/* ---- colours -------------------------------------------------------------------------------------------------- */
/* Rank is on a log scale (0 darkest); entropy darkest when it is 0, so that dark always means "decided". */
function scale() {
  const values = data.colors[color];
  if (color === "probability") return { of: (v) => v, low: "0", high: "1" };
  let top = 0;
  for (const v of values) top = Math.max(top, v);
  if (color === "entropy") return { of: (v) => 1 - v / (top || 1), low: top.toFixed(1), high: "0" };
  return { of: (v) => 1 - Math.log1p(v) / (Math.log1p(top) || 1), low: Math.round(top + 1).toLocaleString(), high: "1" };
}

/* ---- building ------------------------------------------------------------------------------------------------- */
function build() {
  const t = value.text, hadFocus = box.contains(document.activeElement), context = el("canvas").getContext("2d");
  context.font = `12px ${G.css("--gb-mono")}`;
  label = Math.min(150, Math.max(44, ...value.rows.map((r) => context.measureText(r.label).width + 18)));
  if (box.clientWidth) label = Math.min(label, box.clientWidth * 0.34);
  shown = null;
  heads = el("tr", { "aria-rowindex": "1" });
  body = el("tbody", {}, value.rows.map((r, i) => el("tr", { "aria-rowindex": i + 2, dataset: { row: i } })));
  const table = el("table", { class: "lt-table", role: "grid", "aria-label": t.table_label, "aria-colcount": count() + 1, "aria-rowcount": value.rows.length + 1 }, [el("thead", {}, [heads]), body]);
  table.style.setProperty("--lt-label", `${label}px`);
  box.replaceChildren(table);
  buildBar();
  columns(true);
  if (hadFocus) box.querySelector(".lt-cell[tabindex='0']")?.focus({ preventScroll: true });
}
function buildBar() {
  const t = value.text, names = Object.keys(value.colors), s = scale(), changed = data.before ? data.top.reduce((n, w, i) => n + (w !== data.before[i]), 0) : 0;
  const buttons = names.length < 2 ? null : el("div", { class: "lt-group", role: "group", "aria-label": t.color_by }, [el("span", { class: "lt-by", text: t.color_by }), ...names.map((name) => el("button", {
    type: "button", class: "gb-button lt-toggle", "aria-pressed": String(name === color), dataset: { choice: name }, text: t[name],
    onclick: () => { color = name; trigger('colorselect', { color }); buildBar(); columns(true); bar.querySelector(`[data-choice="${name}"]`).focus(); } }))]);
  bar.replaceChildren(...[buttons].filter(Boolean));
  const line = el("div", { class: "lt-legend" }, [G.legend("seq", { title: t[`unit_${color}`], low: s.low, high: s.high })]);
  if (data.before) line.append(el("span", { class: "lt-key" }, [el("i", { class: "lt-flag" }), fill(t.changed, { count: changed, total: data.top.length })]));
  foot.replaceChildren(line, el("div", { class: "lt-notes", text: value.left_out ? fill(t.left_out, { count: value.left_out }) : "" }));
}
/* Columns in view plus a few; the rest is two empty cells of the right width. */
function columns(force = false) {
  if (!value || !body) return;
  const wide = box.clientWidth || 800, from = Math.max(0, Math.floor(box.scrollLeft / COLUMN) - SPARE), to = Math.min(count(), from + Math.ceil(wide / COLUMN) + 2 * SPARE + 1);
  if (!force && shown && from === shown[0] && to === shown[1]) return;
  shown = [from, to];
  const focused = box.contains(document.activeElement) && document.activeElement.matches(".lt-cell"), s = scale();
  const pad = (n) => (n ? [el("td", { class: "lt-pad", "aria-hidden": "true", style: { width: `${n * COLUMN}px`, "min-width": `${n * COLUMN}px` } })] : []);
  const range = Array.from({ length: to - from }, (_, i) => from + i);
  heads.replaceChildren(el("th", { class: "lt-corner", scope: "col", text: value.text.layer }), ...pad(from),
    ...range.map((pos) => el("th", { class: "lt-head", scope: "col", "aria-colindex": pos + 2 }, [el("span", { class: "lt-pos", text: String(pos) }), el("span", { class: "lt-token", text: value.tokens[pos] })])), ...pad(count() - to));
  [...body.children].forEach((line, row) => line.replaceChildren(el("th", { class: "lt-label", scope: "row", text: value.rows[row].label }), ...pad(from),
    ...range.map((pos) => cell(row, pos, s)), ...pad(count() - to)));
  mark();
  if (focused) box.querySelector(".lt-cell[tabindex='0']")?.focus({ preventScroll: true });
}
function cell(row, pos, s) {
  const i = cellOf(row, pos), back = G.seq(s.of(data.colors[color][i])), flagged = data.before && data.before[i] !== data.top[i];
  return el("td", { class: `lt-cell${flagged ? " lt-changed" : ""}`, role: "gridcell", tabindex: "-1", "aria-colindex": pos + 2, "aria-label": spoken(row, pos),
    dataset: { row, pos }, style: { background: back, color: G.ink(back) } }, [el("span", { text: value.words[data.top[i]] })]);
}
function mark() {
  const at = cursor || { row: value.rows.length - 1, pos: shown[0] };
  for (const node of box.querySelectorAll(".lt-cell[tabindex='0'], .lt-selected")) { node.tabIndex = -1; node.classList.remove("lt-selected"); node.setAttribute("aria-selected", "false"); }
  const node = nodeAt(at) || box.querySelector(".lt-cell");
  if (!node) return;
  node.tabIndex = 0;
  if (cursor && nodeAt(cursor)) { node.classList.add("lt-selected"); node.setAttribute("aria-selected", "true"); }
}
const nodeAt = ({ row, pos }) => box.querySelector(`.lt-cell[data-row="${row}"][data-pos="${pos}"]`);

/* ---- reading -------------------------------------------------------------------------------------------------- */
function spoken(row, pos) {
  const i = cellOf(row, pos), t = value.text;
  return fill(t.cell, { layer: value.rows[row].label, position: pos, token: value.tokens[pos], top: value.words[data.top[i]], p: G.pct(data.p[i]) }) +
    (data.before && data.before[i] !== data.top[i] ? `, ${fill(t.hover_before, { before: value.words[data.before[i]] })}` : "");
}
function details(row, pos) {
  const i = cellOf(row, pos), t = value.text, lines = [`${value.rows[row].label} \u00b7 ${fill(t.position, { position: pos })} \u00b7 ${value.tokens[pos]}`];
  if (data.words5) for (let k = 0; k < data.width5; k++) { const p = data.p5[i * data.width5 + k]; if (p >= 0) lines.push(`${p.toFixed(4)} ${value.words[data.words5[i * data.width5 + k]]}`); }
  else lines.push(`${data.p[i].toFixed(4)} ${value.words[data.top[i]]}`);
  if (color !== "probability") lines.push(`${t[`unit_${color}`]}: ${color === "rank" ? Math.round(data.colors.rank[i]) + 1 : data.colors[color][i].toFixed(2)}`);
  if (data.before && data.before[i] !== data.top[i]) lines.push(fill(t.hover_before, { before: value.words[data.before[i]] }));
  if (value.target) lines.push(fill(t.hover_target, { target: value.target.text, rank: (Math.round(data.targetRank[i]) + 1).toLocaleString(), p: G.pct(data.targetP[i]) }));
  return lines.join("\n");
}

/* ---- pointer and keyboard ------------------------------------------------------------------------------------- */
const place = (node) => ({ row: Number(node.dataset.row), pos: Number(node.dataset.pos) });
function reveal({ row, pos }, focus) {
  const x = pos * COLUMN, y = row * ROW, top = heads.offsetHeight || 44;
  box.scrollLeft = Math.max(Math.min(box.scrollLeft, x), x + COLUMN + label - box.clientWidth);
  box.scrollTop = Math.max(Math.min(box.scrollTop, y), y + ROW + top - box.clientHeight);
  columns();
  mark();
  if (focus) nodeAt({ row, pos })?.focus({ preventScroll: true });
}
function select(to, later) {
  cursor = to;
  reveal(to, true);
  clearTimeout(pending);
  const send = () => trigger("cellselect", { row: value.rows[to.row].index, pos: to.pos });
  if (later) pending = setTimeout(send, 180); else send();
}
box.addEventListener("click", (e) => { const node = e.target.closest(".lt-cell"); if (node) select(place(node), false); });
box.addEventListener("keydown", (e) => {
  const node = e.target.closest(".lt-cell"), step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -1e6], End: [0, 1e6], PageUp: [-1e3, 0], PageDown: [1e3, 0] }[e.key];
  if (!node || e.ctrlKey || e.metaKey || e.altKey || (!step && e.key !== "Enter" && e.key !== " ")) return;
  e.preventDefault();
  const at = place(node), clamp = (x, n) => Math.max(0, Math.min(n - 1, x));
  if (!step) return select(at, false);
  const to = { row: clamp(at.row + step[0], value.rows.length), pos: clamp(at.pos + step[1], count()) };
  select(to, true);
  const now = nodeAt(to);
  if (now) setTimeout(() => { if (document.activeElement === now) G.showTip(now, details(to.row, to.pos)); }, 60);
});
G.tooltip(box, ".lt-cell", (node) => { const { row, pos } = place(node); return details(row, pos); });
box.addEventListener("scroll", () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(() => columns()); }, { passive: true });

/* ---- picture -------------------------------------------------------------------------------------------------- */
function svg() {
  const rows = value.rows.length, from = 0, to = count(), left = Math.max(70, label), top = 46, s = scale(), out = [], w = COLUMN, cut = (x) => ([...x].length > 11 ? `${[...x].slice(0, 10).join("")}\u2026` : x);
  const text = (x, y, string, more = {}) => out.push(G.sx("text", { x, y, fill: G.css("--gb-ink"), "font-size": 12, ...more }, null, string));
  for (let pos = from; pos < to; pos++) { text(left + pos * w + 5, 16, String(pos), { fill: G.css("--gb-muted"), "font-size": 10 }); text(left + pos * w + 5, 34, cut(value.tokens[pos])); }
  for (let row = 0; row < rows; row++) {
    text(left - 8, top + row * ROW + 19, value.rows[row].label, { "text-anchor": "end" });
    for (let pos = from; pos < to; pos++) {
      const i = cellOf(row, pos), back = G.seq(s.of(data.colors[color][i])), x = left + pos * w, y = top + row * ROW;
      out.push(G.sx("rect", { x, y, width: w - 1, height: ROW - 1, fill: back }));
      text(x + 5, y + 19, cut(value.words[data.top[i]]), { fill: G.ink(back) });
      if (data.before && data.before[i] !== data.top[i]) out.push(G.sx("path", { d: `M${x + w - 11} ${y}h10v10z`, fill: G.css("--gb-warn") }));
    }
  }
  text(left, top + rows * ROW + 20, `${value.text[`unit_${color}`]} ${s.low} \u2013 ${s.high}`, { fill: G.css("--gb-muted") });
  return G.svgDoc(Math.ceil(left + count() * w + 8), top + rows * ROW + 32, out, value.text.table_label);
}
element.gbPicture = svg;

let width = 0;
new ResizeObserver(() => { if (value && box.clientWidth && box.clientWidth !== width) { const first = !width; width = box.clientWidth; if (first) build(); else columns(true); if (first && cursor) reveal(cursor, false); } }).observe(box);
G.onTheme(() => { if (value) build(); }, element);
watch("value", draw);
draw();
