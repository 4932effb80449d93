/* The enlarged head as a file: SVG of shapes and text, with a picture inside for long prompts. */
(() => {
  "use strict";
  const G = window.Glassbox, P = G.pixels, V = G.headView, { sx } = G;
  if (V.svg) return;
  const VECTOR_UP_TO = 128;
  const text = (x, y, string, more = {}) => sx("text", { x, y, fill: G.css("--gb-ink"), "font-size": 12, ...more }, null, string);
  const title = (s) => `${s.value.label || `L${s.value.layer}H${s.value.head}`} \u00b7 ${s.value.text[s.show]}`;

  const svg = (s) => (s.mode === "matrix" ? matrix(s) : lines(s));
  function matrix(s) {
    const n = V.count(s), cell = Math.max(640 / n, n > VECTOR_UP_TO ? 1 : 8), left = 110, top = 130, out = [text(8, 18, title(s), { "font-weight": 600 })];
    const step = Math.max(1, Math.ceil(14 / cell)), side = n * cell, unit = s.show === "difference" ? s.value.text.unit_difference : s.value.text.unit;
    if (n <= VECTOR_UP_TO) out.push(...rects(s, n, cell, left, top)); else out.push(raster(s, n, side, left, top));
    out.push(sx("rect", { x: left, y: top, width: side, height: side, fill: "none", stroke: G.css("--gb-line-strong") }));
    for (let i = 0; i < n; i = i < n - 1 && i + 2 * step > n - 1 ? n - 1 : i + step) {  // the first and the last are always named
      const middle = (i + 0.5) * cell, x = left + middle;
      out.push(text(left - 6, top + middle + 4, V.short(s.value.tokens[i]), { "text-anchor": "end" }));
      out.push(text(x, top - 6, V.short(s.value.tokens[i]), { transform: `rotate(-45 ${x} ${top - 6})` }));
    }
    const low = s.show === "difference" ? -s.range : 0, note = n > VECTOR_UP_TO ? ` \u00b7 ${s.value.text.raster}` : "";
    out.push(...scale(s, left, top + side + 14), text(left + 136, top + side + 24, `${unit} ${low.toPrecision(3)} \u2013 ${s.range.toPrecision(3)}${note}`));
    return G.svgDoc(Math.round(left + side + 90), Math.round(top + side + 40), out, title(s));
  }
  function rects(s, n, cell, left, top) {
    const index = V.colourIndex(s), lut = G.lut(V.kind(s)), none = index(0), out = [];
    for (let q = 0; q < n; q++) for (let k = 0; k < n; k++) {
      const i = index(V.at(s, q, k));
      if (i !== none) out.push(sx("rect", { x: left + k * cell, y: top + q * cell, width: cell, height: cell, fill: `rgb(${lut.slice(3 * i, 3 * i + 3).join(",")})` }));
    }
    return out;
  }
  function raster(s, n, side, left, top) {
    const canvas = G.el("canvas", { width: n, height: n }), span = P.spans(n, 0, 1, n);
    canvas.getContext("2d").putImageData(P.paint(n, n, span, span, (q, k) => V.at(s, q, k), V.colourIndex(s), P.palette(V.kind(s))), 0, 0);
    return sx("image", { x: left, y: top, width: side, height: side, href: canvas.toDataURL(), style: "image-rendering: pixelated" });
  }
  function scale(s, x, y) {
    const colour = s.show === "difference" ? (i) => G.div(i / 8 - 1) : (i) => G.seq(i / 16);
    return Array.from({ length: 17 }, (_, i) => sx("rect", { x: x + i * 7.5, y, width: 7.6, height: 12, fill: colour(i) }));
  }
  function lines(s) {
    const n = V.count(s), row = 20, left = 130, right = 430, top = 60, y = (i) => top + (i + 0.5) * row, out = [text(8, 18, title(s), { "font-weight": 600 })];
    out.push(text(left, top - 12, s.value.text.looks_from, { "text-anchor": "end", fill: G.css("--gb-muted") }), text(right, top - 12, s.value.text.looks_at, { fill: G.css("--gb-muted") }));
    for (const [q, k, v] of s.links.list) {
      const strength = Math.min(1, Math.abs(v) / s.range);
      out.push(sx("path", { d: `M${left + 6} ${y(q)}C${(left + right) / 2} ${y(q)} ${(left + right) / 2} ${y(k)} ${right - 6} ${y(k)}`, fill: "none", stroke: V.hue(s, v), "stroke-opacity": strength.toFixed(3), "stroke-width": (1 + 2.5 * strength).toFixed(2) }));
    }
    s.value.tokens.forEach((token, i) => out.push(text(left, y(i) + 4, V.short(token), { "text-anchor": "end" }), text(right, y(i) + 4, V.short(token))));
    return G.svgDoc(560, top + n * row + 16, out, title(s));
  }
  Object.assign(V, { svg });
})();
