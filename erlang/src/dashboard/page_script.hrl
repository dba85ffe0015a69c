%% The live socket of the page, and its keyboard. No double quote and no backslash: it is one string of Erlang.
-define(SCRIPT, <<"
// ------------------------------------------------------------------ what is shown

const VIEWS = ['overview', 'connections', 'topics', 'cluster'];
let view = 'overview', servers = [], socket = null, token = '';

const serverOfTable = () => chosen !== '' ? chosen : servers.length ? servers[0].id : '';
function choose(id) {
  chosen = id;
  $('server').value = id;
  if (history.length) drawTiles(history[history.length - 1]);
  drawPlots();
  if (view === 'connections') restart();
  if (view === 'topics') askTopics(0);
}
function show(name) {
  if (view === 'connections' && name !== view) { say({ op: 'leave' }); table.asked = ''; }
  view = name;
  for (const other of VIEWS) {
    $(other).hidden = other !== name;
    $('tab-' + other).setAttribute('aria-selected', other === name);
    $('tab-' + other).tabIndex = other === name ? 0 : -1;
  }
  if (name === 'overview') drawPlots();
  if (name === 'connections') { $('rows').focus(); restart(); }
  if (name === 'topics') askTopics(0);
  if (name === 'cluster') say({ op: 'cluster' });
  if (location.hash.slice(2) !== name) window.history.replaceState(null, '', '#/' + name);
}
let hiding = 0;
function toast(text) {
  $('toast').textContent = text;
  $('toast').hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { $('toast').hidden = true; }, 3500);
}

// ------------------------------------------------------------------ the socket

function say(question) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(question));
}
function state(kind, text) {
  $('status').className = 'status ' + kind;
  $('status').lastElementChild.textContent = text;
  $('status').title = text;
}
const TAKE = {
  hello(about) {
    state('live', 'Live');
    $('where').textContent = about.node + ' · OTP ' + about.otp + ' · ' + about.version;
    $('where').title = $('where').textContent;
    document.title = 'Sockeye · ' + about.node;
  },
  points({ points }) {
    history.length = 0;
    points.forEach(remember);
    if (points.length) drawTiles(points[points.length - 1]);
    drawPlots();
    table.asked = '';
    if (view !== 'overview') show(view);
  },
  point(point) {
    const first = servers.length === 0;
    servers = point.table;
    remember(point);
    drawServers(servers);
    drawTiles(point);
    drawPlots();
    if (first && view !== 'overview') show(view);
    if (view === 'topics' && topicList.shown.length <= 200) askTopics(0);
  },
  rows: takeRows, topics: takeTopics, members: takeMembers, cluster: takeNodes, detail: takeDetail,
  done({ what, ok, conn }) {
    toast(!ok ? 'The connection is closed already.' : what === 'dashboard_closed' ? 'Connection ' + conn + ' is being closed.' : 'active is set.');
    if ($('detail').dataset.conn === conn) openDetail(conn);
  }
};
const path = location.pathname.endsWith('/') ? location.pathname.slice(0, -1) : location.pathname;
const hex = text => Array.from(new TextEncoder().encode(text), byte => byte.toString(16).padStart(2, '0')).join('');
let tries = 0;
function connect() {
  const offered = ['sockeye-dashboard'];
  if (token) offered.push('token.' + hex(token));
  socket = new WebSocket((location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + path + '/live', offered);
  socket.onopen = () => { tries = 0; };
  socket.onmessage = event => { const answer = JSON.parse(event.data); TAKE[answer.type](answer); };
  socket.onclose = () => {
    state('lost', 'Not connected');
    tries += 1;
    setTimeout(connect, Math.min(10000, 500 * tries));
  };
}
setInterval(() => { if (view === 'cluster') say({ op: 'cluster' }); }, 10000);

// A token stays in this tab, and goes nowhere but into the two requests.
async function login(given) {
  const answer = await fetch(path + '/auth', { headers: { authorization: 'Bearer ' + given } }).catch(() => null);
  if (answer && answer.status === 204) {
    token = given;
    sessionStorage.setItem('sockeye-token', given);
    $('login').hidden = true;
    document.querySelector('main').hidden = false;
    connect();
    return true;
  }
  $('wrong').textContent = answer ? 'This token is wrong.' : 'The server gives no answer.';
  return false;
}
async function start() {
  if (!('token' in document.documentElement.dataset)) { connect(); return; }
  document.querySelector('main').hidden = true;
  const kept = sessionStorage.getItem('sockeye-token');
  if (kept && await login(kept)) return;
  $('wrong').textContent = '';
  $('login').hidden = false;
  state('', 'Locked');
  $('token').focus();
}
$('login').addEventListener('submit', event => { event.preventDefault(); login($('token').value); });

// ------------------------------------------------------------------ keyboard, light and dark

const THEMES = ['auto', 'light', 'dark'];
const prefersDark = matchMedia('(prefers-color-scheme: dark)');
let theme = localStorage.getItem('sockeye-theme') || 'auto';
function paint() {
  document.documentElement.dataset.theme = theme === 'auto' ? (prefersDark.matches ? 'dark' : 'light') : theme;
  $('theme').title = 'Colors: ' + theme;
  drawPlots();
}
function nextTheme() {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % 3];
  localStorage.setItem('sockeye-theme', theme);
  paint();
  toast('Colors: ' + theme);
}
prefersDark.addEventListener('change', paint);
$('theme').addEventListener('click', nextTheme);
for (const name of VIEWS) $('tab-' + name).addEventListener('click', () => show(name));
document.querySelector('nav').addEventListener('keydown', event => {
  const step = { ArrowRight: 1, ArrowLeft: VIEWS.length - 1 }[event.key];
  if (!step) return;
  const next = VIEWS[(VIEWS.indexOf(view) + step) % VIEWS.length];
  show(next);
  $('tab-' + next).focus();
});
$('server').addEventListener('change', () => choose($('server').value));
$('rows').addEventListener('scroll', onScroll);
$('rows').addEventListener('keydown', onRowsKey);
let typing = 0;
$('search').addEventListener('input', () => { clearTimeout(typing); typing = setTimeout(() => { table.search = $('search').value; restart(); }, 200); });
$('search').addEventListener('keydown', event => { if (event.key === 'ArrowDown' || event.key === 'Enter') { event.preventDefault(); $('rows').focus(); moveTo(0); } });
$('topic-search').addEventListener('input', () => { clearTimeout(typing); typing = setTimeout(() => askTopics(0), 200); });
$('more-topics').firstElementChild.addEventListener('click', () => askTopics(topicList.shown.length));
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || $('confirm').open) return;
  if (event.key === 'Escape') { closePanel(); return; }
  if (['INPUT', 'SELECT', 'TEXTAREA'].includes(event.target.tagName)) return;
  if ('1234'.includes(event.key)) show(VIEWS[Number(event.key) - 1]);
  if (event.key === 'd') nextTheme();
  if (event.key === '/') { event.preventDefault(); if (view !== 'topics') show('connections'); $(view === 'topics' ? 'topic-search' : 'search').focus(); }
});
addEventListener('resize', () => { drawPlots(); if (view === 'connections') { $('lines').style.height = table.total * rowHeight() + 'px'; drawRows(); onScroll(); } });

plots = CHARTS.map(chart => new Plot(chart));
$('plots').append(...plots.map(plot => plot.node));
drawHeads();
drawServers([]);
paint();
show(VIEWS.includes(location.hash.slice(2)) ? location.hash.slice(2) : 'overview');
start();
"/utf8>>).
