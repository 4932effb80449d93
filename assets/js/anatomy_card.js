/* One point of the network: its tensor, its vector as a strip, and links to the tabs that look closer: trigger('opentab', {tab}). */
const G = window.Glassbox, { el, fill } = G;
const root = element.querySelector(".gb-host");
root.classList.add("gb-anatomy-card");
let value = null;
const number = (x) => (x === null ? value.text.minus_infinity : G.num(x, Math.abs(x) >= 100 ? 1 : 3));
function strip({ values, at, of }) {
  const t = value.text, top = Math.max(1e-12, ...values.filter((x) => x !== null).map(Math.abs)), n = values.length;
  const svg = G.sx("svg", { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${n} 1`, preserveAspectRatio: "none", class: "ac-strip", role: "img", "aria-label": fill(t.strip, { count: of, top: top.toPrecision(3) }) },
    values.map((x, i) => G.sx("rect", { x: i, y: 0, width: 1.02, height: 1, fill: x === null ? G.css("--gb-line") : G.div(x / top) })));
  const node = document.importNode(new DOMParser().parseFromString(svg, "image/svg+xml").documentElement, true);
  node.addEventListener("pointermove", (e) => {
    const r = node.getBoundingClientRect(), i = Math.max(0, Math.min(n - 1, Math.floor(((e.clientX - r.left) / r.width) * n)));
    G.showTip({ x: e.clientX, y: e.clientY }, fill(t.entry, { index: at[i], value: number(values[i]) }));
  });
  node.addEventListener("pointerleave", G.hideTip);
  const ends = el("div", { class: "ac-ends" }, [el("span", { text: `0: ${number(values[0])}` }), el("span", { text: n < of ? fill(t.strip_some, { shown: n, count: of }) : fill(t.strip, { count: of, top: top.toPrecision(3) }) }), el("span", { text: `${of - 1}: ${number(values[n - 1])}` })]);
  return el("div", {}, [node, ends]);
}
function draw() {
  const came = props.value, next = came?.sealed ? JSON.parse(came.sealed) : null;
  if (!next || next.id === value?.id) return;
  value = next;
  const t = value.text;
  root.replaceChildren(el("section", { class: "gb-panel ac-card", "aria-label": t.card_label, "aria-live": "polite" }, [
    el("h3", { class: "ac-title", text: value.title }), el("p", { class: "ac-formula", text: value.formula }),
    el("div", { class: "ac-hook" }, [el("span", { class: "gb-muted", text: `${t.hook} ` }), el("code", { text: value.hook })]),
    el("dl", { class: "ac-facts" }, value.facts.flatMap(([name, said]) => [el("dt", { text: name }), el("dd", { text: said })])),
    value.strip ? strip(value.strip) : null,
    value.links.length ? el("div", { class: "ac-links" }, [el("span", { class: "gb-muted", text: t.opens }), ...value.links.map((l) =>
      el("button", { type: "button", class: "gb-button", dataset: { tab: l.tab }, text: `${l.label} \u2192`, onclick: () => trigger("opentab", { tab: l.tab }) }))]) : null]));
  element.dataset.painted = value.id;
}
G.onTheme(() => { if (value) { const v = value; value = null; draw(); value = v; } }, element);
watch("value", draw);
draw();
