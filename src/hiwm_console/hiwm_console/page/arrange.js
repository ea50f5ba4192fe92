// The largest arrangement of pictures in a box. Order is kept; see test_page.py.

// All ways to cut n pictures into consecutive parts: for 3: [3] [2, 1] [1, 2] [1, 1, 1].
function cuts(n) {
  if (n === 0) return [[]];
  const all = [];
  for (let first = n; first > 0; first--) for (const rest of cuts(n - first)) all.push([first, ...rest]);
  return all;
}

// Rows that all have the width of the box, or less if they are too high for it. With `turned`, the
// same for columns: each picture's aspect and the box are turned.
function inRows(aspects, parts, width, height, gap) {
  const rows = [];
  let next = 0;
  for (const part of parts) { rows.push(aspects.slice(next, next + part)); next += part; }
  const sums = rows.map((row) => row.reduce((sum, aspect) => sum + aspect, 0));
  // Each row is as wide as the others: height = (width - gaps) / sum of aspects.
  const gaps = gap * (rows.length - 1);
  const heightAt = (w) => rows.reduce((sum, row, i) => sum + (w - gap * (row.length - 1)) / sums[i], 0) + gaps;
  let wide = width;
  if (heightAt(wide) > height) {
    const slope = sums.reduce((sum, one) => sum + 1 / one, 0);
    wide -= (heightAt(wide) - height) / slope;
  }
  if (wide <= 0) return null;
  const boxes = [];
  let y = 0;
  rows.forEach((row, i) => {
    const high = (wide - gap * (row.length - 1)) / sums[i];
    let x = 0;
    for (const aspect of row) { boxes.push({ x, y, w: high * aspect, h: high }); x += high * aspect + gap; }
    y += high + gap;
  });
  return { boxes, width: wide, height: y - gap };
}

// aspects: width / height of each picture. Returns {boxes: [{x, y, w, h}], width, height} in px.
export function arrange(aspects, width, height, gap = 4) {
  let best = null, most = -1;
  for (const parts of cuts(aspects.length)) {
    const rows = inRows(aspects, parts, width, height, gap);
    const turned = inRows(aspects.map((one) => 1 / one), parts, height, width, gap);
    const columns = turned && {
      boxes: turned.boxes.map(({ x, y, w, h }) => ({ x: y, y: x, w: h, h: w })), width: turned.height, height: turned.width,
    };
    for (const found of [rows, columns]) {
      // The smallest counts too: nobody can use a picture the size of a stamp.
      const areas = found ? found.boxes.map(({ w, h }) => w * h) : [];
      const score = found ? areas.reduce((sum, area) => sum + area, 0) + areas.length * Math.min(...areas) : -1;
      if (score > most * 1.0001) { best = found; most = score; }
    }
  }
  return best ?? { boxes: [], width: 0, height: 0 };
}
