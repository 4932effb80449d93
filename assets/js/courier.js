/* What a panel hands out. Values: {serial, download: {name, mime, content} | null, code: {name, ours, lens} | null, text}. */
let brought = null;
Glassbox.handOut = (asked) => trigger('panelaction', asked);  // {panel, kind}: for the menus of all panels
function draw() {
  const value = Glassbox.snapshot(props);
  if (!value || value.serial === brought) return;
  brought = value.serial;
  if (value.download) Glassbox.download(value.download.name, new Blob([value.download.content], { type: value.download.mime }));
  if (value.code) showCode(value);
  element.dataset.painted = value.id;
}
function showCode({ code, text: t }) {
  const { el } = Glassbox, opener = document.activeElement;
  const scripts = [[t.ours, code.ours, `${code.name}.py`], [t.lens, code.lens, `${code.name}-transformer-lens.py`]];
  const pre = el("pre", { class: "gb-code", tabindex: "0" }), copy = el("button", { type: "button", class: "gb-button", text: t.copy });
  const save = el("button", { type: "button", class: "gb-button", text: t.save });
  const close = el("button", { type: "button", class: "gb-button", text: t.close, onclick: () => dialog.close() });
  const tabs = scripts.map(([label], i) => el("button", { type: "button", class: "gb-button", text: label, onclick: () => show(i) }));
  let shown = 0;
  function show(i) {
    shown = i;
    pre.textContent = scripts[i][1] || t.no_lens;
    tabs.forEach((tab, j) => tab.setAttribute("aria-pressed", String(i === j)));
    copy.disabled = save.disabled = !scripts[i][1];
  }
  copy.addEventListener("click", async () => {
    copy.textContent = (await copied(pre)) ? t.copied : t.copy_failed;
    Glassbox.announce(copy.textContent);
    setTimeout(() => { copy.textContent = t.copy; }, 1600);
  });
  save.addEventListener("click", () => Glassbox.download(scripts[shown][2], new Blob([scripts[shown][1]], { type: "text/x-python" })));
  const dialog = el("dialog", { class: "gb-code-dialog", "aria-label": t.code_title }, [
    el("div", { class: "gb-code-head" }, [el("strong", { text: t.code_title }), el("span", { class: "gb-code-tabs", role: "group" }, tabs)]),
    pre,
    el("div", { class: "gb-code-foot" }, [copy, save, close]),
  ]);
  dialog.addEventListener("close", () => { dialog.remove(); if (opener?.isConnected) opener.focus(); });
  dialog.addEventListener("click", (e) => { if (e.target === dialog) dialog.close(); });   // beside it
  (element.closest(".gradio-container") || document.body).append(dialog);
  show(0);
  dialog.showModal();
}
async function copied(pre) {
  try { await navigator.clipboard.writeText(pre.textContent); return true; } catch { /* no permission, or not https: use a selection */ }
  getSelection().selectAllChildren(pre);                   // a modal dialog leaves nothing outside it selectable
  return document.execCommand("copy");
}
watch('value', draw);
draw();
