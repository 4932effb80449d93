/* A circuit: the network by layer, what is kept of it above a threshold that is dragged here, and size against faithfulness.
   Events: trigger('nodeselect', {layer, head}), trigger('cutselect', {threshold}). */
const G = window.Glassbox, { el, fill, sx, css } = G;
const root = element.querySelector(".gb-host");
root.classList.add("gb-circuit-graph");
const bar = el("div", { class: "cg-bar" }), box = el("div", { class: "gb-scroll cg-box" }), foot = el("div", { class: "cg-foot" }), chart = el("div", { class: "cg-chart" });
root.replaceChildren(bar, el("div", { class: "cg-columns" }, [el("div", { class: "cg-left" }, [box, foot]), chart]));
let value = null, cut = 0, width = 0, hovered = null, dragging = false, asked = null;
const two = (x) => (x === 0 ? "0" : Math.abs(x) >= 100 ? x.toFixed(0) : Number(x.toPrecision(2)).toString().replace("-", "\u2212"));
const PORTS = { q: 0, k: 2, v: 1, "": 3 };
const name = ([kind, layer, head]) => (kind === "embed" ? value.text.embed : kind === "mlp" ? fill(value.text.mlp, { layer }) : `L${layer}H${head}`);

/* What is above the threshold and what the embeddings, the first node, reach: nothing else carries anything of the clean prompt. */
function shown() {
  if (value.level === "node") {
    const nodes = new Set(value.nodes.map((n, i) => (n[4] === "kept" && n[3] >= cut ? i : -1)).filter((i) => i >= 0));
    return { nodes: nodes.has(0) || !value.finished ? nodes : new Set(), edges: [] };
  }
  let edges = value.edges.filter((e) => e[3] >= cut);
  if (value.finished) {
    const alive = new Set([0]);
    for (let before = 0; before < alive.size;) { before = alive.size; for (const [a, b] of edges) if (alive.has(a)) alive.add(b); }
    edges = edges.filter(([a]) => alive.has(a));
  }
  const nodes = new Set();
  for (const [a, b] of edges) { nodes.add(a); if (b >= 0) nodes.add(b); }
  return { nodes, edges };
}
function picture(W) {
  const t = value.text, L = value.layers, H = value.heads, left = 44, gap = (W - left - 20) / (H + 1.6), r = Math.max(5, Math.min(17, gap * 0.42)), edged = value.level === "edge";
  const step = Math.max(2 * r + (edged ? 46 : 22), L > 16 ? 34 : 64), mlpDown = edged ? step * 0.46 : 0, out = [], lines = [];
  const place = ([kind, layer, head]) => (kind === "embed" ? [left + (W - left) / 2, 24] : kind === "mlp" ? [left + gap * (H + 0.9), 24 + step * (layer + 1) + mlpDown] : [left + gap * (head + 0.5), 24 + step * (layer + 1)]);
  const end = [left + (W - left) / 2, 24 + step * (L + 1) + mlpDown * 0.5], now = shown(), off = new Set(value.off.map(String));
  const most = Math.max(1e-12, ...value.nodes.map((n) => (n[4] === "kept" ? n[3] || 0 : 0)), ...value.edges.map((e) => e[3]));
  const strength = (e) => Math.max(0.12, Math.min(1, 1 + Math.log10(Math.max(e, 1e-12) / most) / 2.5));
  for (let l = 0; l < L; l++) out.push(sx("text", { x: 2, y: 24 + step * (l + 1) + 4, fill: css("--gb-muted"), "font-size": 12 }, null, `L${l}`));
  for (const [a, b, port, effect] of now.edges) {
    const [x, y] = place(value.nodes[a]), [u, v] = b < 0 ? end : place(value.nodes[b]), lit = hovered === null || hovered === a || hovered === b, dy = Math.max(18, (v - y) * 0.45);
    lines.push(sx("path", { class: "cg-edge", d: `M${x} ${y + r}C${x} ${y + r + dy} ${u} ${v - r - dy} ${u} ${v - r}`, fill: "none", stroke: G.cat(PORTS[port]), "stroke-width": 1 + 5 * strength(effect) ** 2, opacity: lit ? 0.72 : 0.08,
      "data-tip": `${name(value.nodes[a])} \u2192 ${b < 0 ? t.logits : name(value.nodes[b])} ${t[`port_${port}`]}\n${fill(t.effect, { effect: two(effect) })}` }));
  }
  value.nodes.forEach((n, i) => {
    const [kind, layer, head, effect, state] = n, [x, y] = place(n), inside = now.nodes.has(i), chosen = kind === "head" && layer === value.selected[0] && head === value.selected[1];
    const colour = inside ? (edged && effect === null ? css("--gb-accent-soft") : G.seq(edged ? 0.35 : strength(effect))) : css("--gb-panel"), label = kind === "embed" ? t.embed : kind === "mlp" ? "MLP" : gap >= 34 ? `L${layer}H${head}` : gap >= 15 ? String(head) : "";
    const wide = kind === "embed" ? Math.max(60, 7.4 * [...t.embed].length) : kind === "mlp" ? 40 : Math.max(2 * r, label.length * 7.2 + 6);
    const said = [name(n), state === "open" ? t.open : inside ? t.kept : t.out, effect === null ? "" : fill(t.effect, { effect: two(effect) }), off.has(`${layer},${head}`) && kind === "head" ? t.off : ""].filter(Boolean).join("\n");
    out.push(sx("g", { class: `cg-node${chosen ? " cg-on" : ""}`, "data-node": i, tabindex: -1, role: "option", "aria-selected": String(chosen), "aria-label": said },
      [sx("rect", { x: x - wide / 2, y: y - r, width: Math.min(wide, kind === "head" ? gap * 0.94 : wide), height: 2 * r, rx: kind === "mlp" ? 3 : r, fill: colour, stroke: chosen ? css("--gb-accent") : inside ? css("--gb-ink") : css("--gb-line-strong"), "stroke-width": chosen ? 3 : inside ? 1.4 : 0.8, "stroke-dasharray": state === "open" ? "3 3" : null, opacity: inside || chosen ? 1 : 0.65 }),
        label ? sx("text", { x: x - wide / 2 + Math.min(wide, kind === "head" ? gap * 0.94 : wide) / 2, y: y + 4, "text-anchor": "middle", "font-size": gap >= 34 ? 11 : 10, fill: inside ? G.ink(colour) : css("--gb-muted") }, null, label) : ""]));
  });
  out.push(sx("rect", { x: end[0] - 46, y: end[1] - 14, width: 92, height: 28, rx: 14, fill: css("--gb-panel"), stroke: css("--gb-ink") }), sx("text", { x: end[0], y: end[1] + 4, "text-anchor": "middle", "font-size": 12, fill: css("--gb-ink") }, null, t.logits));
  return { inner: [...lines, ...out], width: W, height: Math.ceil(end[1] + 26) };
}
/* Size (logarithmic) against the share of the metric and against the KL: circles are circuits that were run. */
function curves(W) {
  const t = value.text, points = [...value.curve, ...(value.here ? [value.here] : [])].sort((a, b) => a[1] - b[1]), out = [], h = 130, left = 46, right = W - 12, total = value.total;
  const x = (size) => left + (Math.log(Math.max(1, size)) / Math.log(Math.max(2, total))) * (right - left), now = value.level === "node" ? shown().nodes.size : shown().edges.length;
  const text = (px, py, s, more = {}) => out.push(sx("text", { x: px, y: py, "font-size": 11, fill: css("--gb-muted"), ...more }, null, s));
  const draw = (top, title, of, low, high, colour) => {
    const y = (v) => top + 22 + (1 - (Math.max(low, Math.min(high, v)) - low) / (high - low || 1)) * h, known = points.filter((p) => of(p) !== null);
    text(left, top + 12, title, { fill: css("--gb-ink"), "font-size": 12 });
    for (const v of of([0, 0, null, 1]) === 1 ? [...(low < -0.05 ? [low] : []), 0, 0.5, 1] : [0, high / 2, high]) { out.push(sx("path", { d: `M${left} ${y(v)}H${right}`, stroke: css("--gb-line"), fill: "none" })); text(left - 5, y(v) + 4, two(v), { "text-anchor": "end" }); }
    if (now) out.push(sx("path", { d: `M${x(now)} ${top + 20}V${top + 24 + h}`, stroke: css("--gb-accent"), "stroke-dasharray": "3 3", fill: "none" }));
    if (known.length > 1) out.push(sx("path", { d: `M${known.map((p) => `${x(p[1])} ${y(of(p))}`).join("L")}`, stroke: colour, "stroke-width": 1.5, opacity: 0.5, fill: "none" }));
    for (const p of known) out.push(sx("circle", { class: "cg-point", cx: x(p[1]), cy: y(of(p)), r: value.here && p[1] === value.here[1] ? 6 : 4, fill: colour, "data-cut": p[0], "data-tip": spoken(p) }));
    for (const size of [1, Math.round(Math.sqrt(total)), total]) text(x(size), top + 38 + h, String(size), { "text-anchor": "middle" });
  };
  const shares = points.map((p) => p[2 + 1]).filter((v) => v !== null);
  draw(0, t.curve_share, (p) => p[3], Math.min(0, ...shares), Math.max(1, ...shares), css("--gb-cat-1"));
  draw(h + 62, t.curve_kl, (p) => p[2], 0, Math.max(1e-6, ...points.map((p) => p[2])), css("--gb-cat-2"));
  text((left + right) / 2, 2 * h + 120, t.curve_size, { "text-anchor": "middle" });
  return { inner: out, width: W, height: 2 * h + 128 };
}
const spoken = ([threshold, size, kl, share]) => `${sizeText(size)}\n${shareText(share)}\n${fill(value.text.kl, { kl: two(kl) })}\n${value.text.threshold} ${two(threshold)}`;
const shareText = (share) => fill(value.text.share, { share: share === null ? "?" : `${Math.round(100 * share) + 0}%`.replace("-", "\u2212") });
const sizeText = (size) => fill(value.text[`size_${value.level}s`], { size, total: value.total.toLocaleString() });

function node(drawn, label) {
  const source = sx("svg", { xmlns: "http://www.w3.org/2000/svg", class: "cg-svg", width: drawn.width, height: drawn.height, viewBox: `0 0 ${drawn.width} ${drawn.height}`, role: label ? "listbox" : "img", "aria-label": label || value.text.curve }, drawn.inner);
  return document.importNode(new DOMParser().parseFromString(source, "image/svg+xml").documentElement, true);
}
function paint() {
  if (!value || !box.clientWidth) return;
  const at = box.contains(document.activeElement) ? document.activeElement.dataset.node : null;
  width = box.clientWidth;
  box.replaceChildren(node(picture(Math.max(width - 14, Math.min(40 + 16 * (value.heads + 2), 520))), value.text.label));
  const first = box.querySelector(at ? `.cg-node[data-node="${at}"]` : ".cg-on") || box.querySelector(".cg-node");
  if (first) { first.setAttribute("tabindex", "0"); if (at) first.focus({ preventScroll: true }); }
  if (value.finished && value.curve.length) chart.replaceChildren(node(curves(Math.max(260, Math.min(420, chart.clientWidth || 320)))), el("p", { class: "cg-note", text: value.text.exact }));
  else chart.replaceChildren();
  said();
  legend();
  element.dataset.painted = `${value.id}`;
}
function said() {
  const t = value.text, now = shown(), size = value.level === "node" ? now.nodes.size : now.edges.length, here = value.here && Math.abs(value.here[0] - cut) <= 1e-4 * cut ? value.here : value.curve.find((p) => p[1] === size);
  const line = bar.querySelector(".cg-said");
  if (!line) return;
  const told = size ? [sizeText(size)] : value.finished ? [t.none] : [];
  if (!value.finished) told.push(fill(t.tried, { done: value.done, total: value.total.toLocaleString() }));
  else if (here && here[1] === size) told.push(shareText(here[3]), fill(t.kl, { kl: two(here[2]) }));
  else if (size) told.push(t.moved);
  line.textContent = told.join(" \u00b7 ");
  bar.querySelector(".cg-at").textContent = two(cut);
}
function build() {
  const t = value.text, top = Math.max(value.tau * 1.001, ...value.nodes.map((n) => (n[4] === "kept" ? n[3] || 0 : 0)), ...value.edges.map((e) => e[3]));
  const low = Math.log(value.tau), high = Math.log(top), slider = el("input", { type: "range", min: 0, max: 1000, step: 1, class: "cg-slider", "aria-label": t.threshold, disabled: !value.finished });
  slider.value = String(Math.round((1000 * (Math.log(Math.max(cut, value.tau)) - low)) / (high - low || 1)));
  const read = () => (Number(slider.value) === 0 ? value.tau : Math.exp(low + (Number(slider.value) / 1000) * (high - low)) * (Number(slider.value) === 1000 ? 0.9999 : 1));
  slider.addEventListener("input", () => { dragging = true; cut = read(); paint(); });
  slider.addEventListener("change", () => { dragging = false; trigger("cutselect", { threshold: Number(slider.value) === 0 ? 0 : Number(cut.toPrecision(4)) }); });
  bar.replaceChildren(el("label", { class: "cg-threshold" }, [el("span", { text: t.threshold }), slider, el("output", { class: "cg-at" })]), el("p", { class: "cg-said", "aria-live": "polite" }));
}
function legend() {
  const t = value.text, edged = value.level === "edge", any = value.nodes.some((n) => n[4] === "kept");
  foot.replaceChildren(...(edged ? ["q", "k", "v", ""].map((p) => el("span", { class: "cg-key" }, [el("i", { style: { background: G.cat(PORTS[p]) } }), t[`port_${p}`]])) : [!any ? null : G.legend("seq", { title: t.scale, low: two(value.tau), high: two(Math.max(value.tau, ...value.nodes.map((n) => (n[4] === "kept" ? n[3] : 0)))) }), el("span", { text: t.nodes_only })].filter(Boolean)), el("span", { text: t.keys }));
}
function draw() {
  const came = props.value, next = came?.sealed ? JSON.parse(came.sealed) : null;
  if (!next || next.id === value?.id || (next.frame && asked !== null && next.question !== asked)) return;
  if (!next.frame) asked = next.question;
  const kept = dragging && value && value.tau === next.tau;
  value = next;
  if (!kept) { cut = Math.max(value.cut, value.tau); build(); }
  paint();
}
function choose(target) {
  const [kind, layer, head] = value.nodes[Number(target.dataset.node)];
  if (kind === "embed") return;
  if (kind === "head") value.selected = [layer, head];
  paint();
  trigger("nodeselect", { layer, head: kind === "head" ? head : null });
}
box.addEventListener("click", (e) => { const n = e.target.closest(".cg-node"); if (n) { G.hideTip(); n.focus({ preventScroll: true }); choose(n); } });
box.addEventListener("keydown", (e) => { const n = e.target.closest(".cg-node"); if (n && (e.key === "Enter" || e.key === " ")) { e.preventDefault(); choose(n); } });
G.roving(box, { selector: ".cg-node" });
const light = (i) => { if (hovered === i || value?.level !== "edge") return; hovered = i; for (const [k, line] of [...box.querySelectorAll(".cg-edge")].entries()) { const [a, b] = shown().edges[k]; line.setAttribute("opacity", i === null || a === i || b === i ? 0.72 : 0.08); } };
box.addEventListener("pointerover", (e) => light(e.target.closest(".cg-node") ? Number(e.target.closest(".cg-node").dataset.node) : null));
box.addEventListener("focusin", (e) => { if (e.target.closest(".cg-node")) light(Number(e.target.closest(".cg-node").dataset.node)); });
box.addEventListener("pointerleave", () => light(null));
G.tooltip(box, ".cg-node", (n) => n.getAttribute("aria-label"));
G.tooltip(box, ".cg-edge", (n) => n.dataset.tip);
G.tooltip(chart, ".cg-point", (n) => n.dataset.tip);
chart.addEventListener("click", (e) => { const p = e.target.closest(".cg-point"); if (p) { cut = Number(p.dataset.cut); build(); paint(); trigger("cutselect", { threshold: cut }); } });
element.gbPicture = () => {
  const a = picture(Math.max(560, box.clientWidth)), b = value.finished && value.curve.length ? curves(340) : null;
  const inner = [...a.inner, ...(b ? [sx("g", { transform: `translate(${a.width + 24} 10)` }, b.inner)] : [])];
  return G.svgDoc(a.width + (b ? 24 + b.width : 0), Math.max(a.height, b ? b.height + 10 : 0), inner, value.text.label);
};
new ResizeObserver(() => { if (value && box.clientWidth && box.clientWidth !== width) paint(); }).observe(box);
G.onTheme(() => paint(), element);
watch("value", draw);
draw();
