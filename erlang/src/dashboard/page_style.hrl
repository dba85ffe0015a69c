%% The style of the page. No double quote and no backslash: it is one string of Erlang.
-define(STYLE, <<"
:root { --bg: #f4f5f7; --card: #fff; --raised: #fff; --ink: #17202a; --muted: #5a6673; --faint: #8a95a1; --line: #e1e5ea;
  --grid: #edf0f3; --hover: #f3f6f9; --accent: #c93a1f; --accent-ink: #fff; --good: #1c8a5a; --bad: #c0281c; --focus: #2f6fb5;
  --s0: #d2492d; --s1: #2f6fb5; --s2: #1d9384; --s3: #c98713; --s4: #7b57a8; --s5: #7f8b97;
  --shadow: 0 1px 2px rgb(20 30 40 / 6%), 0 4px 14px rgb(20 30 40 / 5%); --row: 36px; color-scheme: light; }
:root[data-theme=dark] { --bg: #0d1219; --card: #151c25; --raised: #1b2430; --ink: #e7edf3; --muted: #93a1af; --faint: #6b7885; --line: #242f3b;
  --grid: #1f2833; --hover: #1b2531; --accent: #ff7d5e; --accent-ink: #23110b; --good: #4bc98f; --bad: #ff8674; --focus: #6cb0ff;
  --s0: #ff7d5e; --s1: #6cb0ff; --s2: #4fcfbf; --s3: #f0b955; --s4: #b696f4; --s5: #8c99a6;
  --shadow: 0 1px 2px rgb(0 0 0 / 35%); color-scheme: dark; }
* { box-sizing: border-box; }
html { height: 100%; }
body { margin: 0; min-height: 100%; background: var(--bg); color: var(--ink);
  font: 14px/1.45 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif; }
h1, h2, h3, p, dl, dd { margin: 0; }
h2 { font-size: 13px; font-weight: 600; }
button, input, select { font: inherit; color: inherit; }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 1px; }
[hidden] { display: none !important; }
.mono, td.num, .num, .peer { font-variant-numeric: tabular-nums; }
.muted { color: var(--muted); }
header { position: sticky; top: 0; z-index: 5; display: flex; align-items: center; gap: 8px 18px; padding: 10px 22px; background: var(--card);
  border-bottom: 1px solid var(--line); flex-wrap: wrap; }
.brand { display: flex; align-items: center; gap: 9px; font-size: 16px; font-weight: 650; letter-spacing: -.01em; }
.brand svg { width: 26px; height: 26px; color: var(--accent); flex: none; }
.where { color: var(--muted); font-size: 13px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 34ch; }
nav { display: flex; gap: 2px; margin-left: 4px; }
nav button { border: 0; background: none; padding: 6px 12px; border-radius: 8px; color: var(--muted); cursor: pointer; font-weight: 550; }
nav button:hover { background: var(--hover); color: var(--ink); }
nav button[aria-selected=true] { background: color-mix(in srgb, var(--accent) 12%, transparent); color: var(--accent); }
.space { flex: 1; }
.status { display: inline-flex; align-items: center; gap: 7px; font-size: 13px; color: var(--muted); white-space: nowrap; }
.status i { width: 8px; height: 8px; border-radius: 50%; background: var(--faint); }
.status.live i { background: var(--good); box-shadow: 0 0 0 3px color-mix(in srgb, var(--good) 20%, transparent); }
.status.lost i { background: var(--bad); }
select, input[type=search], input[type=password], input[type=number] { background: var(--bg); border: 1px solid var(--line); border-radius: 8px;
  padding: 6px 10px; min-width: 0; }
.icon { border: 1px solid var(--line); background: none; border-radius: 8px; width: 34px; height: 34px; padding: 0; cursor: pointer; display: grid; place-items: center; }
.icon:hover { background: var(--hover); }
.icon svg { width: 17px; height: 17px; }
main { max-width: 1560px; margin: 0 auto; padding: 18px 22px 24px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-bottom: 14px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 12px 14px; box-shadow: var(--shadow); min-width: 0; }
.tile dt { color: var(--muted); font-size: 12.5px; }
.tile dd { font-size: 24px; font-weight: 620; letter-spacing: -.02em; font-variant-numeric: tabular-nums; line-height: 1.3; white-space: nowrap; }
.tile small { font-size: 12.5px; font-weight: 500; color: var(--muted); letter-spacing: 0; margin-left: 3px; }
.tile p { color: var(--faint); font-size: 12px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 14px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; box-shadow: var(--shadow); min-width: 0; }
.plot { padding: 12px 14px 8px; display: flex; flex-direction: column; }
.plot .top { display: flex; align-items: baseline; gap: 4px 12px; flex-wrap: wrap; min-height: 24px; align-content: flex-start; }
.plot h2 { margin-right: auto; }
.bar-keys { display: inline-flex; flex-wrap: wrap; gap: 0 12px; justify-content: flex-end; }
.key { display: inline-flex; align-items: center; gap: 5px; font-size: 12.5px; color: var(--muted); white-space: nowrap; }
.key i { width: 9px; height: 9px; border-radius: 3px; background: var(--c); flex: none; }
.key b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.drawn { position: relative; flex: 1; min-height: 150px; }
.plot canvas { position: absolute; inset: 0; width: 100%; height: 100%; cursor: crosshair; border-radius: 6px; }
.c0 { --c: var(--s0); } .c1 { --c: var(--s1); } .c2 { --c: var(--s2); } .c3 { --c: var(--s3); } .c4 { --c: var(--s4); } .c5 { --c: var(--s5); }
.section { margin-top: 18px; }
.bar { display: flex; align-items: center; gap: 10px; padding: 12px 14px; flex-wrap: wrap; }
.bar input[type=search] { flex: 1 1 240px; max-width: 460px; }
.scroll { overflow: auto; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 550; font-size: 12.5px; color: var(--muted); padding: 8px 14px; border-bottom: 1px solid var(--line); white-space: nowrap; }
td { padding: 9px 14px; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
th.num, td.num { text-align: right; }
tbody tr[tabindex] { cursor: pointer; }
tbody tr[tabindex]:hover { background: var(--hover); }
.bad { color: var(--bad); }
.grid { display: flex; flex-direction: column; height: calc(100vh - 112px); min-height: 320px; }
.heads, .line { display: grid; grid-template-columns: minmax(170px, 1.5fr) minmax(110px, 1.4fr) minmax(90px, 1.1fr) 92px 92px 84px 96px 88px; column-gap: 12px; padding: 0 14px; }
.heads { border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
.heads button { border: 0; background: none; padding: 9px 0; text-align: inherit; font-size: 12.5px; font-weight: 550; color: var(--muted); cursor: pointer; white-space: nowrap; }
.heads button:hover { color: var(--ink); }
.heads [aria-sort=ascending] button::after { content: ' ↑'; color: var(--accent); }
.heads [aria-sort=descending] button::after { content: ' ↓'; color: var(--accent); }
.heads .num, .line .num { text-align: right; }
.heads { overflow-y: scroll; scrollbar-width: thin; scrollbar-color: transparent transparent; }
.rows { flex: 1; overflow-y: scroll; scrollbar-width: thin; position: relative; outline-offset: -2px; overscroll-behavior: contain; }
.rows > div { position: relative; }
.line { position: absolute; left: 0; right: 0; height: var(--row); align-items: center; border-bottom: 1px solid var(--grid); cursor: pointer; }
.line > span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.line:hover { background: var(--hover); }
.line.at { background: color-mix(in srgb, var(--focus) 12%, transparent); }
.line .none, .none { color: var(--faint); }
.line .peer { font-weight: 550; }
.empty { padding: 44px 20px; text-align: center; color: var(--muted); }
aside { position: fixed; inset: 0 0 0 auto; width: min(520px, 100vw); background: var(--raised); border-left: 1px solid var(--line); box-shadow: -12px 0 40px rgb(0 0 0 / 14%);
  z-index: 10; overflow-y: auto; padding: 18px 20px 30px; }
aside .top { display: flex; gap: 10px; align-items: flex-start; margin-bottom: 12px; }
aside .top > div { flex: 1; min-width: 0; }
aside h1 { font-size: 19px; letter-spacing: -.015em; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
aside h2 { margin: 20px 0 7px; color: var(--muted); font-weight: 600; }
.facts { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1px; background: var(--line); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.facts div { background: var(--card); padding: 8px 11px; min-width: 0; }
.facts dt { font-size: 12px; color: var(--muted); }
.facts dd { font-weight: 600; overflow: hidden; text-overflow: ellipsis; font-variant-numeric: tabular-nums; }
.pairs { display: grid; grid-template-columns: minmax(90px, auto) 1fr; gap: 5px 14px; font-size: 13px; }
.pairs dt { color: var(--muted); overflow-wrap: anywhere; }
.pairs dd { overflow-wrap: anywhere; font-family: ui-monospace, 'Cascadia Mono', 'DejaVu Sans Mono', Menlo, monospace; font-size: 12.5px; }
.chips { display: flex; flex-wrap: wrap; gap: 6px; }
.chip { background: var(--hover); border: 1px solid var(--line); border-radius: 999px; padding: 2px 10px; font-size: 12.5px; max-width: 100%; overflow-wrap: anywhere; }
.frames { display: flex; align-items: flex-end; gap: 3px; height: 74px; padding: 6px; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
.frames span { flex: 1; min-width: 2px; border-radius: 2px 2px 0 0; background: var(--c); max-width: 22px; }
.acts { display: flex; gap: 10px; margin-top: 22px; flex-wrap: wrap; }
.btn { border: 1px solid var(--line); background: var(--card); border-radius: 9px; padding: 8px 15px; cursor: pointer; font-weight: 560; }
.btn:hover { background: var(--hover); }
.btn.main { background: var(--accent); border-color: var(--accent); color: var(--accent-ink); }
.btn.danger { color: var(--bad); border-color: color-mix(in srgb, var(--bad) 45%, var(--line)); }
.btn:disabled { opacity: .5; cursor: default; }
dialog { border: 1px solid var(--line); border-radius: 14px; background: var(--raised); color: inherit; padding: 22px; width: min(430px, calc(100vw - 32px)); box-shadow: 0 20px 60px rgb(0 0 0 / 30%); }
dialog::backdrop { background: rgb(10 15 20 / 45%); }
dialog h1 { font-size: 17px; margin-bottom: 8px; }
dialog label { display: block; margin-top: 12px; font-size: 13px; color: var(--muted); }
dialog select, dialog input { width: 100%; margin-top: 4px; color: var(--ink); }
dialog .acts { justify-content: flex-end; margin-top: 20px; }
.login { max-width: 400px; margin: 14vh auto 0; padding: 26px; }
.login h1 { font-size: 19px; margin-bottom: 6px; }
.login input { width: 100%; margin: 14px 0 10px; padding: 9px 12px; }
.login .btn { width: 100%; }
.toast { position: fixed; left: 50%; bottom: 24px; transform: translateX(-50%); background: var(--ink); color: var(--bg); border-radius: 10px; padding: 9px 16px; z-index: 20; max-width: calc(100vw - 32px); }
.nodes { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 14px; }
.node { padding: 14px 16px; }
.node h2 { font-size: 14.5px; overflow-wrap: anywhere; margin-bottom: 8px; }
.keys { margin-top: 26px; color: var(--faint); font-size: 12.5px; text-align: center; }
kbd { font: inherit; font-size: 12px; border: 1px solid var(--line); border-bottom-width: 2px; border-radius: 5px; padding: 0 5px; background: var(--card); color: var(--muted); }
.hint { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (max-width: 1100px) { .heads, .line { grid-template-columns: minmax(160px, 1.4fr) minmax(100px, 1.2fr) minmax(80px, 1fr) 84px 84px 92px; } .held, .credits { display: none; } }
@media (max-width: 720px) {
  :root { --row: 58px; }
  header { padding: 8px 14px; gap: 6px 10px; }
  .where, .status span { display: none; }
  nav { order: 5; width: 100%; margin: 0; }
  nav button { flex: 1; padding: 7px 4px; }
  main { padding: 12px 12px 30px; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: 8px; }
  .tile { padding: 9px 12px; }
  .tile dd { font-size: 20px; }
  .plots { gap: 10px; }
  .drawn { min-height: 128px; }
  .grid { height: calc(100vh - 150px); }
  .heads { grid-template-columns: 1fr auto auto; }
  .heads .path, .heads .user, .heads .messages { display: none; }
  .line { grid-template-columns: 1fr auto; grid-template-rows: auto auto; align-content: center; row-gap: 1px; }
  .line .user { grid-row: 2; grid-column: 1; }
  .line .path, .line .messages { display: none; }
  .line .age { grid-row: 1; grid-column: 2; }
  .line .queued { grid-row: 2; grid-column: 2; }
  .line .user, .line .age, .line .queued { font-size: 12.5px; color: var(--muted); }
  .facts { grid-template-columns: repeat(2, 1fr); }
  .keys { display: none; }
  #server { max-width: 40vw; }
}
@media (prefers-reduced-motion: no-preference) { aside { animation: in .16s ease-out; } @keyframes in { from { transform: translateX(24px); opacity: 0; } } }
"/utf8>>).
