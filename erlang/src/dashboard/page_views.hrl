%% Tables of the page, and one connection. No double quote and no backslash: it is one string of Erlang.
-define(VIEWS, <<"
// ------------------------------------------------------------------ numbers of now, servers

function drawTiles(point) {
  const seconds = secondsBefore(history.length - 1), moments = momentsOf(point), engine = point.engine;
  const whole = key => moments.reduce((n, one) => n + (one[key] || 0), 0);
  const refused = whole('rejected') / seconds;
  const tiles = [
    ['Connections', asCount(whole('connections')), joined(asRate(whole('accepted') / seconds)) + ' opened'],
    ['Messages in', asRate(whole('frames_in') / seconds), joined(asByteRate(whole('bytes_in') / seconds))],
    ['Messages out', asRate(whole('frames_out') / seconds), joined(asByteRate(whole('bytes_out') / seconds))],
    ['Queued', asBytes(whole('queued')), joined(asRate((whole('busy') + whole('dropped')) / seconds)) + ' busy or dropped'],
    ['Handler p99', asTime(most('p99')(moments)), 'p50 ' + joined(asTime(most('p50')(moments)))],
    ['Refused', asRate(refused), joined(asRate(whole('failed') / seconds)) + ' failed'],
    ['Memory', asBytes(engine.memory), engine.vm === null ? '' : 'VM ' + joined(asBytes(engine.vm))],
    ['Engine', [engine.kind === 'port' ? 'process' : engine.kind === 'nif' ? 'in the VM' : 'none', ''], engine.restarts + (engine.restarts === 1 ? ' restart' : ' restarts')]
  ];
  $('tiles').replaceChildren(...tiles.map(([name, [value, unit], below]) =>
    el('div', { class: 'tile' }, el('dt', {}, name), el('dd', {}, value, el('small', {}, unit)), el('p', {}, below))));
}

const SERVER_COLUMNS = [['Server', s => s.name], ['Listens', s => s.where], ['Handler', s => s.handler], ['Connections', s => s.connections],
  ['Accepted', s => s.accepted], ['Refused', s => s.rejected], ['In', s => s.frames_in], ['Out', s => s.frames_out], ['Busy', s => s.busy],
  ['Dropped', s => s.dropped], ['Failed', s => s.failed], ['Scope', s => s.scope]];

function drawServers(servers) {
  const number = value => typeof value === 'number';
  $('servers').tHead.replaceChildren(el('tr', {}, SERVER_COLUMNS.map(([name], n) => el('th', { scope: 'col', class: n > 2 && n < 11 && 'num' }, name))));
  $('servers').tBodies[0].replaceChildren(...servers.map(server => {
    const open = () => { choose(server.id); show('connections'); };
    return el('tr', { tabindex: 0, 'data-server': server.id, onclick: open, onkeydown: event => { if (event.key === 'Enter') open(); } },
      SERVER_COLUMNS.map(([, value]) => el('td', { class: number(value(server)) && 'num' }, number(value(server)) ? value(server).toLocaleString('en') : value(server))));
  }));
  const select = $('server'), ids = servers.map(server => server.id);
  const known = [...select.options].map(option => option.value).filter(value => value !== '');
  if (known.join() !== ids.join() || select.options.length === 0) {
    select.replaceChildren(el('option', { value: '' }, 'All servers'), ...servers.map(server => el('option', { value: server.id }, server.name + ' · ' + server.where)));
    if (!ids.includes(chosen)) chosen = '';
    select.value = chosen;
  }
}

// ------------------------------------------------------------------ connections

const COLUMNS = [['peer', 'Peer', ''], ['path', 'Path', ''], ['user', 'User', ''], ['age', 'Age', 'num'], ['queued', 'Queued', 'num'], ['held', 'Held', 'num held'],
  ['messages', 'Messages', 'num'], ['credits', 'Credits', 'num credits']];
const PAGE = 100;
const table = { sort: 'age', direction: 'desc', search: '', total: 0, at: -1, from: 0, rows: [], asked: '' };
const shortPeer = peer => peer.endsWith(':0') ? peer.slice(0, -2) : peer;
const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue('--row'));

function drawHeads() {
  $('heads').replaceChildren(...COLUMNS.map(([key, name, more]) => {
    const sorted = table.sort === key ? (table.direction === 'asc' ? 'ascending' : 'descending') : 'none';
    return el('div', { role: 'columnheader', 'aria-sort': sorted, class: key + ' ' + more }, el('button', { onclick: () => sortBy(key) }, name));
  }));
}
function sortBy(key) {
  const texts = ['peer', 'path', 'user'].includes(key);
  table.direction = table.sort === key ? (table.direction === 'asc' ? 'desc' : 'asc') : texts ? 'asc' : 'desc';
  table.sort = key;
  drawHeads();
  restart();
}
// Another list: from its beginning.
function restart() {
  table.at = -1; table.rows = []; table.from = 0; table.asked = '';
  $('rows').scrollTop = 0;
  askRows();
}
function askRows() {
  const server = serverOfTable();
  if (view !== 'connections' || !server) return;
  const first = Math.max(0, Math.floor($('rows').scrollTop / rowHeight()) - 30);
  const question = { op: 'rows', server, search: table.search, sort: table.sort, direction: table.direction, from: first, count: PAGE };
  const text = JSON.stringify(question);
  if (text === table.asked) return;
  table.asked = text;
  say(question);
}
function onScroll() {
  const first = Math.floor($('rows').scrollTop / rowHeight()), last = first + Math.ceil($('rows').clientHeight / rowHeight());
  const end = table.from + table.rows.length;
  if (first < table.from || Math.min(last, table.total) > end) askSoon();
}
let soon = 0;
function askSoon() {
  clearTimeout(soon);
  soon = setTimeout(askRows, 60);
}
function takeRows(answer) {
  if (answer.server !== serverOfTable()) return;
  table.total = answer.total; table.from = answer.from; table.rows = answer.rows;
  $('lines').style.height = table.total * rowHeight() + 'px';
  $('found').textContent = table.total.toLocaleString('en') + (table.total === 1 ? ' connection' : ' connections') + (table.search ? ' found' : '');
  drawRows();
  onScroll();
}
function drawRows() {
  const height = rowHeight();
  const lines = table.rows.map((row, n) => {
    const cell = (name, text, more) => el('span', { role: 'gridcell', class: name + ' ' + more + (text === '' || text === '0' || text === '0 B' ? ' none' : ''), title: more === '' && text !== '' && text }, text === '' ? '–' : text);
    const line = el('div', { role: 'row', class: 'line' + (table.from + n === table.at ? ' at' : ''), 'aria-rowindex': table.from + n + 1, 'data-conn': row.id,
      onclick: () => { table.at = table.from + n; drawRows(); openDetail(row.id); } },
      cell('peer', shortPeer(row.peer), ''), cell('path', row.path, ''), cell('user', row.user, ''), cell('age', asAge(row.age), 'num'), cell('queued', joined(asBytes(row.queued)), 'num'),
      cell('held', joined(asBytes(row.held)), 'num'), cell('messages', row.messages.toLocaleString('en'), 'num'),
      cell('credits', row.credits === null ? '∞' : String(row.credits), 'num'));
    line.style.transform = 'translateY(' + (table.from + n) * height + 'px)';
    return line;
  });
  if (lines.length === 0) lines.push(el('div', { class: 'empty' }, table.search ? 'No connection has this in its peer, path or user.' : 'No connection is open.'));
  $('lines').replaceChildren(...lines);
}
function moveTo(at) {
  if (table.total === 0) return;
  table.at = Math.max(0, Math.min(table.total - 1, at));
  const height = rowHeight(), box = $('rows'), y = table.at * height;
  if (y < box.scrollTop) box.scrollTop = y;
  if (y + height > box.scrollTop + box.clientHeight) box.scrollTop = y + height - box.clientHeight;
  drawRows();
  onScroll();
}
function onRowsKey(event) {
  const page = Math.max(1, Math.floor($('rows').clientHeight / rowHeight()) - 1);
  const to = { ArrowDown: table.at + 1, ArrowUp: table.at - 1, PageDown: table.at + page, PageUp: table.at - page, Home: 0, End: table.total - 1 }[event.key];
  if (to !== undefined) { event.preventDefault(); moveTo(to); }
  const row = table.rows[table.at - table.from];
  if (event.key === 'Enter' && row) openDetail(row.id);
}

// ------------------------------------------------------------------ topics, nodes

const topicList = { shown: [], total: 0 };
function takeTopics(answer) {
  if (answer.server !== serverOfTable()) return;
  topicList.shown = answer.from === 0 ? answer.topics : topicList.shown.slice(0, answer.from).concat(answer.topics);
  topicList.total = answer.total;
  $('topics-found').textContent = answer.total.toLocaleString('en') + (answer.total === 1 ? ' topic' : ' topics');
  $('more-topics').hidden = topicList.shown.length >= answer.total;
  $('topic-table').tBodies[0].replaceChildren(...topicList.shown.map(([name, count]) => {
    const open = () => { openPanel(); $('detail').dataset.topic = name; say({ op: 'members', server: serverOfTable(), topic: name }); };
    return el('tr', { tabindex: 0, onclick: open, onkeydown: event => { if (event.key === 'Enter') open(); } }, el('td', {}, name), el('td', { class: 'num' }, count.toLocaleString('en')));
  }));
  if (topicList.shown.length === 0) $('topic-table').tBodies[0].append(el('tr', {}, el('td', { class: 'muted', colspan: 2 }, 'No connection subscribes to a topic.')));
}
function askTopics(from) {
  if (serverOfTable()) say({ op: 'topics', server: serverOfTable(), search: $('topic-search').value, from });
}
function takeMembers(answer) {
  if ($('detail').dataset.topic !== answer.topic) return;
  const rows = answer.members.map(member => el('tr', { tabindex: 0, onclick: () => openDetail(member.id), onkeydown: event => { if (event.key === 'Enter') openDetail(member.id); } },
    el('td', {}, shortPeer(member.peer)), el('td', {}, member.path), el('td', {}, member.user)));
  fillPanel('Topic', answer.topic, rows.length === 0 ? el('p', { class: 'muted' }, 'Members of a pattern are not listed.') :
    [el('h2', {}, rows.length === 200 ? 'The first 200 members' : 'Members'), el('div', { class: 'card scroll' }, el('table', {}, el('tbody', {}, rows)))]);
}
function takeNodes(answer) {
  $('nodes').replaceChildren(...answer.nodes.map(node => el('div', { class: 'card node' }, el('h2', {}, node.node, node.here && el('span', { class: 'muted' }, ' · this node')),
    node.answers ? el('dl', { class: 'pairs' }, el('dt', {}, 'Connections'), el('dd', {}, node.connections.toLocaleString('en')), el('dt', {}, 'Engine'), el('dd', {}, node.kind),
      el('dt', {}, 'Memory'), el('dd', {}, joined(asBytes(node.memory))), el('dt', {}, 'Dropped'), el('dd', {}, String(node.dropped)),
      el('dt', {}, 'Servers'), el('dd', {}, node.servers.join(', ') || 'none with scope cluster')) : el('p', { class: 'bad' }, 'gives no answer'))));
}

// ------------------------------------------------------------------ one connection

let before = null;
function openPanel() {
  if ($('detail').hidden) before = document.activeElement;
  $('detail').hidden = false;
}
function fillPanel(kind, title, ...content) {
  const old = $('detail').querySelector('.close'), focused = old && old === document.activeElement || $('detail').childElementCount === 0;
  const close = el('button', { class: 'icon close', 'aria-label': 'Close this panel', onclick: closePanel }, '✕');
  const keep = $('detail').scrollTop;
  $('detail').replaceChildren(el('div', { class: 'top' }, el('div', {}, el('p', { class: 'muted' }, kind), el('h1', {}, title)), close), ...content.flat().filter(Boolean));
  $('detail').scrollTop = keep;
  if (focused) close.focus();
}
function closePanel() {
  if ($('detail').hidden) return;
  $('detail').hidden = true;
  $('detail').replaceChildren();
  delete $('detail').dataset.conn; delete $('detail').dataset.topic;
  say({ op: 'detail', conn: null });
  if (before && before.isConnected) before.focus();
}
function openDetail(conn) {
  openPanel();
  delete $('detail').dataset.topic;
  $('detail').dataset.conn = conn;
  say({ op: 'detail', conn });
}
function takeDetail({ conn, facts }) {
  if ($('detail').dataset.conn !== conn) return;
  if (facts === 'closed') { fillPanel('Connection ' + conn, 'closed', el('p', { class: 'muted' }, 'This connection has ended.')); return; }
  const active = facts.active === true ? 'true' : facts.active === false ? 'false: not read' : String(facts.active);
  const cells = [['Age', asAge(facts.age)], ['Messages in', facts.frames_in.toLocaleString('en')], ['Credits', active], ['Queued', joined(asBytes(facts.send_queue))],
    ['Held', joined(asBytes(facts.held))], ['Compression', facts.deflate ? 'yes' : 'no'], ['HTTP', facts.http], ['TLS', facts.tls || 'no'], ['Subprotocol', facts.subprotocol || 'none']];
  const pairs = [['user', facts.user_data || '–'], ['path', facts.path], ['query', facts.query === 0 ? '–' : facts.query + ' bytes, not shown'], ['local', facts.local],
    ['last error', facts.error ? facts.error.what + ' at ' + new Date(facts.error.at).toLocaleString() : 'none in the log']];
  const framesBox = facts.frames && facts.frames.length > 0 ? drawFrames(facts.frames) : el('p', { class: 'muted' }, 'Nothing came or went since this panel is open.');
  fillPanel('Connection ' + conn, shortPeer(facts.peer),
    el('dl', { class: 'facts' }, cells.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', { title: value }, value)))),
    el('div', { class: 'acts' }, el('button', { class: 'btn danger', id: 'kick', onclick: () => askClose(conn, facts.peer) }, 'Close…'),
      el('button', { class: 'btn', id: 'set-active', onclick: () => askActive(conn, facts.peer) }, 'Set active…')),
    el('h2', {}, 'About'), el('dl', { class: 'pairs' }, pairs.map(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]).flat()),
    facts.frames === undefined ? null : [el('h2', {}, 'Last 20 frames'), framesBox],
    el('h2', {}, 'Topics (' + facts.subscriptions + ')'), el('div', { class: 'chips' }, facts.topics.length ? facts.topics.map(topic => el('span', { class: 'chip' }, topic)) : el('span', { class: 'muted' }, 'none')),
    el('h2', {}, 'Headers'), facts.headers.length ? el('dl', { class: 'pairs', id: 'headers' }, facts.headers.map(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]).flat())
      : el('p', { class: 'muted' }, 'Not kept: its server has no dashboard of its own.'));
}
function drawFrames(frames) {
  const largest = Math.max(1, ...frames.map(([, , size]) => size));
  return el('div', {}, el('div', { class: 'frames', role: 'img', 'aria-label': 'Sizes: ' + frames.map(frame => frame.join(' ')).join(', ') },
    frames.map(([way, kind, size]) => { const bar = el('span', { class: way === 'in' ? 'c1' : 'c0', title: way + ' ' + kind + ', ' + joined(asBytes(size)) });
      bar.style.height = Math.max(3, 100 * size / largest) + '%'; return bar; })),
    el('p', { class: 'muted' }, el('span', { class: 'key c1' }, el('i'), 'in'), ' ', el('span', { class: 'key c0' }, el('i'), 'out'), ' · largest ' + joined(asBytes(largest))));
}

function confirmFirst(title, text, fields, word, act) {
  const box = $('confirm'), cancel = el('button', { class: 'btn', type: 'button', onclick: () => box.close() }, 'Cancel');
  box.replaceChildren(el('form', { method: 'dialog', onsubmit: event => { event.preventDefault(); box.close(); act(); } },
    el('h1', { id: 'confirm-title' }, title), el('p', { class: 'muted' }, text), fields,
    el('div', { class: 'acts' }, cancel, el('button', { class: 'btn main', id: 'sure' }, word))));
  box.showModal();
  cancel.focus();
}
function askClose(conn, peer) {
  const code = el('select', { id: 'code' }, [[1008, 'policy violation'], [1000, 'normal'], [1001, 'going away'], [1012, 'service restart'], [1013, 'try again later']]
    .map(([number, name]) => el('option', { value: number }, number + ' ' + name)));
  confirmFirst('Close this connection?', peer + ' gets a Close frame, and its handler hears of the end.', el('label', {}, 'Code', code), 'Close it',
    () => say({ op: 'close', conn, code: Number(code.value) }));
}
function askActive(conn, peer) {
  const active = el('select', { id: 'active' }, [['true', 'true: read without limit'], ['false', 'false: read nothing more'], ['1', '1 message more'], ['100', '100 messages more'], ['1000', '1,000 messages more']]
    .map(([value, name]) => el('option', { value }, name)));
  confirmFirst('Set active of this connection?', 'How many messages ' + peer + ' may still deliver. Its handler may set it again.', el('label', {}, 'active', active), 'Set it',
    () => say({ op: 'active', conn, active: JSON.parse(active.value) }));
}
"/utf8>>).
