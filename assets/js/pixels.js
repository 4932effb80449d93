/* Numbers into pixels: unpack what app/components/packing.py packed, colour it, shrink it without losing the strong cells.
   For the components that paint values. */
window.Glassbox.pixels = window.Glassbox.pixels || (() => {
  "use strict";
  const G = window.Glassbox;
  const TYPES = { float32: Float32Array, uint16: Uint16Array, uint32: Uint32Array };
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  /* {dtype, shape, data} -> a typed array (twin of packing.pack). */
  async function unpack(packed) {
    const stream = new Blob([bytes(packed.data)]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new TYPES[packed.dtype](await new Response(stream).arrayBuffer());
  }
  /* base64 grey PNG -> {width, height, values}; no colour management, or the numbers would shift. */
  async function grey(png) {
    const bitmap = await createImageBitmap(new Blob([bytes(png)], { type: "image/png" }), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    const canvas = G.el("canvas", { width: bitmap.width, height: bitmap.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    const rgba = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
    const values = new Uint8Array(bitmap.width * bitmap.height);
    for (let i = 0; i < values.length; i++) values[i] = rgba[4 * i];
    return { width: bitmap.width, height: bitmap.height, values };
  }
  /* 256 colours of "seq" or "div" as the 32-bit pixels of an ImageData. */
  function palette(kind) {
    const rgb = G.lut(kind), out = new Uint8ClampedArray(1024);
    for (let i = 0; i < 256; i++) { out.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i); out[4 * i + 3] = 255; }
    return new Uint32Array(out.buffer);
  }
  /* For each of `pixels` pixels in a row the cells [from, to) that lie under it: one when enlarged, several when reduced. */
  function spans(pixels, first, cellsPerPixel, count) {
    const from = new Int32Array(pixels), to = new Int32Array(pixels);
    for (let i = 0; i < pixels; i++) {
      const start = first + i * cellsPerPixel;
      from[i] = Math.min(count - 1, Math.max(0, Math.floor(start + 1e-6)));
      to[i] = Math.min(count, Math.max(from[i] + 1, cellsPerPixel > 1 ? Math.ceil(start + cellsPerPixel - 1e-6) : 0));
    }
    return { from, to };
  }
  /* The strongest value (by size, sign kept) of at(row, column) in a block of cells: [value, row, column]. */
  function strongest(at, row, rowEnd, column, columnEnd) {
    let best = at(row, column), r = row, c = column;
    if (rowEnd - row > 1 || columnEnd - column > 1)
      for (let i = row; i < rowEnd; i++) for (let j = column; j < columnEnd; j++) {
        const v = at(i, j);
        if (Math.abs(v) > Math.abs(best)) { best = v; r = i; c = j; }
      }
    return [best, r, c];
  }
  /* Paint at(row, column) -> a colour index 0..255 source (through index(value)) into a width x height picture. */
  function paint(width, height, rows, columns, at, index, colours) {
    const image = new ImageData(width, height), out = new Uint32Array(image.data.buffer);
    for (let y = 0; y < height; y++) {
      if (y && rows.from[y] === rows.from[y - 1] && rows.to[y] === rows.to[y - 1]) { out.copyWithin(y * width, (y - 1) * width, y * width); continue; }
      for (let x = 0; x < width; x++) {
        if (x && columns.from[x] === columns.from[x - 1] && columns.to[x] === columns.to[x - 1]) { out[y * width + x] = out[y * width + x - 1]; continue; }
        out[y * width + x] = colours[index(strongest(at, rows.from[y], rows.to[y], columns.from[x], columns.to[x])[0])];
      }
    }
    return image;
  }
  return { unpack, grey, palette, spans, strongest, paint };
})();
