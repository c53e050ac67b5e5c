// Charts by uPlot, each a <figure>: heading, one line that says what it shows, the canvas, and the same as a table.

import { element, table } from "./dom.js";

const { uPlot } = window;
const HEIGHT = 220;
const drawn = new Map();

// A canvas is drawn anew when the colours or its width change.
const widths = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const plot = drawn.get(target)?.plot;
    const width = Math.floor(contentRect.width);
    if (plot && width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT });
  }
});

/** Draw all charts again, in the colours that the page has now. */
export function redrawCharts() {
  for (const { draw } of drawn.values()) draw();
}

/**
 * Show series over time, or over named steps, in a figure.
 *
 * `labels` name the points; each of `series` is `{ name, values, kind: "line" | "bars" | "dashes", colour }`, its values
 * texts or numbers; `show` formats a value, `axis` one on the axis.
 */
export function showChart(figure, { title, summary, labels, series, show, axis }) {
  const values = series.map((one) => one.values.map(number));
  const make = () => ({
    data: [labels.map((_, index) => index), ...values],
    series: [{}, ...series.map((one) => lineOrBars(one, labels.length))],
    zero: series.some((one) => one.kind === "bars"),
  });
  const read = (index) =>
    index === null
      ? null
      : `${labels[index]}: ${series.map((one) => `${one.name} ${show(one.values[index])}`).join(", ")}`;
  const rows = labels.map((label, index) => [label, ...series.map((one) => show(one.values[index]))]);
  const columns = [{ name: "Period" }, ...series.map((one) => ({ name: one.name, number: true }))];
  const keys = series.map((one) => ({ name: one.name, colour: one.colour, dashed: one.kind === "dashes" }));
  fill(figure, { title, summary, keys, read, labels, axis, columns, rows, make });
}

/**
 * Show how steps lead from a first amount to a last one: bars that float between where they begin and end.
 *
 * Each of `steps` is `{ name, from, to, colour, text, short }`; `short` stands above its bar. The first and the last
 * one stand on the ground; where that is far below, the axis begins higher, and the line above says so.
 */
export function showBridge(figure, { title, summary, steps, axis }) {
  const inner = steps.slice(1, -1).flatMap((step) => [step.from, step.to]);
  const [lowest, highest] = [Math.min(...inner), Math.max(...inner)];
  const isFar = lowest > 0 && highest - lowest < 0.5 * highest;
  const ground = isFar ? lowest - (highest - lowest) * 0.6 : 0;
  const ends = (step) => [step.from, step.to].map((value) => (isFar && value === 0 ? ground : value));
  const low = steps.map((step) => Math.min(...ends(step)));
  const high = steps.map((step) => Math.max(...ends(step)));
  const make = () => {
    const fills = steps.map((step) => colour(step.colour));
    const each = (values) => ({ unit: 3, values: () => values });
    const bars = uPlot.paths.bars({
      size: [0.62, 64],
      disp: { y0: { unit: 1, values: () => low }, y1: { unit: 1, values: () => high }, fill: each(fills), stroke: each(fills) },
    });
    return { data: [steps.map((_, index) => index), high], series: [{}, { paths: bars, points: { show: false } }], low, steps };
  };
  const read = (index) => (index === null ? null : `${steps[index].name}: ${steps[index].text}`);
  const columns = [{ name: "Step" }, { name: "Amount", number: true }];
  const rows = steps.map((step) => [step.name, step.text]);
  const note = isFar ? " The axis does not begin at zero." : "";
  fill(figure, { title, summary: summary + note, keys: [], read, labels: steps.map((step) => step.name), axis, columns, rows, make });
}

/** Say in a figure's place that there is nothing to draw. */
export function showNothing(figure, title, text) {
  forget(figure);
  figure.replaceChildren(element("figcaption", {}, element("h2", {}, title)), element("p", { class: "nothing" }, text));
}

function fill(figure, { title, summary, keys, read, labels, axis, columns, rows, make }) {
  const isOpen = figure.querySelector("details")?.open;
  forget(figure);
  const canvas = element("div", { class: "plot", role: "img", "aria-label": `${title}. ${summary}` });
  const readout = element("p", { class: "readout muted", "aria-hidden": "true" }, summary);
  figure.replaceChildren(
    element("figcaption", {}, element("h2", {}, title), legend(keys)),
    readout,
    canvas,
    element(
      "details",
      { open: isOpen },
      element("summary", {}, "As a table", element("span", { class: "hidden" }, `: ${title}`)),
      element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `${title}, table` }, table(title, columns, rows)),
    ),
  );
  const draw = () => {
    drawn.get(canvas)?.plot?.destroy();
    const { data, series, zero, low, steps } = make();
    const options = {
      width: Math.max(200, Math.floor(canvas.clientWidth)),
      height: HEIGHT,
      // Above bars stand their amounts.
      padding: [steps ? 18 : 6, 12, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
      scales: {
        x: { time: false, range: () => [-0.6, labels.length - 0.4] },
        y: { range: (_, min, max) => limits(low ? Math.min(...low) : min, max, zero) },
      },
      axes: [steps ? stepAxis(labels) : timeAxis(labels), valueAxis(axis)],
      series,
      hooks: {
        draw: steps ? [(plot) => writeAbove(plot, steps, data[1])] : [],
        setCursor: [(plot) => (readout.textContent = read(plot.cursor.idx ?? null) ?? summary)],
      },
    };
    drawn.set(canvas, { draw, plot: new uPlot(options, data, canvas) });
  };
  draw();
  widths.observe(canvas);
}

function forget(figure) {
  const canvas = figure.querySelector(".plot");
  if (!canvas) return;
  widths.unobserve(canvas);
  drawn.get(canvas)?.plot?.destroy();
  drawn.delete(canvas);
}

function legend(keys) {
  if (keys.length < 2) return null;
  return element(
    "ul",
    { class: "legend" },
    keys.map((key) =>
      element("li", {}, element("span", { class: `key ${key.colour}${key.dashed ? " dashed" : ""}`, "aria-hidden": "true" }), key.name),
    ),
  );
}

function lineOrBars({ kind, colour: name }, points) {
  const stroke = colour(name);
  if (kind === "bars") {
    return { stroke, fill: stroke, width: 0, paths: uPlot.paths.bars({ size: [0.7, 48], radius: 0.08 }), points: { show: false } };
  }
  const dash = kind === "dashes" ? [5, 4] : undefined;
  // A single value makes no line.
  return { stroke, width: 2, dash, points: { show: points < 2, size: 6, fill: stroke } };
}

function timeAxis(labels) {
  return {
    ...axisColours(),
    grid: { show: false },
    size: 30,
    // Where a label is as wide as several points, only some of them are named.
    splits: (plot) => {
      const widest = Math.max(...labels.map((label) => label.length)) * 7 + 14;
      const step = Math.max(1, Math.ceil((labels.length * widest) / Math.max(plot.bbox.width / devicePixelRatio, 1)));
      return labels.map((_, index) => index).filter((index) => index % step === 0);
    },
    values: (_, splits) => splits.map((index) => labels[index] ?? ""),
  };
}

/** Every step is named, on several lines in turn where one is too short for all. */
function stepAxis(labels) {
  const widest = Math.max(...labels.map((label) => label.length)) * 6.5 + 6;
  const lines = (plot) => Math.min(3, Math.ceil(widest / (plot.bbox.width / devicePixelRatio / labels.length)));
  return {
    ...axisColours(),
    grid: { show: false },
    size: (plot) => 20 + 14 * (plot ? lines(plot) : 1),
    splits: () => labels.map((_, index) => index),
    values: (plot) => labels.map((label, index) => "\n".repeat(index % lines(plot)) + label),
  };
}

/** The amount of each step above its bar, as far as there is room. */
function writeAbove(plot, steps, heights) {
  const { ctx } = plot;
  const size = 11 * devicePixelRatio;
  ctx.save();
  ctx.font = `${size}px system-ui, sans-serif`;
  ctx.fillStyle = colour("text");
  ctx.textAlign = "center";
  ctx.textBaseline = "bottom";
  let last = null;
  steps.forEach(({ short }, index) => {
    const [x, y] = [plot.valToPos(index, "x", true), plot.valToPos(heights[index], "y", true) - 3 * devicePixelRatio];
    const half = ctx.measureText(short).width / 2;
    const isOver = last && x - half < last.right && Math.abs(y - last.y) < size;
    if (isOver) return;
    ctx.fillText(short, x, y);
    last = { right: x + half, y };
  });
  ctx.restore();
}

function valueAxis(show) {
  return {
    ...axisColours(),
    size: (_, values) => 16 + 7 * Math.max(3, ...(values ?? []).map((value) => value.length)),
    values: (_, splits) => splits.map(show),
  };
}

function axisColours() {
  const line = { stroke: colour("grid"), width: 1 };
  return { stroke: colour("muted"), font: "12px system-ui, sans-serif", grid: line, ticks: { show: false } };
}

/** The ends of the value axis: with zero for bars, and with some room where all values are the same. */
function limits(min, max, zero) {
  if (min === null || max === null) return [0, 1];
  const low = zero ? Math.min(0, min) : min;
  const high = zero ? Math.max(0, max) : max;
  const room = (high - low) * 0.1 || Math.abs(high) * 0.1 || 1;
  return [low === 0 ? 0 : low - room, high === 0 && low < 0 ? 0 : high + room];
}

function number(value) {
  return value === null || value === undefined ? null : Number(value);
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
