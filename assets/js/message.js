/* One sentence where the eye is: an error or a notice, which can be put away. Null or an empty text removes it. */
const host = element.querySelector('.gb-host');
function draw() {
  const value = Glassbox.snapshot(props);
  if (!value || !value.text) { host.replaceChildren(); element.dataset.painted = value ? value.id : ""; return; }
  const close = Glassbox.el("button", { type: "button", class: "gb-message-close", "aria-label": value.close, text: "×" });
  close.addEventListener("click", () => host.replaceChildren());
  host.replaceChildren(Glassbox.el("div", { class: value.kind === "error" ? "gb-error" : "gb-notice", role: value.kind === "error" ? "alert" : "status" },
    [Glassbox.el("span", { text: value.text }), close]));
  element.dataset.painted = value.id;
}
watch('value', draw);
draw();
