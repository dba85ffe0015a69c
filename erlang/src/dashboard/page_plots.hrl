%% Plots of the page. No double quote and no backslash: it is one string of Erlang.
-define(PLOTS, <<"
'use strict';
const MOST = 450, SPAN = 15 * 60 * 1000;
const $ = id => document.getElementById(id);

// All text of the page that comes from elsewhere goes through here, as text.
function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props || {})) {
    if (key === 'class') node.className = value;
    else if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(key, value === true ? '' : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}

// ------------------------------------------------------------------ numbers

function scaled(n, base, units) {
  let step = 0;
  while (Math.abs(n) >= base && step < units.length - 1) { n /= base; step += 1; }
  const digits = Math.abs(n) >= 100 || Number.isInteger(n) || step === 0 && Math.abs(n) >= 10 ? 0 : Math.abs(n) >= 10 ? 1 : 2;
  return [n.toFixed(digits), units[step]];
}
const asCount = n => Math.abs(n) < 100000 && Number.isInteger(n) ? [n.toLocaleString('en'), ''] : scaled(n, 1000, ['', 'k', 'M', 'G']);
const asRate = n => { const [value, unit] = asCount(Math.abs(n) < 10 ? Math.round(n * 10) / 10 : Math.round(n)); return [value, unit + '/s']; };
const asBytes = n => scaled(n, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
const asByteRate = n => { const [value, unit] = asBytes(n); return [value, unit + '/s']; };
const asTime = us => us < 1000 ? [us.toFixed(0), 'µs'] : us < 1e6 ? scaled(us / 1000, 1e9, ['ms']) : scaled(us / 1e6, 1e9, ['s']);
const joined = ([value, unit]) => unit === '' || unit.startsWith('/') ? value + unit : value + ' ' + unit;
function asAge(ms) {
  const s = Math.floor(ms / 1000), two = n => String(n).padStart(2, '0');
  if (s < 60) return s + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' m ' + two(s % 60) + ' s';
  if (s < 86400) return Math.floor(s / 3600) + ' h ' + two(Math.floor(s / 60) % 60) + ' m';
  return Math.floor(s / 86400) + ' d ' + Math.floor(s / 3600) % 24 + ' h';
}

// ------------------------------------------------------------------ what there is to see

const sum = key => moments => moments.reduce((all, one) => all + (one[key] || 0), 0);
const rate = key => (moments, seconds) => sum(key)(moments) / seconds;
const most = key => moments => moments.reduce((all, one) => Math.max(all, one[key] || 0), 0);
const ofEngine = key => (moments, seconds, engine) => engine[key] || 0;
const CHARTS = [
  { id: 'connections', title: 'Connections', as: asCount, lines: [['open', sum('connections')]], area: true },
  { id: 'opened', title: 'Opened', as: asRate, lines: [['opened', rate('accepted')]], area: true },
  { id: 'closes', title: 'Closed, by code', as: asRate, by: 'closes' },
  { id: 'refused', title: 'Refused upgrades, by reason', as: asRate, by: 'refused', otherwise: 'rejected' },
  { id: 'messages', title: 'Messages', as: asRate, lines: [['in', rate('frames_in')], ['out', rate('frames_out')]] },
  { id: 'bytes', title: 'Bytes', as: asByteRate, lines: [['in', rate('bytes_in')], ['out', rate('bytes_out')]] },
  { id: 'queued', title: 'Queued for clients', as: asBytes, lines: [['bytes', sum('queued')]], area: true },
  { id: 'busy', title: 'Busy and dropped', as: asRate, lines: [['busy', rate('busy')], ['dropped', rate('dropped')]] },
  { id: 'requests', title: 'Ordinary requests', as: asRate, lines: [['requests', rate('requests')]], area: true },
  { id: 'time', title: 'Handler time', as: asTime, lines: [['p50', most('p50')], ['p99', most('p99')]] },
  { id: 'memory', title: 'Memory', as: asBytes, lines: [['engine', ofEngine('memory')], ['VM', ofEngine('vm')]] },
  { id: 'restarts', title: 'Engine restarts', as: asCount, lines: [['restarts', ofEngine('restarts')]], step: true }
];

const history = [];
let chosen = '';

function remember(point) {
  history.push(point);
  while (history[0].t < point.t - SPAN) history.shift();
}
const momentsOf = point => chosen === '' ? Object.values(point.servers) : chosen in point.servers ? [point.servers[chosen]] : [];
const secondsBefore = at => at === 0 ? 2 : Math.max(0.5, (history[at].t - history[at - 1].t) / 1000);

// Each series of a chart: its name, and a value for each point.
function seriesOf(chart) {
  if (chart.by) {
    const totals = new Map();
    for (const point of history) for (const moment of momentsOf(point))
      for (const [name, n] of Object.entries(moment[chart.by] || {})) totals.set(name, (totals.get(name) || 0) + n);
    const names = [...totals.entries()].sort((a, b) => b[1] - a[1]).map(([name]) => name);
    const shown = names.slice(0, 5), rest = new Set(names.slice(5));
    const lines = shown.map(name => [name, moments => moments.reduce((n, one) => n + ((one[chart.by] || {})[name] || 0), 0)]);
    if (rest.size > 0) lines.push(['others', moments => moments.reduce((n, one) =>
      n + Object.entries(one[chart.by] || {}).reduce((m, [name, k]) => m + (rest.has(name) ? k : 0), 0), 0)]);
    if (lines.length === 0) lines.push([chart.otherwise ? 'refused' : 'closed', moments => chart.otherwise ? sum(chart.otherwise)(moments) : 0]);
    return lines.map(([name, count]) => [name, history.map((point, at) => count(momentsOf(point)) / secondsBefore(at))]);
  }
  return chart.lines.map(([name, value]) => [name, history.map((point, at) => value(momentsOf(point), secondsBefore(at), point.engine))]);
}

// ------------------------------------------------------------------ drawing

// The shortest of these minutes that has all there is in it.
const SPANS = [[2, [2, 1, 0]], [5, [5, 4, 3, 2, 1, 0]], [10, [10, 5, 0]], [15, [15, 10, 5, 0]]];
function spanOf() {
  const age = history.length ? history[history.length - 1].t - history[0].t : 0;
  const found = SPANS.find(([minutes]) => minutes * 60000 >= age) || SPANS[3];
  return { wide: found[0] * 60000, marks: found[1] };
}
let cross = null;

function niceTop(value, as) {
  if (value <= 0) return as === asCount ? 1 : as === asBytes || as === asByteRate ? 1024 : as === asTime ? 100 : 1;
  if (as === asBytes || as === asByteRate) {
    const two = Math.pow(2, Math.ceil(Math.log2(value * 1.02)));
    return two * 0.75 >= value * 1.02 ? two * 0.75 : two;
  }
  const unit = Math.pow(10, Math.floor(Math.log10(value)));
  return unit * ([1, 1.5, 2, 3, 4, 5, 6, 8].find(step => step * unit >= value * 1.02) || 10);
}

class Plot {
  constructor(chart) {
    this.chart = chart;
    this.keys = el('span', { class: 'bar-keys' });
    this.canvas = el('canvas', { tabindex: 0, role: 'img' });
    this.node = el('article', { class: 'card plot', id: 'plot-' + chart.id }, el('div', { class: 'top' }, el('h2', {}, chart.title), this.keys), el('div', { class: 'drawn' }, this.canvas));
    const move = event => { const box = this.canvas.getBoundingClientRect(); this.point((event.clientX - box.left) / box.width); };
    this.canvas.addEventListener('pointermove', move);
    this.canvas.addEventListener('pointerdown', move);
    this.canvas.addEventListener('pointerleave', () => setCross(null));
    this.canvas.addEventListener('blur', () => setCross(null));
    this.canvas.addEventListener('keydown', event => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -MOST, End: MOST }[event.key];
      if (!step) return;
      event.preventDefault();
      setCross(Math.min(history.length - 1, Math.max(0, (cross === null ? history.length - 1 : cross) + step)));
    });
  }

  // The point of time nearest to this part of the width.
  point(part) {
    if (history.length === 0) return;
    const end = history[history.length - 1].t, inner = this.inner();
    const at = end - spanOf().wide * (1 - (part * this.canvas.clientWidth - inner.left) / (inner.right - inner.left));
    let best = history.length - 1;
    for (let n = 0; n < history.length; n += 1) if (Math.abs(history[n].t - at) < Math.abs(history[best].t - at)) best = n;
    setCross(best);
  }

  inner() {
    return { left: 2, right: this.canvas.clientWidth - 2, top: 14, bottom: this.canvas.clientHeight - 18 };
  }

  draw(colors) {
    const { chart, canvas } = this, series = seriesOf(chart), width = canvas.clientWidth, height = canvas.clientHeight;
    if (width === 0) return;
    const ratio = window.devicePixelRatio || 1, at = cross === null || cross >= history.length ? history.length - 1 : cross;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const g = canvas.getContext('2d'), box = this.inner(), span = spanOf();
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    const stacked = Boolean(chart.by);
    const peak = series.length === 0 || history.length === 0 ? 0 : stacked
      ? Math.max(...history.map((_, n) => series.reduce((all, [, values]) => all + values[n], 0)))
      : Math.max(...series.flatMap(([, values]) => values));
    const top = niceTop(peak, chart.as), end = history.length ? history[history.length - 1].t : Date.now();
    const x = n => box.right - (end - history[n].t) / span.wide * (box.right - box.left);
    const y = value => box.bottom - value / top * (box.bottom - box.top);
    g.lineWidth = 1;
    g.font = '11px ' + colors.font;
    for (const part of [0, 0.5, 1]) {
      const line = Math.round(y(top * part)) + 0.5;
      g.strokeStyle = part === 0 ? colors.line : colors.grid;
      g.beginPath(); g.moveTo(box.left, line); g.lineTo(box.right, line); g.stroke();
    }
    g.fillStyle = colors.faint;
    g.textBaseline = 'bottom';
    g.fillText(joined(chart.as(top)), box.left, box.top - 1);
    g.textBaseline = 'top';
    for (const minutes of span.marks) {
      const text = minutes === 0 ? 'now' : minutes + ' min', w = g.measureText(text).width;
      const middle = box.right - minutes * 60000 / span.wide * (box.right - box.left) - w / 2;
      g.fillText(text, Math.min(box.right - w, Math.max(box.left, middle)), box.bottom + 5);
    }
    if (history.length > 0) {
      if (stacked) this.bars(g, series, colors, x, y, at => (box.right - box.left) * 1000 * secondsBefore(at) / span.wide); else this.lines(g, series, colors, x, y, box);
      if (cross !== null && cross < history.length) {
        g.strokeStyle = colors.muted; g.lineWidth = 1; g.setLineDash([3, 3]);
        g.beginPath(); g.moveTo(Math.round(x(cross)) + 0.5, box.top); g.lineTo(Math.round(x(cross)) + 0.5, box.bottom); g.stroke(); g.setLineDash([]);
        if (!stacked) series.forEach(([, values], n) => { g.fillStyle = colors.series[n % 6]; g.beginPath(); g.arc(x(cross), y(values[cross]), 3.2, 0, 7); g.fill(); });
      }
    }
    this.legend(series, at);
  }

  lines(g, series, colors, x, y, box) {
    series.forEach(([, values], n) => {
      g.strokeStyle = colors.series[n % 6]; g.lineWidth = 1.7; g.lineJoin = 'round';
      g.beginPath();
      values.forEach((value, at) => {
        if (this.chart.step && at > 0) g.lineTo(x(at), y(values[at - 1]));
        if (at === 0) g.moveTo(x(at), y(value)); else g.lineTo(x(at), y(value));
      });
      g.stroke();
      if (this.chart.area && values.length > 1) {
        g.lineTo(x(values.length - 1), box.bottom); g.lineTo(x(0), box.bottom); g.closePath();
        const shade = g.createLinearGradient(0, box.top, 0, box.bottom);
        shade.addColorStop(0, colors.series[n % 6] + '3d'); shade.addColorStop(1, colors.series[n % 6] + '05');
        g.fillStyle = shade; g.fill();
      }
    });
  }

  bars(g, series, colors, x, y, width) {
    history.forEach((_, at) => {
      const wide = width(at);
      let below = 0;
      series.forEach(([, values], n) => {
        if (values[at] <= 0) return;
        g.fillStyle = colors.series[n % 6];
        const from = y(below), to = y(below + values[at]);
        g.fillRect(x(at) - wide, to, Math.max(1, wide > 4 ? wide - 1 : wide + 0.3), Math.max(0.8, from - to));
        below += values[at];
      });
    });
  }

  legend(series, at) {
    const texts = series.map(([name, values]) => [name, at < 0 ? '' : joined(this.chart.as(values[at] || 0))]);
    const keys = texts.map(([name, value], n) => el('span', { class: 'key c' + n % 6 }, el('i'), name, el('b', {}, value)));
    if (cross !== null && history[cross]) keys.unshift(el('span', { class: 'key' }, new Date(history[cross].t).toLocaleTimeString()));
    this.keys.replaceChildren(...keys);
    this.canvas.setAttribute('aria-label', this.chart.title + ': ' + texts.map(pair => pair.join(' ')).join(', '));
  }
}

let plots = [];
function setCross(at) {
  if (cross === at) return;
  cross = at;
  drawPlots();
}
let drawing = 0;
function drawPlots() {
  if (drawing || $('overview').hidden) return;
  drawing = requestAnimationFrame(() => {
    drawing = 0;
    const style = getComputedStyle(document.documentElement), color = name => style.getPropertyValue(name).trim();
    const colors = { line: color('--line'), grid: color('--grid'), faint: color('--faint'), muted: color('--muted'),
      series: [0, 1, 2, 3, 4, 5].map(n => color('--s' + n)), font: getComputedStyle(document.body).fontFamily };
    for (const plot of plots) plot.draw(colors);
  });
}
"/utf8>>).
