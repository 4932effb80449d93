/* The head of a panel: one plain line, a (?) with the method, how exactly the numbers were checked, and a menu with what the panel
   hands out. exports: {picture, name, text} | null. */
const host = element.querySelector('.gb-host');
function draw() {
  const value = Glassbox.snapshot(props);
  if (!value) return;
  const badges = value.badges.map((b) =>
    Glassbox.el("span", { class: "gb-badge", dataset: { ok: String(b.ok) }, tabindex: b.title ? "0" : null, text: b.text }));
  badges.forEach((node, i) => { node.dataset.title = value.badges[i].title; });
  host.replaceChildren(Glassbox.el("div", { class: "gb-panel-head" }, [
    Glassbox.el("p", { class: "gb-what", text: value.what }),
    value.help ? Glassbox.help(value.help, value.help_label) : null,
    ...badges,
    value.exports ? menu(value.exports) : null,
  ]));
  element.dataset.painted = value.id;
}
const ask = (kind) => Glassbox.handOut({ panel: element.parentElement.closest("[id]").id, kind });  // courier.js
function menu({ picture, name, text: t }) {
  const { el } = Glassbox, svg = pictureOf(picture), quiet = { type: "button", class: "gb-button gb-quiet" };
  const save = el("button", { ...quiet, dataset: { name: "save" }, title: t.save_title, "aria-haspopup": "menu", "aria-expanded": "false", text: t.save });
  const makers = {
    PNG: picture ? async () => Glassbox.download(`${name}.png`, await Glassbox.svgToPng(await svg())) : null,
    SVG: picture ? async () => Glassbox.download(`${name}.svg`, new Blob([await svg()], { type: "image/svg+xml" })) : null,
    CSV: () => ask("csv"),
    JSON: () => ask("json"),
  };
  async function make(kind) {
    try { await makers[kind](); } catch (error) { console.error(error); said(save, `${t.failed} ${error.message}`); }
  }
  save.addEventListener("click", () => {
    const items = Object.keys(makers).filter((kind) => makers[kind]).map((kind) =>
      el("button", { type: "button", role: "menuitem", dataset: { kind }, text: kind, onclick: () => { close(); make(kind); } }));
    const close = Glassbox.popover(save, items, { role: "menu", label: t.save, menu: true });
  });
  const code = el("button", { ...quiet, dataset: { name: "code" }, title: t.code_title, text: t.code, onclick: () => ask("code") });
  const link = el("button", { ...quiet, dataset: { name: "link" }, title: t.link_title, text: t.link });
  link.addEventListener("click", () => Glassbox.shareLink(link, { label: t.link, done: t.copied, failed: t.copy_failed }));
  return el("span", { class: "gb-panel-menu" }, [save, code, link]);
}
function said(button, sentence) {
  Glassbox.announce(sentence);
  Glassbox.showTip(button, sentence);
}
/* The picture as SVG: a chart of Plotly's, or what components of ours give, below each other where they are several. */
const pictureOf = (id) => async () => {
  const block = document.getElementById(id), chart = block?.querySelector(".js-plotly-plot");
  if (chart) {
    const url = await window.Plotly.toImage(chart, { format: "svg", width: chart.clientWidth, height: chart.clientHeight });
    return decodeURIComponent(url.slice(url.indexOf(",") + 1));
  }
  const ours = [...(block?.querySelectorAll("*") || [])].filter((node) => node.gbPicture && node.offsetParent);
  if (!ours.length) throw new Error(`#${id} is not drawn.`);
  return Glassbox.svgStack(await Promise.all(ours.map((node) => node.gbPicture())));
};
Glassbox.tooltip(element, ".gb-badge", (node) => node.dataset.title || "");
watch('value', draw);
draw();
