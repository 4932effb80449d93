/* Glassbox: what every picture of the page shares. Put into the document's head once, before any component starts.
   All text that a user or the model made is printed by textContent; nothing here uses innerHTML. */
window.Glassbox = window.Glassbox || (() => {
  "use strict";
  const SEQ = Array.from({ length: 9 }, (_, i) => `--gb-seq-${i}`), CAT = Array.from({ length: 6 }, (_, i) => `--gb-cat-${i + 1}`);
  const DIV = ["neg-4", "neg-3", "neg-2", "neg-1", "zero", "pos-1", "pos-2", "pos-3", "pos-4"].map((n) => `--gb-${n}`);

  /* ---- colours ---------------------------------------------------------------------------------------------- */
  let tables = null;
  const listeners = new Set();
  const css = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
  const parse = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

  function table(names) {
    const stops = names.map((name) => parse(css(name)));
    const out = new Uint8ClampedArray(256 * 3);
    for (let i = 0; i < 256; i++) {
      const at = (i / 255) * (stops.length - 1);
      const k = Math.min(Math.floor(at), stops.length - 2);
      for (let c = 0; c < 3; c++) out[3 * i + c] = Math.round(stops[k][c] + (stops[k + 1][c] - stops[k][c]) * (at - k));
    }
    return out;
  }
  const colours = () => (tables ??= { seq: table(SEQ), div: table(DIV), cat: CAT.map(css) });
  /* lut("seq"|"div"): 256 rgb triples for canvas painting. Read again after onTheme. */
  const lut = (kind) => colours()[kind];
  function pick(kind, x) {
    const i = 3 * Math.round(Math.min(1, Math.max(0, x)) * 255), t = lut(kind);
    return "#" + [t[i], t[i + 1], t[i + 2]].map((v) => v.toString(16).padStart(2, "0")).join("");
  }
  const seq = (x) => pick("seq", x);                    // x in 0..1
  const div = (x) => pick("div", (x + 1) / 2);          // x in -1..1
  const cat = (i) => colours().cat[((i % 6) + 6) % 6];
  /* Black or white, whichever reads better on a colour (at least 4.58:1, WCAG 2 contrast). */
  function ink(hex) {
    const [r, g, b] = parse(hex).map((v) => (v / 255 <= 0.04045 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.1791 ? "#000000" : "#ffffff";
  }
  const isDark = () => document.body.classList.contains("dark");
  function watchTheme() {
    let was = isDark();
    new MutationObserver(() => {
      if (isDark() === was) return;
      was = !was;
      tables = null;
      for (const [cb, owner] of listeners) if (!owner || owner.isConnected) cb(was);
      document.dispatchEvent(new CustomEvent("glassbox:theme", { detail: { dark: was } }));
    }).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  }
  /* onTheme(cb, owner?) -> unsubscribe. With an owner element, the callback is dropped once that element left the page. */
  function onTheme(cb, owner = null) {
    for (const entry of listeners) if (entry[1] && !entry[1].isConnected) listeners.delete(entry);
    const entry = [cb, owner];
    listeners.add(entry);
    return () => listeners.delete(entry);
  }

  /* ---- elements --------------------------------------------------------------------------------------------- */
  /* el("button", {class, text?, onclick, "aria-label", dataset: {...}, style: {...}}, [children or strings]) */
  function el(tag, attrs = {}, children = []) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attrs || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "text") node.textContent = value;
      else if (name === "dataset") Object.assign(node.dataset, value);
      else if (name === "style" && typeof value === "object") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
      else if (name.startsWith("on") && typeof value === "function") node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    for (const child of [].concat(children)) if (child !== null && child !== undefined) node.append(child);
    return node;
  }
  /* A plain copy of props.value: Gradio hands out a Svelte proxy, slow to read a thousand times. */
  const snapshot = (props) => (props.value === null || props.value === undefined ? null : JSON.parse(JSON.stringify(props.value)));
  /* Fill "{name}" places of a translated sentence. */
  const fill = (sentence, values) => String(sentence ?? "").replace(/\{(\w+)\}/g, (all, key) => (key in values ? values[key] : all));
  function pct(p) {
    const x = 100 * p;
    if (x > 0 && x < 0.1) return "<0.1%";
    if (x < 1) return `${x.toFixed(1)}%`;
    if (x >= 99.5 && x < 100) return x >= 99.95 ? ">99.9%" : `${x.toFixed(1)}%`;
    return `${x.toFixed(x < 9.95 ? 1 : 0)}%`;
  }
  const num = (x, digits = 2) => (Object.is(x, null) || x === undefined ? "" : x.toFixed(digits).replace("-", "\u2212"));

  function legend(kind, { title, low, high }) {
    return el("div", { class: "gb-legend", role: "img", "aria-label": `${title}: ${low} \u2013 ${high}` }, [
      el("span", { text: title }),
      el("span", { class: "gb-legend-scale" }, [low, el("span", { class: "gb-legend-bar", dataset: { kind } }), high]),
    ]);
  }

  /* ---- screen reader ---------------------------------------------------------------------------------------- */
  let live = null;
  function announce(message) {
    if (!live) document.body.append(live = el("div", { class: "gb-sr", "aria-live": "polite", role: "status" }));
    live.textContent = "";
    setTimeout(() => { live.textContent = message; }, 30);
  }

  /* ---- floating layers -------------------------------------------------------------------------------------- */
  function place(layer, rect) {
    const gap = 6, w = layer.offsetWidth, h = layer.offsetHeight;
    const below = rect.bottom + gap + h <= innerHeight - 4 || rect.top - gap - h < 4;
    layer.style.left = `${Math.max(8, Math.min(rect.left + rect.width / 2 - w / 2, innerWidth - w - 8))}px`;
    layer.style.top = `${Math.max(4, Math.min(below ? rect.bottom + gap : rect.top - gap - h, innerHeight - h - 4))}px`;
  }
  let tipNode = null, tipFor = null;
  function hideTip() {
    if (tipNode) tipNode.hidden = true;
    if (tipFor) tipFor.removeAttribute("aria-describedby");
    tipFor = null;
  }
  /* Show text near an element, or near a point {x, y} of the window (for canvases). Empty text hides it. */
  function showTip(target, text) {
    if (!text) return hideTip();
    if (!tipNode) {
      tipNode = el("div", { class: "gb-layer gb-tip", role: "tooltip", id: "gb-tip" });
      document.body.append(tipNode);
      addEventListener("scroll", hideTip, { capture: true, passive: true });
      addEventListener("keydown", (e) => { if (e.key === "Escape") hideTip(); });
      addEventListener("pointerdown", (e) => { if (e.pointerType === "touch" && !tipFor?.contains(e.target)) hideTip(); }, { capture: true });
    }
    tipNode.textContent = text;
    tipNode.hidden = false;
    const isPoint = !(target instanceof Element);
    if (!isPoint) { if (tipFor && tipFor !== target) tipFor.removeAttribute("aria-describedby"); tipFor = target; target.setAttribute("aria-describedby", "gb-tip"); }
    place(tipNode, isPoint ? new DOMRect(target.x - 1, target.y - 10, 2, 20) : target.getBoundingClientRect());
  }
  /* tooltip(container, selector, (element) => text): hover and keyboard focus, one listener for any number of elements. */
  function tooltip(container, selector, textOf) {
    let touched = false;
    const show = (e) => { const t = e.target.closest?.(selector); if (t && container.contains(t)) showTip(t, textOf(t)); };
    const hide = (e) => { if (!e.relatedTarget || e.relatedTarget.closest?.(selector) !== tipFor) hideTip(); };
    container.addEventListener("pointerover", (e) => { touched = e.pointerType === "touch"; show(e); });
    container.addEventListener("pointerout", hide);        // also when a finger is lifted: what does nothing else is shown again
    container.addEventListener("click", (e) => { if (touched && !e.target.closest?.("button, a, [role=option], [role=gridcell]")) show(e); });
    container.addEventListener("focusin", (e) => { if (e.target.matches(":focus-visible")) show(e); });
    container.addEventListener("focusout", hideTip);
  }
  /* popover(anchor, node, {role, label, onClose}) -> close(). Escape, a click elsewhere or a lost anchor close it. */
  let openPopover = null;
  function popover(anchor, content, { role = "dialog", label = "", menu = false, onClose = null } = {}) {
    if (openPopover) openPopover();
    hideTip();
    const layer = el("div", { class: `gb-layer ${menu ? "gb-menu" : "gb-popover"}`, role, "aria-label": label || null, tabindex: "-1" }, content);
    document.body.append(layer);
    place(layer, anchor.getBoundingClientRect());
    anchor.setAttribute("aria-expanded", "true");
    const off = new AbortController(), on = { signal: off.signal };
    function close(refocus = true) {
      if (openPopover !== close) return;
      openPopover = null;
      off.abort();
      const inside = layer.contains(document.activeElement);
      layer.remove();
      anchor.setAttribute("aria-expanded", "false");
      if (refocus && inside && anchor.isConnected) anchor.focus();
      if (onClose) onClose();
    }
    openPopover = close;
    addEventListener("keydown", (e) => { if (e.key === "Escape") close(); }, on);
    addEventListener("pointerdown", (e) => { if (!layer.contains(e.target) && !anchor.contains(e.target)) close(false); }, on);
    addEventListener("scroll", (e) => { if (!layer.contains(e.target)) { if (anchor.isConnected) place(layer, anchor.getBoundingClientRect()); else close(false); } }, { capture: true, passive: true, signal: off.signal });
    addEventListener("resize", () => place(layer, anchor.getBoundingClientRect()), on);
    (layer.querySelector("button, [href], [tabindex]") || layer).focus({ preventScroll: true });
    if (menu) roving(layer, { selector: "button", vertical: true });
    return close;
  }
  /* help(sentence, label): the "(?)" button. */
  function help(sentence, label = "?") {
    const button = el("button", { type: "button", class: "gb-help", "aria-label": label, "aria-expanded": "false", text: "?" });
    button.addEventListener("click", () => (button.getAttribute("aria-expanded") === "true" ? openPopover?.() : popover(button, [el("div", { text: sentence, style: { "white-space": "pre-line" } })], { label })));
    return button;
  }
  /* ---- keyboard --------------------------------------------------------------------------------------------- */
  /* One tab stop for a list; arrows, Home and End move inside it; onMove(element) after each move by key. Vertical: up and
     down step through the list. Otherwise left and right do, and up and down go to the nearest item of the row above or below. */
  function roving(container, { selector, vertical = false, onMove = null }) {
    const items = () => [...container.querySelectorAll(selector)];
    function nearest(list, from, sign) {
      const a = from.getBoundingClientRect(), x = a.left + a.width / 2;
      let best = null, score = Infinity;
      for (const item of list) {
        const b = item.getBoundingClientRect(), dy = sign * (b.top - a.top);
        if (dy <= 2) continue;
        const s = dy * 1e4 + Math.abs(b.left + b.width / 2 - x);
        if (s < score) { score = s; best = item; }
      }
      return best;
    }
    container.addEventListener("keydown", (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      const from = e.target.closest(selector);
      if (!from) return;
      const list = items(), i = list.indexOf(from);
      let to = null;
      if (e.key === "Home" || e.key === "End") to = list.at(e.key === "Home" ? 0 : -1);
      else if (e.key === "ArrowRight") to = vertical ? null : list[i + 1];
      else if (e.key === "ArrowLeft") to = vertical ? null : list[i - 1];
      else if (e.key === "ArrowDown") to = vertical ? list[i + 1] : nearest(list, from, 1);
      else if (e.key === "ArrowUp") to = vertical ? list[i - 1] : nearest(list, from, -1);
      else return;
      e.preventDefault();
      e.stopPropagation();
      if (to) { focusItem(container, selector, to); if (onMove) onMove(to); }
    });
  }
  function focusItem(container, selector, to, focus = true) {
    const was = container.querySelector(`${selector}[tabindex="0"]`);
    if (was && was !== to) was.tabIndex = -1;
    to.tabIndex = 0;
    if (focus) { to.focus({ preventScroll: true }); to.scrollIntoView({ block: "nearest", inline: "nearest" }); }
  }
  /* ---- files ------------------------------------------------------------------------------------------------ */
  function download(name, blob) {
    const url = URL.createObjectURL(blob), a = el("a", { href: url, download: name });
    document.body.append(a);
    a.click();
    a.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }
  const xml = (s) => String(s).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  /* sx("rect", {x: 1}, ["<children already svg>"]) and sx("text", {...}, null, "any text"): strings of SVG, escaped. */
  const sx = (tag, attrs, children = null, text = null) =>
    `<${tag}${Object.entries(attrs).filter(([, v]) => v !== null && v !== undefined).map(([k, v]) => ` ${k}="${xml(v)}"`).join("")}>${children ? children.join("") : ""}${text === null ? "" : xml(text)}</${tag}>`;
  /* A whole document with the page's colours as literals, since a file on disk has no variables. */
  function svgDoc(width, height, children, caption = "") {
    const mono = css("--gb-mono") || "monospace";
    return sx("svg", { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}`, "font-family": mono, "font-size": 13, "xml:space": "preserve" },
      [caption ? sx("title", {}, null, caption) : "", sx("rect", { width, height, fill: css("--gb-panel") }), ...children]);
  }
  const sizeOf = (svg) => ["width", "height"].map((k) => Number(new RegExp(`<svg[^>]*\\s${k}="([\\d.]+)"`).exec(svg)[1]));
  /* Pictures below each other, each with its title as a line above it; one alone stays as it is. */
  function svgStack(pictures) {
    if (pictures.length === 1) return pictures[0];
    const title = (svg) => /<title>(.*?)<\/title>/s.exec(svg)?.[1] || "";
    let y = 0, width = 0;
    const parts = pictures.flatMap((svg) => {
      const [w, h] = sizeOf(svg), at = y;
      [y, width] = [at + 28 + h, Math.max(width, w)];
      return [sx("text", { x: 12, y: at + 19, fill: css("--gb-ink") }, [title(svg)]), svg.replace("<svg", `<svg y="${at + 28}"`)];
    });
    return svgDoc(width, y, parts);
  }
  async function svgToPng(svg, scale = 2) {
    const [w, h] = sizeOf(svg), k = Math.min(scale, 16000 / Math.max(w, h));
    const image = new Image();
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svg);
    await image.decode();
    const canvas = el("canvas", { width: Math.ceil(w * k), height: Math.ceil(h * k) });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }
  /* csvRows([[...], ...]): RFC 4180; a cell that a spreadsheet would run as a formula is prefixed with an apostrophe. */
  const csvRows = (rows) => rows.map((row) => row.map((cell) => {
    const s = cell === null || cell === undefined ? "" : String(cell);
    const safe = typeof cell === "string" && /^[=+\-@\t\r]/.test(s) ? `'${s}` : s;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }).join(",")).join("\r\n") + "\r\n";

  /* exportMenu(host, {name, svg, csv, json, png, text}): adds an unobtrusive "export" button to host. Each format is a
     function called when chosen, svg/csv -> string, json -> object, png -> Blob (default: svg at twice its size).
     text: {export, export_failed}. Returns the button. */
  function exportMenu(host, { name, svg, csv, json, png, text = {} }) {
    const makers = {
      PNG: png || svg ? async () => (png ? png() : svgToPng(await svg())) : null,
      SVG: svg ? async () => new Blob([await svg()], { type: "image/svg+xml" }) : null,
      CSV: csv ? async () => new Blob(["\ufeff", await csv()], { type: "text/csv" }) : null,
      JSON: json ? async () => new Blob([JSON.stringify(await json(), null, 2)], { type: "application/json" }) : null,
    };
    const button = el("button", { type: "button", class: "gb-button gb-quiet gb-export", "aria-haspopup": "menu", "aria-expanded": "false", text: text.export || "\u2913" });
    async function save(kind) {
      try { download(`${name}.${kind.toLowerCase()}`, await makers[kind]()); }
      catch (error) { console.error(error); announce(`${text.export_failed || kind}: ${error.message}`); showTip(button, `${text.export_failed || kind}: ${error.message}`); }
    }
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-expanded") === "true") return openPopover?.();
      const items = Object.keys(makers).filter((kind) => makers[kind]).map((kind) =>
        el("button", { type: "button", role: "menuitem", text: kind, onclick: () => { openPopover?.(); save(kind); } }));
      popover(button, items, { role: "menu", label: text.export, menu: true });
    });
    host.append(button);
    return button;
  }
  /* ---- page ------------------------------------------------------------------------------------------------- */
  let tooLong = "";                                       // what the address had to leave out, in a sentence
  /* The address becomes exactly this query; `leftOut` is told to whoever copies it. */
  function syncUrl(query, leftOut = "") {
    tooLong = leftOut;
    history.replaceState(history.state, "", location.pathname + (query ? `?${query}` : "") + location.hash);
  }
  /* shareLink(button, {label, done, failed}): copies the address, says so on the button, and tells what is not in it. */
  async function shareLink(button, { label, done, failed }) {
    button.textContent = (await copy(location.href)) ? done : failed;
    announce(`${button.textContent} ${tooLong}`);
    if (tooLong) showTip(button, tooLong);
    setTimeout(() => { button.textContent = label; }, 1600);
  }
  async function copy(text) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* no permission, or not https: use a selection */ }
    const area = el("textarea", { class: "gb-sr", readonly: true, text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }

  /* <dfn class="gb-term" title> texts of the page get the same tooltip as pictures (a title alone is unreachable by key or touch). */
  function start() {
    watchTheme();
    const term = (t) => { if (t.title) { t.dataset.tip = t.title; t.removeAttribute("title"); t.tabIndex = 0; } return t.dataset.tip; };
    tooltip(document.body, ".gb-term", term);
    document.body.addEventListener("click", (e) => { const t = e.target.closest?.(".gb-term"); if (t) showTip(t, term(t)); });
  }
  if (document.body) start(); else addEventListener("DOMContentLoaded", start);

  return { seq, div, cat, ink, lut, css, onTheme, isDark, el, snapshot, fill, pct, num, legend, announce, tooltip, showTip, hideTip, popover, help,
    roving, focusItem, download, svgDoc, svgStack, sx, svgToPng, csvRows, exportMenu, syncUrl, shareLink, copy };
})();
