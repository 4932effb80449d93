/* A table to search, order and choose a row from (app/components/number_table.py). Of many rows only those in view are in the document.
   Events rowselect {row}: trigger('rowselect'); sortselect {column}: trigger('sortselect'). */
const G = window.Glassbox, { el, fill } = G;
const root = element.querySelector(".gb-host");
root.classList.add("gb-number-table");
const MANY = 120, SPARE = 8;
const bar = el("div", { class: "nt-bar" }), box = el("div", { class: "gb-scroll nt-box" });
root.replaceChildren(bar, box);
let value = null, shown = [], order = null, query = "", body = null, height = 30, frame = 0, at = null, focused = null, zero = [];

/* Without the sign of a number that rounds to zero. */
const number = (x, c) => (x === null ? "\u2013" : G.num(Math.abs(x) < 0.5 / 10 ** c.digits ? 0 : x, c.digits));
function arranged() {
  const wanted = query.trim().toLowerCase(), words = value.columns.map((c, i) => [c, i]).filter(([c]) => c.kind !== "number").map(([, i]) => i);
  let rows = value.rows.map((_, i) => i);
  if (wanted) rows = rows.filter((i) => words.some((c) => value.rows[i][c].toLowerCase().includes(wanted)));
  if (!order) return rows;
  const [column, down] = order, cell = (i) => value.rows[i][column];
  const compare = (a, b) => {
    const [x, y] = [cell(a), cell(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const d = typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
    return (down ? -d : d) || a - b;
  };
  return rows.sort(compare);
}
function draw() {
  const next = G.snapshot(props);
  if (!next || !next.columns || next.id === value?.id) return;
  const sameColumns = value && JSON.stringify(value.columns.map((c) => c.label)) === JSON.stringify(next.columns.map((c) => c.label));
  const sameOrder = sameColumns && JSON.stringify(value.order) === JSON.stringify(next.order);
  const moved = value?.selected !== next.selected, hadFocus = box.contains(document.activeElement);
  value = next;
  if (!sameOrder) order = value.order && [...value.order];
  if (!value.finds) query = "";
  tools();
  build();
  if (value.selected !== null && (moved || !sameOrder)) reveal(value.selected);
  if (hadFocus) focusRow(value.selected ?? shown[0]);
  element.dataset.painted = value.id;
}
function tools() {
  if (!value.finds) return bar.replaceChildren();
  let input = bar.querySelector("input");
  if (!input) {
    input = el("input", { type: "search", class: "nt-find", autocomplete: "off", spellcheck: "false" });
    input.addEventListener("input", () => { query = input.value; build(); count(); });
    input.addEventListener("keydown", (e) => {
      if (e.key === "Enter" && shown.length && value.chooses) { e.preventDefault(); choose(named() ?? shown[0]); }
      if (e.key === "ArrowDown" && shown.length) { e.preventDefault(); focusRow(shown[0]); }
    });
    bar.replaceChildren(input, el("span", { class: "nt-count", "aria-live": "polite" }));
  }
  input.placeholder = value.text.find;
  input.setAttribute("aria-label", value.text.find);
  count();
}
/* The row that is called exactly what was typed: L1H2 and not L1H20. */
const named = () => shown.find((i) => value.rows[i].some((x) => typeof x === "string" && x.toLowerCase() === query.trim().toLowerCase()));
function count() {
  const node = bar.querySelector(".nt-count");
  if (node) node.textContent = shown.length || !query ? fill(value.text.rows, { shown: shown.length, all: value.rows.length }) : fill(value.text.none, { query });
}
/* Where zero is in the strip beside a column's numbers: at its left where nothing is negative. */
const zeros = () => value.columns.map((c, i) => (!c.bound ? null : value.rows.some((r) => r[i] < 0) ? (value.rows.some((r) => r[i] > 0) ? 50 : 100) : 0));
function build() {
  shown = arranged();
  zero = zeros();
  const heads = value.columns.map((c, i) => {
    const by = order?.[0] === i, label = [c.label, el("span", { class: "nt-arrow", "aria-hidden": "true", text: `\u00a0${by ? (order[1] ? "\u25be" : "\u25b4") : "\u00a0\u00a0"}` })];
    const inner = value.sorts ? el("button", { type: "button", class: "nt-sort", "aria-label": fill(value.text.sort, { column: c.label }), onclick: () => sortBy(i) }, label) : el("span", {}, label);
    return el("th", { scope: "col", class: `nt-${c.kind}`, "aria-sort": by ? (order[1] ? "descending" : "ascending") : null, dataset: c.title ? { tip: c.title } : {} }, [inner]);
  });
  body = el("tbody", {});
  box.replaceChildren(el("table", { class: "nt-table", "aria-label": value.text.label, "aria-rowcount": value.rows.length + 1 }, [el("thead", {}, [el("tr", {}, heads)]), body]));
  box.classList.toggle("nt-whole", shown.length <= MANY); // else all rows have to be equally high
  at = null;
  rows(true);
  count();
}
function rows(force = false) {
  if (!body) return;
  const all = shown.length <= MANY, from = all ? 0 : Math.max(0, Math.floor(box.scrollTop / height) - SPARE);
  const to = all ? shown.length : Math.min(shown.length, from + Math.ceil((box.clientHeight || 400) / height) + 2 * SPARE);
  if (!force && at && at[0] === from && at[1] === to) return;
  at = [from, to];
  const pad = (n) => (n > 0 ? [el("tr", { class: "nt-pad", "aria-hidden": "true", style: { height: `${n * height}px` } })] : []);
  body.replaceChildren(...pad(from), ...shown.slice(from, to).map(line), ...pad(shown.length - to));
  const first = body.querySelector("tr:not(.nt-pad)");
  if (first) {
    if (!all && first.offsetHeight && Math.abs(first.offsetHeight - height) > 1) { height = first.offsetHeight; return rows(true); }
    if (value.chooses) { const keep = body.querySelector(`tr[data-row="${focused}"]`) || body.querySelector(".nt-selected") || first; keep.tabIndex = 0; }
  }
}
function line(index) {
  const chosen = index === value.selected, cells = value.rows[index].map((x, i) => cell(x, value.columns[i], zero[i]));
  return el("tr", {
    class: [chosen ? "nt-selected" : "", value.marked.includes(index) ? "nt-marked" : "", value.chooses ? "nt-choose" : ""].join(" ").trim() || null,
    dataset: { row: index }, "aria-selected": value.chooses ? String(chosen) : null, tabindex: value.chooses ? "-1" : null,
  }, cells);
}
function cell(x, c, origin) {
  if (c.kind !== "number") return el("td", { class: `nt-${c.kind}`, text: x });
  const td = el("td", { class: "nt-number", title: x === null ? value.text.unknown : null });
  if (!c.bound) td.textContent = number(x, c);
  else {
    const long = Math.min(1, Math.abs(x ?? 0) / c.bound) * (origin === 50 ? 50 : 100);
    const bar = el("i", { class: x > 0 ? "nt-up" : "nt-down", style: { width: `${long}%`, left: `${x > 0 ? origin : origin - long}%` } });
    td.append(el("span", { class: "nt-barred" }, [el("span", { class: "nt-strip", "aria-hidden": "true" }, x ? [bar] : []), el("span", { text: number(x, c) })]));
  }
  return td;
}
/* ---- choosing ------------------------------------------------------------------------------------------------- */
function sortBy(column) {
  if (order?.[0] === column) order = [column, !order[1]];
  else { order = [column, value.columns[column].kind === "number"]; trigger('sortselect', { column }); }
  build();
  box.querySelectorAll(".nt-sort")[column]?.focus({ preventScroll: true });
  box.scrollTop = 0;
}
function choose(index) { trigger('rowselect', { row: index }); }
function reveal(index) {
  const place = shown.indexOf(index);
  if (place < 0 || !box.clientHeight) return;
  const top = place * height, low = box.scrollTop, high = low + box.clientHeight - 2 * height;
  if (top < low || top > high) box.scrollTop = Math.max(0, top - box.clientHeight / 2);
  rows();
}
function focusRow(index) {
  if (index === undefined || index === null || !value.chooses) return;
  focused = index;
  reveal(index);
  for (const row of body.querySelectorAll("tr[tabindex='0']")) row.tabIndex = -1;
  const row = body.querySelector(`tr[data-row="${index}"]`);
  if (row) { row.tabIndex = 0; row.focus({ preventScroll: true }); }
}
box.addEventListener("click", (e) => {
  const row = e.target.closest("tr[data-row]");
  if (row && value.chooses) { focused = Number(row.dataset.row); choose(focused); }
});
box.addEventListener("keydown", (e) => {
  const row = e.target.closest?.("tr[data-row]");
  if (!row || !value.chooses || e.ctrlKey || e.metaKey || e.altKey) return;
  const place = shown.indexOf(Number(row.dataset.row)), step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[e.key];
  if (e.key === "Enter" || e.key === " ") choose(shown[place]);
  else if (step) focusRow(shown[Math.min(shown.length - 1, Math.max(0, place + step))]);
  else if (e.key === "Home" || e.key === "End") focusRow(shown.at(e.key === "Home" ? 0 : -1));
  else return;
  e.preventDefault();
});
box.addEventListener("scroll", () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(() => rows()); }, { passive: true });
new ResizeObserver(() => { if (value) { rows(); if (value.selected !== null && !at) reveal(value.selected); } }).observe(box);
G.tooltip(root, "th[data-tip]", (th) => th.dataset.tip);

/* ---- as a picture --------------------------------------------------------------------------------------------- */
root.gbPicture = () => {
  const list = shown.slice(0, 400), size = 8, row = 22;
  const texts = list.map((i) => value.rows[i].map((x, c) => (value.columns[c].kind === "number" ? number(x, value.columns[c]) : x)));
  const widths = value.columns.map((c, i) => 20 + size * Math.max(c.label.length, ...texts.map((r) => r[i].length), 1));
  const lefts = widths.map((_, i) => widths.slice(0, i).reduce((a, b) => a + b, 8)), width = lefts.at(-1) + widths.at(-1), ink = G.css("--gb-ink");
  const write = (text, i, y, weight) => {
    const right = value.columns[i].kind === "number";
    return G.sx("text", { x: right ? lefts[i] + widths[i] - 12 : lefts[i], y, fill: ink, "text-anchor": right ? "end" : "start", "font-weight": weight }, null, text);
  };
  const head = value.columns.map((c, i) => write(c.label, i, 20, 700));
  const lines = texts.flatMap((cells, k) => cells.map((text, i) => write(text, i, 46 + row * k, list[k] === value.selected || value.marked.includes(list[k]) ? 700 : null)));
  const rule = G.sx("line", { x1: 8, x2: width - 8, y1: 28, y2: 28, stroke: G.css("--gb-line-strong") });
  return G.svgDoc(Math.max(160, width), 44 + row * list.length, [...head, rule, ...lines], value.text.label);
};
watch('value', draw);
draw();
