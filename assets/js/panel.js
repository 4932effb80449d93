/* The head of a panel: one plain line, a (?) with the method, and how exactly the numbers were checked. */
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
  ]));
  element.dataset.painted = value.id;
}
Glassbox.tooltip(element, ".gb-badge", (node) => node.dataset.title || "");
watch('value', draw);
draw();
