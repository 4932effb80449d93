/* Curves over the moments of a training (film.js): a logarithmic axis of tokens read, a line that marks the moment, and the
   numbers there in the key. Drawn once per size; a new moment only moves the mark. chart(host, spec) -> {frame(i), redraw()}.
   spec: {name, title, tip, series: [{label, tip, colour, dash, values}], x: [..], xTitle, unit, low?, high?, band?: [series, series],
          bump?: frame, bumpLabel, print(value), at(i) -> text, extra?(i) -> [{label, tip, value}], pick(i), text} */
window.Glassbox.filmChart = window.Glassbox.filmChart || (() => {
  "use strict";
  const G = window.Glassbox, { el, sx } = G;
  const LEFT = 54, RIGHT = 14, TOP = 8, BOTTOM = 40;
  const term = (text, tip) => (tip ? el("dfn", { class: "gb-term", tabindex: "0", dataset: { tip }, text }) : el("span", { text }));

  /* Places on the axis: log10, and the untrained start (0) a little before the first number. */
  function places(x) {
    const some = x.filter((v) => v > 0), first = Math.log10(Math.min(...some, 1e300)), last = Math.log10(Math.max(...some, 1));
    const span = some.length ? Math.max(last - first, 0.5) : 1, before = first - 0.07 * span;
    const at = x.map((v) => (v > 0 ? Math.log10(v) : some.length ? before : 0));
    return { at, low: Math.min(...at), high: Math.max(...at) };
  }
  function niceTicks(low, high) {
    const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const out = [];
    for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * step; v += step) out.push(Number(v.toPrecision(6)));
    return out;
  }

  return function chart(host, spec) {
    const compact = new Intl.NumberFormat(spec.lang, { notation: "compact", maximumSignificantDigits: 3 });
    const head = el("div", { class: "fm-chart-head" }, [el("h3", { class: "fm-title" }, [term(spec.title, spec.tip)])]);
    const key = el("div", { class: "fm-key" }), box = el("div", { class: "fm-chart", role: "img", "aria-label": spec.title });
    host.replaceChildren(head, key, box);
    G.exportMenu(head, { name: `${spec.model}-${spec.name}`, svg: () => svg(640, 300, true), csv, json, text: spec.text });
    const place = places(spec.x), frames = spec.x.length;
    let at = 0, width = 0, marks = null;
    const HEIGHT = spec.height || 210;
    const known = spec.series.flatMap((s) => s.values).filter((v) => v !== null);
    const pad = known.length ? 0.04 * (Math.max(...known) - Math.min(...known)) || 0.5 : 0.5;
    const low = spec.low ?? Math.min(...known, 1e300) - pad, high = spec.high ?? Math.max(...known, -1e300) + (Number.isInteger(spec.bump) ? 4 : 1) * pad;

    const keys = spec.series.map((s) => el("b"));
    const extras = (spec.extra ? spec.extra(0) : []).map((e) => ({ node: el("b"), label: e.label, tip: e.tip }));
    spec.series.forEach((s, i) => key.append(el("span", { class: "fm-key-item" }, [
      el("i", { class: "fm-swatch", dataset: { dash: s.dash ? "1" : "" }, style: { "--fm-colour": `var(${s.colour})` } }), term(s.label, s.tip), keys[i]])));
    extras.forEach((e) => key.append(el("span", { class: "fm-key-item" }, [term(e.label, e.tip), e.node])));

    const X = (i, w) => LEFT + ((place.at[i] - place.low) / (place.high - place.low || 1)) * (w - LEFT - RIGHT);
    const Y = (v, h) => TOP + (1 - (v - low) / (high - low)) * (h - TOP - BOTTOM);
    function line(s, w, h) {
      let d = "", pen = false;
      s.values.forEach((v, i) => { if (v === null) return; d += `${pen ? "L" : "M"}${X(i, w).toFixed(1)} ${Y(v, h).toFixed(1)}`; pen = true; });
      return sx("path", { d, fill: "none", stroke: G.css(s.colour), "stroke-width": 2, "stroke-linejoin": "round", "stroke-dasharray": s.dash || null });
    }
    function ticks(w) {
      const out = [], shown = Math.max(2, Math.floor((w - LEFT - RIGHT) / 52)), first = spec.x.findIndex((v) => v > 0);
      if (first < 0) return out;
      const from = Math.ceil(Math.log10(spec.x[first]) - 1e-9), to = Math.floor(place.high + 1e-9), step = Math.max(1, Math.ceil((to - from + 1) / shown));
      for (let p = from; p <= to; p += step) out.push([LEFT + ((p - place.low) / (place.high - place.low || 1)) * (w - LEFT - RIGHT), compact.format(10 ** p)]);
      if (spec.x[0] === 0 && (!out.length || out[0][0] - X(0, w) > 24)) out.unshift([X(0, w), "0"]);
      return out;
    }
    function parts(w, h) {
      const muted = G.css("--gb-muted"), grid = G.css("--gb-line"), out = [], font = { "font-family": G.css("--gb-sans") || "sans-serif", "font-size": 11, fill: muted };
      for (const v of niceTicks(low, high)) {
        out.push(sx("line", { x1: LEFT, x2: w - RIGHT, y1: Y(v, h), y2: Y(v, h), stroke: grid }));
        out.push(sx("text", { x: LEFT - 6, y: Y(v, h) + 4, "text-anchor": "end", ...font }, null, String(v)));
      }
      for (const [x, label] of ticks(w)) {
        out.push(sx("line", { x1: x, x2: x, y1: h - BOTTOM, y2: h - BOTTOM + 4, stroke: muted }));
        out.push(sx("text", { x, y: h - BOTTOM + 16, "text-anchor": "middle", ...font }, null, label));
      }
      out.push(sx("text", { x: (LEFT + w - RIGHT) / 2, y: h - 6, "text-anchor": "middle", ...font }, null, spec.xTitle));
      out.push(sx("text", { x: 11, y: (TOP + h - BOTTOM) / 2, "text-anchor": "middle", transform: `rotate(-90 11 ${(TOP + h - BOTTOM) / 2})`, ...font }, null, spec.unit));
      if (Number.isInteger(spec.bump)) {
        const x = X(spec.bump, w), wide = X(Math.min(frames - 1, spec.bump + 1), w) - x, right = x > w * 0.45;
        out.push(sx("rect", { x, y: TOP, width: Math.max(wide, 3), height: h - TOP - BOTTOM, fill: G.css("--gb-cat-5"), "fill-opacity": 0.22 }));
        out.push(sx("text", { x: right ? x - 5 : x + wide + 5, y: TOP + 12, "text-anchor": right ? "end" : "start", ...font, fill: G.css("--gb-ink"), stroke: G.css("--gb-panel"), "stroke-width": 3, "paint-order": "stroke" }, null, spec.bumpLabel));
      }
      if (spec.band) out.push(area(w, h));
      return [...out, ...spec.series.map((s) => line(s, w, h))];
    }
    function area(w, h) {
      const [a, b] = spec.band.map((i) => spec.series[i].values);
      const up = a.map((v, i) => `${X(i, w).toFixed(1)} ${Y(v, h).toFixed(1)}`), down = b.map((v, i) => `${X(i, w).toFixed(1)} ${Y(Math.min(v, a[i]), h).toFixed(1)}`).reverse();
      return sx("path", { d: `M${up.join("L")}L${down.join("L")}Z`, fill: G.css("--gb-cat-3"), "fill-opacity": 0.14 });
    }
    function now(w, h) {
      const x = X(at, w), ink = G.css("--gb-ink");
      return [sx("line", { class: "fm-now", x1: x, x2: x, y1: TOP, y2: h - BOTTOM, stroke: ink, "stroke-width": 1.5 }),
        ...spec.series.map((s) => sx("circle", { class: "fm-dot", cx: x, cy: s.values[at] === null ? -99 : Y(s.values[at], h), r: 4, fill: G.css(s.colour), stroke: G.css("--gb-panel"), "stroke-width": 1.5 }))];
    }
    function svg(w, h) {                                 // a file: with its title, key and moment
      const font = { "font-family": G.css("--gb-sans") || "sans-serif", fill: G.css("--gb-ink") };
      const lines = spec.series.map((s, i) => [s.colour, `${s.label} ${keys[i].textContent}`]);
      const words = lines.map(([colour, label], i) => [sx("rect", { x: LEFT, y: 40 + 18 * i, width: 16, height: 4, fill: G.css(colour) }), sx("text", { x: LEFT + 22, y: 46 + 18 * i, "font-size": 12, ...font }, null, label)].join(""));
      const top = 44 + 18 * lines.length, title = sx("text", { x: 8, y: 20, "font-size": 14, "font-weight": 600, ...font }, null, `${spec.title} \u00b7 ${spec.model} \u00b7 ${spec.moment(at)}`);
      return G.svgDoc(w, h + top, [title, ...words, sx("g", { transform: `translate(0 ${top})` }, [...parts(w, h), ...now(w, h)])], spec.title);
    }
    const columns = () => ["frame", "step", "tokens", ...spec.series.map((s) => s.name)];
    const rows = () => spec.steps.map((step, i) => [i, step, spec.tokens ? spec.tokens[i] : null, ...spec.series.map((s) => s.values[i])]);
    function csv() { return G.csvRows([columns(), ...rows()]); }
    function json() { return { model: spec.model, unit: spec.unit, columns: columns(), rows: rows() }; }

    function redraw() {
      width = box.clientWidth;
      if (!width) return;
      const source = sx("svg", { xmlns: "http://www.w3.org/2000/svg", width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` }, [...parts(width, HEIGHT), ...now(width, HEIGHT)]);
      const picture = document.adoptNode(new DOMParser().parseFromString(source, "image/svg+xml").documentElement);
      box.replaceChildren(picture);
      marks = { now: picture.querySelector(".fm-now"), dots: [...picture.querySelectorAll(".fm-dot")] };
    }
    function frame(i) {
      at = i;
      spec.series.forEach((s, k) => { keys[k].textContent = s.values[i] === null ? "\u2013" : spec.print(s.values[i], k, i); });
      if (extras.length) spec.extra(i).forEach((e, k) => { extras[k].node.textContent = e.value; });
      if (!marks) return;
      const x = X(i, width);
      marks.now.setAttribute("x1", x);
      marks.now.setAttribute("x2", x);
      marks.dots.forEach((dot, k) => { const v = spec.series[k].values[i]; dot.setAttribute("cx", x); dot.setAttribute("cy", v === null ? -99 : Y(v, HEIGHT)); });
    }
    function nearest(event) {
      const x = event.clientX - box.getBoundingClientRect().left;
      let best = 0;
      for (let i = 1; i < frames; i++) if (Math.abs(X(i, width) - x) < Math.abs(X(best, width) - x)) best = i;
      return best;
    }
    let held = false;
    box.addEventListener("pointerdown", (e) => { if (e.button) return; held = true; box.setPointerCapture(e.pointerId); G.hideTip(); spec.pick(nearest(e)); });
    box.addEventListener("pointermove", (e) => {
      if (held) return spec.pick(nearest(e));
      if (e.pointerType !== "touch") G.showTip({ x: e.clientX, y: e.clientY }, spec.at(nearest(e)));
    });
    for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, () => { held = false; });
    box.addEventListener("pointerleave", G.hideTip);
    redraw();
    return { frame, redraw, resize: () => { if (box.clientWidth !== width) redraw(); } };
  };
})();
