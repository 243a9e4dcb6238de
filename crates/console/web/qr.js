// QR codes (ISO/IEC 18004) of bytes, with error correction of level M, as an SVG.

import { s } from "./dom.js";

/** For each version: bytes of error correction in a block, and blocks as [how many, data bytes in each]. */
const BLOCKS = [
  [10, [[1, 16]]], [16, [[1, 28]]], [26, [[1, 44]]], [18, [[2, 32]]], [24, [[2, 43]]], [16, [[4, 27]]], [18, [[4, 31]]],
  [22, [[2, 38], [2, 39]]], [22, [[3, 36], [2, 37]]], [26, [[4, 43], [1, 44]]], [30, [[1, 50], [4, 51]]],
  [22, [[6, 36], [2, 37]]], [22, [[8, 37], [1, 38]]], [24, [[4, 40], [5, 41]]],
];

const ALIGN = [[], [18], [22], [26], [30], [34], [22, 38], [24, 42], [26, 46], [28, 50], [30, 54], [32, 58], [34, 62], [26, 46, 66]];

const EXP = new Uint8Array(512);
const LOG = new Uint8Array(256);
for (let at = 0, value = 1; at < 255; at += 1) {
  EXP[at] = EXP[at + 255] = value;
  LOG[value] = at;
  value = (value << 1) ^ (value & 0x80 ? 0x11d : 0);
}
const times = (a, b) => (a && b ? EXP[LOG[a] + LOG[b]] : 0);

function correction(data, many) {
  let generator = [1];
  for (let at = 0; at < many; at += 1) {
    const next = new Array(generator.length + 1).fill(0);
    generator.forEach((value, index) => {
      next[index] ^= value;
      next[index + 1] ^= times(value, EXP[at]);
    });
    generator = next;
  }
  const rest = [...data, ...new Array(many).fill(0)];
  for (let at = 0; at < data.length; at += 1) {
    const factor = rest[at];
    if (factor) generator.forEach((value, index) => (rest[at + index] ^= times(value, factor)));
  }
  return rest.slice(data.length);
}

function codewords(bytes, version) {
  const [many, groups] = BLOCKS[version - 1];
  const room = groups.reduce((sum, [blocks, size]) => sum + blocks * size, 0);
  const bits = [];
  const put = (value, length) => {
    for (let bit = length - 1; bit >= 0; bit -= 1) bits.push((value >> bit) & 1);
  };
  put(4, 4);
  put(bytes.length, version < 10 ? 8 : 16);
  bytes.forEach((byte) => put(byte, 8));
  put(0, Math.min(4, room * 8 - bits.length));
  while (bits.length % 8) bits.push(0);
  const data = [];
  for (let at = 0; at < bits.length; at += 8) data.push(parseInt(bits.slice(at, at + 8).join(""), 2));
  for (let pad = 0xec; data.length < room; pad ^= 0xec ^ 0x11) data.push(pad);
  const blocks = [];
  let from = 0;
  for (const [count, size] of groups) {
    for (let block = 0; block < count; block += 1, from += size) blocks.push(data.slice(from, from + size));
  }
  const checks = blocks.map((block) => correction(block, many));
  const whole = [];
  const longest = Math.max(...blocks.map((block) => block.length));
  for (let at = 0; at < longest; at += 1) blocks.forEach((block) => at < block.length && whole.push(block[at]));
  for (let at = 0; at < many; at += 1) checks.forEach((check) => whole.push(check[at]));
  return whole;
}

const MASKS = [
  (x, y) => (x + y) % 2 === 0, (x, y) => y % 2 === 0, (x) => x % 3 === 0, (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2 === 0, (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0, (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/** What is hard to read about a picture: runs, blocks, patterns like the corners, and much of one colour. */
function penalty(grid) {
  const size = grid.length;
  let sum = 0;
  let dark = 0;
  for (const turned of [false, true]) {
    for (let y = 0; y < size; y += 1) {
      const line = [];
      for (let x = 0; x < size; x += 1) line.push(turned ? grid[x][y] : grid[y][x]);
      let run = 1;
      for (let x = 1; x <= size; x += 1) {
        if (x < size && line[x] === line[x - 1]) run += 1;
        else {
          if (run >= 5) sum += run - 2;
          run = 1;
        }
      }
      const text = line.map(Number).join("");
      for (const pattern of ["10111010000", "00001011101"]) {
        for (let at = text.indexOf(pattern); at >= 0; at = text.indexOf(pattern, at + 1)) sum += 40;
      }
    }
  }
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      dark += Number(grid[y][x]);
      if (x && y && grid[y][x] === grid[y][x - 1] && grid[y][x] === grid[y - 1][x] && grid[y][x] === grid[y - 1][x - 1]) sum += 3;
    }
  }
  return sum + Math.floor(Math.abs((dark * 20) / (size * size) - 10)) * 10;
}

/** The modules of the code of `text`, row by row; nothing if it is too long. */
export function modules(text) {
  const bytes = [...new TextEncoder().encode(text)];
  const fits = ([, groups], index) =>
    groups.reduce((sum, [blocks, size]) => sum + blocks * size, 0) >= bytes.length + (index < 9 ? 2 : 3);
  const version = BLOCKS.findIndex(fits) + 1;
  if (version === 0) return null;
  const size = version * 4 + 17;
  const grid = Array.from({ length: size }, () => new Array(size).fill(false));
  const fixed = Array.from({ length: size }, () => new Array(size).fill(false));
  const set = (x, y, value) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    grid[y][x] = Boolean(value);
    fixed[y][x] = true;
  };
  for (let at = 0; at < size; at += 1) {
    set(6, at, at % 2 === 0);
    set(at, 6, at % 2 === 0);
  }
  for (const [left, top] of [[3, 3], [size - 4, 3], [3, size - 4]]) {
    for (let y = -4; y <= 4; y += 1) {
      for (let x = -4; x <= 4; x += 1) {
        const ring = Math.max(Math.abs(x), Math.abs(y));
        set(left + x, top + y, ring !== 2 && ring !== 4);
      }
    }
  }
  const centres = ALIGN[version - 1].length ? [6, ...ALIGN[version - 1]] : [];
  const last = centres.at(-1);
  for (const cx of centres) {
    for (const cy of centres) {
      if ((cx === 6 && cy === 6) || (cx === 6 && cy === last) || (cx === last && cy === 6)) continue;
      for (let y = -2; y <= 2; y += 1) for (let x = -2; x <= 2; x += 1) set(cx + x, cy + y, Math.max(Math.abs(x), Math.abs(y)) !== 1);
    }
  }
  const format = (mask) => {
    let rest = mask;
    for (let at = 0; at < 10; at += 1) rest = (rest << 1) ^ ((rest >> 9) * 0x537);
    const bits = ((mask << 10) | rest) ^ 0x5412;
    const bit = (at) => (bits >> at) & 1;
    for (let at = 0; at < 6; at += 1) set(8, at, bit(at));
    set(8, 7, bit(6));
    set(8, 8, bit(7));
    set(7, 8, bit(8));
    for (let at = 9; at < 15; at += 1) set(14 - at, 8, bit(at));
    for (let at = 0; at < 8; at += 1) set(size - 1 - at, 8, bit(at));
    for (let at = 8; at < 15; at += 1) set(8, size - 15 + at, bit(at));
    set(8, size - 8, 1);
  };
  format(0);
  if (version >= 7) {
    let rest = version;
    for (let at = 0; at < 12; at += 1) rest = (rest << 1) ^ ((rest >> 11) * 0x1f25);
    const bits = (version << 12) | rest;
    for (let at = 0; at < 18; at += 1) {
      const [a, b] = [size - 11 + (at % 3), Math.floor(at / 3)];
      set(a, b, (bits >> at) & 1);
      set(b, a, (bits >> at) & 1);
    }
  }
  const words = codewords(bytes, version);
  let at = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step += 1) {
      for (const x of [right, right - 1]) {
        const y = ((right + 1) & 2) === 0 ? size - 1 - step : step;
        if (fixed[y][x]) continue;
        grid[y][x] = at < words.length * 8 && ((words[at >> 3] >> (7 - (at & 7))) & 1) === 1;
        at += 1;
      }
    }
  }
  const flip = (mask) => grid.forEach((row, y) => row.forEach((_, x) => !fixed[y][x] && MASKS[mask](x, y) && (row[x] = !row[x])));
  const worth = MASKS.map((_, mask) => {
    format(mask);
    flip(mask);
    const sum = penalty(grid);
    flip(mask);
    return sum;
  });
  const best = worth.indexOf(Math.min(...worth));
  format(best);
  flip(best);
  return grid;
}

/** The code of `text` as a picture, which `label` describes; nothing if it is too long. */
export function qr(text, label) {
  const grid = modules(text);
  if (!grid) return null;
  const size = grid.length + 8;
  const path = grid.flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x + 4} ${y + 4}h1v1h-1z` : ""))).join("");
  return s("svg", { class: "qr", viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label, "shape-rendering": "crispEdges" },
    s("rect", { width: size, height: size, fill: "#fff" }), s("path", { d: path, fill: "#000" }));
}
