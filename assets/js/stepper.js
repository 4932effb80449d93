/* A computation step by step. Events: trigger('stepselect', {step}), trigger('rowselect', {row}). Stepping needs no server. */
const G = window.Glassbox, { el, fill } = G;
const root = element.querySelector(".gb-host");
root.classList.add("gb-stepper");
let value = null, at = 0, pending = 0, mine = null; // mine: a step taken here that the server has not answered yet
const number = (x, digits) => (Math.abs(x) >= 1000 ? x.toFixed(0) : G.num(x, digits));

function go(to, focus = null) {
  at = mine = Math.max(0, Math.min(value.steps.length - 1, to));
  paint(focus);
  clearTimeout(pending);
  pending = setTimeout(() => trigger("stepselect", { step: at }), 350);
}
function paint(focus = null) {
  const t = value.text, s = value.steps[at], n = value.steps.length, scrolled = [...root.querySelectorAll(".st-scroll")].map((x) => [x.scrollLeft, x.scrollTop]);
  const button = (name, label, to, off) => el("button", { type: "button", class: "gb-button", dataset: { name }, disabled: off, text: label, onclick: () => go(to, name) });
  const dots = el("div", { class: "st-dots", role: "tablist", "aria-label": value.name }, value.steps.map((one, i) => el("button", {
    type: "button", role: "tab", class: "st-dot", tabindex: i === at ? "0" : "-1", "aria-selected": String(i === at), "aria-label": `${i + 1}. ${one.title}`, dataset: { step: i }, text: String(i + 1), onclick: () => go(i, "dot") })));
  const badge = s.check && el("span", { class: "gb-badge", tabindex: "0", dataset: { ok: String(s.check.ok), title: s.check.title }, text: s.check.text });
  root.replaceChildren(el("section", { class: "gb-panel st-panel", "aria-label": value.name }, [
    el("div", { class: "st-bar" }, [button("previous", `\u2190 ${t.previous}`, at - 1, at === 0), dots, button("next", `${t.next} \u2192`, at + 1, at === n - 1)]),
    el("div", { class: "st-step", "aria-live": "polite" }, [
      el("h3", { class: "st-title" }, [el("span", { class: "gb-muted", text: `${fill(t.step_of, { step: at + 1, count: n })} ` }), s.title, " ", badge]),
      el("p", { class: "st-say", text: s.say })]),
    ...s.blocks.map((b) => blocks[b.kind](b))]));
  [...root.querySelectorAll(".st-scroll")].forEach((x, i) => { if (scrolled[i]) [x.scrollLeft, x.scrollTop] = scrolled[i]; });
  if (focus) (root.querySelector(focus === "dot" ? ".st-dot[tabindex='0']" : focus.startsWith("row") ? `.st-row[data-row="${focus.slice(3)}"]` : `[data-name=${focus}]:not(:disabled)`) || root.querySelector(".st-dot[tabindex='0']"))?.focus({ preventScroll: true });
  element.dataset.painted = `${value.id}.${at}`;
}
const blocks = {
  line: (b) => el("div", { class: "gb-scroll st-line", text: b.text }),
  table(b) {
    const top = b.rows.map((r) => Math.max(1e-12, ...r.values.map(Math.abs)));
    const head = el("tr", {}, [el("th", { class: "st-corner" }), ...b.at.map((i) => el("th", { scope: "col", text: String(i) })), b.sum === null ? null : el("th", { class: "st-sum", text: value.text.sum })]);
    const body = b.rows.map((r, k) => el("tr", {}, [el("th", { scope: "row", text: r.label }), ...r.values.map((x) => {
      const back = G.div(x / top[k]);
      return el("td", { style: { background: back, color: G.ink(back) }, text: number(x, b.digits) });
    }), b.sum === null ? null : el("td", { class: "st-sum", text: k === b.rows.length - 1 ? number(b.sum, 3) : "" })]));
    return el("div", {}, [el("div", { class: "gb-scroll st-scroll", tabindex: "0", role: "group", "aria-label": b.rows.map((r) => r.label).join(", ") }, [el("table", { class: "st-table" }, [el("thead", {}, [head]), el("tbody", {}, body)])]),
      b.at.length < b.of ? el("p", { class: "st-note", text: fill(value.text.some, { shown: b.at.length, count: b.of.toLocaleString() }) }) : null]);
  },
  rows(b) {
    const list = el("table", { class: "st-rows" }, [el("thead", {}, [el("tr", {}, b.columns.map((c) => el("th", { scope: "col", text: c })))]), el("tbody", {}, b.rows.map((r) => {
      const chosen = r.id === b.selected;
      return el("tr", { class: `st-row${chosen ? " gb-selected" : ""}${r.off ? " st-off" : ""}`, tabindex: chosen || (b.selected === null && r === b.rows[0]) ? "0" : "-1", "aria-selected": String(chosen), dataset: { row: r.id } },
        r.cells.map((c, i) => el("td", { class: i ? "" : "st-name" }, [r.bar !== null && i === r.cells.length - 1 ? el("span", { class: "st-meter", style: { width: `${Math.round(70 * Math.max(0, Math.min(1, r.bar)))}px` } }) : null, el("span", { text: c })])));
    }))]);
    if (!list.querySelector("[tabindex='0']") && b.rows.length) list.querySelector(".st-row").tabIndex = 0;
    return el("div", {}, [el("div", { class: "gb-scroll st-scroll st-tall" }, [list]), b.note ? el("p", { class: "st-note", text: b.note }) : null]);
  },
  pieces: (b) => el("ol", { class: "st-pieces" }, b.rows.map((r) => el("li", {}, [el("span", { class: "st-word" }, r.pieces.map((p, i) => el("span", { class: `gb-token st-piece${i === r.made ? " st-made" : ""}`, text: p }))), el("span", { class: "st-note", text: r.note })]))),
};
function choose(node) {
  const id = Number(node.dataset.row);
  for (const b of value.steps.flatMap((s) => s.blocks)) if (b.kind === "rows" && b.selected !== null) b.selected = id;
  paint(`row${id}`);
  trigger("rowselect", { row: id });
}
root.addEventListener("click", (e) => { const node = e.target.closest(".st-row"); if (node) choose(node); });
root.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const row = e.target.closest(".st-row");
  if (row && (e.key === "Enter" || e.key === " ")) { e.preventDefault(); return choose(row); }
  if (row && (e.key === "ArrowUp" || e.key === "ArrowDown")) {
    const next = e.key === "ArrowUp" ? row.previousElementSibling : row.nextElementSibling;
    e.preventDefault();
    if (next) { row.tabIndex = -1; next.tabIndex = 0; next.focus({ preventScroll: true }); next.scrollIntoView({ block: "nearest" }); }
    return;
  }
  if (e.target.closest(".st-scroll:not(.st-tall)")) return; // there, arrows scroll
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: value.steps.length - 1 }[e.key];
  if (to === undefined) return;
  e.preventDefault();
  go(to, "dot");
});
G.tooltip(root, ".gb-badge", (node) => node.dataset.title || "");

/* The step as a picture: its sentences and numbers, plainly set. */
function svg() {
  const s = value.steps[at], out = [], ink = G.css("--gb-ink"), muted = G.css("--gb-muted");
  let y = 24, wide = 640;
  const put = (x, string, more = {}) => out.push(G.sx("text", { x, y, fill: ink, "font-size": 12, ...more }, null, string));
  put(12, `${at + 1}. ${s.title}`, { "font-size": 15, "font-weight": 600 });
  const words = s.say.split(" ");
  for (let text = ""; words.length || text;) { while (words.length && (text + words[0]).length < 88) text += `${words.shift()} `; y += 20; put(12, text.trim() || words.shift(), { fill: muted }); text = ""; }
  for (const b of s.blocks) {
    y += 14;
    if (b.kind === "line") { y += 14; put(12, b.text); }
    if (b.kind === "table") for (const [k, r] of b.rows.entries()) {
      const top = Math.max(1e-12, ...r.values.map(Math.abs));
      y += 22;
      put(12, r.label);
      r.values.forEach((x, i) => { const back = G.div(x / top); out.push(G.sx("rect", { x: 130 + i * 48, y: y - 15, width: 47, height: 20, fill: back })); put(134 + i * 48, number(x, b.digits), { fill: G.ink(back), "font-size": 11 }); });
      wide = Math.max(wide, 150 + 48 * r.values.length + 70);
      if (b.sum !== null && k === b.rows.length - 1) put(138 + 48 * r.values.length, `\u03a3 ${number(b.sum, 3)}`);
    }
    if (b.kind === "rows") for (const r of [{ cells: b.columns, id: null }, ...b.rows]) { y += 18; r.cells.forEach((c, i) => put(12 + (i ? 200 + 110 * (i - 1) : 0), c, { "font-weight": r.id === null || r.id === b.selected ? 600 : null })); }
    if (b.kind === "pieces") for (const r of b.rows) { y += 20; put(12, r.pieces.join(" | ")); put(300, r.note, { fill: muted }); }
  }
  return G.svgDoc(wide, y + 24, out, value.name);
}
element.gbPicture = svg;
function draw() {
  const came = props.value, next = came?.sealed ? JSON.parse(came.sealed) : null;
  if (!next || next.id === value?.id) return;
  const focused = root.contains(document.activeElement) ? document.activeElement : null;
  const focus = !focused ? null : focused.dataset.row ? `row${focused.dataset.row}` : focused.dataset.name || (focused.dataset.step ? "dot" : null);
  value = next;
  if (mine === null || next.step === mine) [at, mine] = [next.step, null]; // an answer to something older does not step back
  at = Math.min(at, next.steps.length - 1);
  paint(focus);
}
G.onTheme(() => { if (value) paint(); }, element);
watch("value", draw);
draw();
