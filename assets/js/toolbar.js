/* Share, export, language, dark. The address always carries the whole state, so sharing is copying it, and changing the
   language is opening it again. Values: {query, left_out, lang, text, download: {serial, name, mime, content} | null}. left_out: a
   sentence on what the address could not carry. */
const host = element.querySelector('.gb-host');
let lastDownload = null, told = "";
const button = (name, text, attrs = {}) => Glassbox.el("button", { type: "button", class: "gb-tool", dataset: { name }, text, ...attrs });
function setDark(on) {
  document.body.classList.toggle("dark", on);
  try { localStorage.setItem("glassbox-dark", on ? "1" : "0"); } catch (e) { /* private windows have no storage */ }
}
function draw() {
  const value = Glassbox.snapshot(props);
  if (!value) return;
  Glassbox.syncUrl(value.query, value.left_out);
  if (document.documentElement.lang !== value.lang) document.documentElement.lang = value.lang;  // else every style is computed again
  if (element.dataset.lang !== value.lang) build(value);
  if (value.download && value.download.serial !== lastDownload) {
    lastDownload = value.download.serial;
    Glassbox.download(value.download.name, new Blob([value.download.content], { type: value.download.mime }));
  }
  element.dataset.painted = value.id;
}
/* On a phone the strip of tabs scrolls; Gradio selects the address's tab some time after the page has been drawn. */
function showTab() {
  const tab = document.querySelector("#gb_tabs [role=tab][aria-selected=true]"), strip = tab?.parentElement;
  if (strip && strip.scrollWidth > strip.clientWidth) strip.scrollLeft = tab.offsetLeft - strip.offsetLeft - (strip.clientWidth - tab.offsetWidth) / 2;
}
function build(value) {
  const t = value.text;
  const share = button("share", t.share, { title: t.share_title });
  share.addEventListener("click", () => Glassbox.shareLink(share, { label: t.share, done: t.copied, failed: t.copy_failed }));
  const out = button("export", t.export, { title: t.export_title, "aria-haspopup": "menu" });
  out.addEventListener("click", () => {
    const items = ["json", "csv", "script"].map((kind) => Glassbox.el("button", { type: "button", text: t[`export_${kind}`] }));
    const close = Glassbox.popover(out, items, { role: "menu", label: t.export, menu: true });
    items.forEach((item, i) => item.addEventListener("click", () => { close(); trigger('exportrequest', { kind: ["json", "csv", "script"][i] }); }));
  });
  const languages = Glassbox.el("span", { class: "gb-tool-group", role: "group", "aria-label": t.language }, ["en", "ko"].map((lang) => {
    const b = button(lang, lang === "en" ? "English" : "한국어", { lang, "aria-pressed": String(lang === value.lang) });
    b.addEventListener("click", () => {
      if (element.dataset.lang === lang) return;
      const lost = Glassbox.snapshot(props).left_out;     // opening the address again would lose it: said first
      if (lost && told !== lost) { told = lost; Glassbox.announce(lost); Glassbox.showTip(b, lost); return; }
      const query = new URLSearchParams(location.search);
      query.set("lang", lang);
      location.search = query.toString();
    });
    return b;
  }));
  const dark = button("dark", t.dark, { title: t.dark_title });
  dark.addEventListener("click", () => setDark(!document.body.classList.contains("dark")));
  host.replaceChildren(Glassbox.el("div", { class: "gb-toolbar" }, [share, out, languages, dark]));
  element.dataset.lang = value.lang;
}
try {
  const stored = localStorage.getItem("glassbox-dark");
  if (stored !== null) document.body.classList.toggle("dark", stored === "1");
} catch (e) { /* private windows have no storage */ }
new MutationObserver((changes) => { if (changes.some((c) => c.target.role === "tab")) showTab(); })
  .observe(element.closest(".gradio-container") || document.body, { subtree: true, attributes: true, attributeFilter: ["aria-selected"] });
watch('value', draw);
draw();
