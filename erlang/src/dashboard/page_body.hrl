%% What stands in the page before the script fills it. No double quote and no backslash: it is one string of Erlang.
-define(BODY, <<"
<header>
  <div class=brand><svg viewBox='0 0 26 26' fill=none stroke=currentColor stroke-width=2 stroke-linecap=round stroke-linejoin=round aria-hidden=true>
    <path d='M2.5 13.5c3-5 7-7 11-7 4.2 0 7.5 2.700 10 6.500-2.5 3.800-5.800 6.500-10 6.500-4 0-8-2-11-6Z'/><path d='m2.5 8.500 3 4.700-3 4.800'/><circle cx=18.5 cy=12 r=1.2 fill=currentColor stroke=none /></svg>Sockeye</div>
  <div class=where id=where></div>
  <nav role=tablist aria-label=Views>
    <button role=tab id=tab-overview aria-controls=overview>Overview</button>
    <button role=tab id=tab-connections aria-controls=connections>Connections</button>
    <button role=tab id=tab-topics aria-controls=topics>Topics</button>
    <button role=tab id=tab-cluster aria-controls=cluster>Cluster</button>
  </nav>
  <div class=space></div>
  <div class=status id=status role=status><i></i><span>Connecting</span></div>
  <select id=server aria-label=Server></select>
  <button class=icon id=theme aria-label='Light or dark'><svg viewBox='0 0 20 20' fill=none stroke=currentColor stroke-width=1.6 aria-hidden=true><circle cx=10 cy=10 r=7 /><path d='M10 3a7 7 0 0 1 0 14Z' fill=currentColor stroke=none /></svg></button>
</header>
<main>
  <section id=overview role=tabpanel aria-labelledby=tab-overview>
    <dl class=tiles id=tiles></dl>
    <div class=plots id=plots></div>
    <div class='card section scroll'><table id=servers><caption class=hint>Servers</caption><thead></thead><tbody></tbody></table></div>
    <p class=keys><kbd>1</kbd> to <kbd>4</kbd> views, <kbd>/</kbd> search, <kbd>↑</kbd> <kbd>↓</kbd> <kbd>Enter</kbd> rows, <kbd>←</kbd> <kbd>→</kbd> in a plot, <kbd>Esc</kbd> back, <kbd>d</kbd> light or dark</p>
  </section>
  <section id=connections role=tabpanel aria-labelledby=tab-connections hidden>
    <div class='card grid'>
      <div class=bar><input type=search id=search placeholder='Peer, path or user' aria-label='Search connections' maxlength=100 autocomplete=off spellcheck=false>
        <span class=muted id=found role=status></span></div>
      <div role=grid aria-label=Connections id=grid class=grid-role>
        <div class=heads role=row id=heads></div>
      </div>
      <div class=rows id=rows tabindex=0 aria-label='Rows: arrows move, Enter opens'><div id=lines></div></div>
    </div>
  </section>
  <section id=topics role=tabpanel aria-labelledby=tab-topics hidden>
    <div class=card>
      <div class=bar><input type=search id=topic-search placeholder=Topic aria-label='Search topics' maxlength=100 autocomplete=off spellcheck=false>
        <span class=muted id=topics-found role=status></span></div>
      <div class=scroll><table id=topic-table><thead><tr><th>Topic<th class=num>Members</thead><tbody></tbody></table></div>
      <div class=bar id=more-topics hidden><button class=btn>More</button></div>
    </div>
  </section>
  <section id=cluster role=tabpanel aria-labelledby=tab-cluster hidden><div class=nodes id=nodes></div></section>
</main>
<form class='card login' id=login hidden><h1>Sockeye</h1><p class=muted>This dashboard asks for its token.</p>
  <input type=password id=token aria-label=Token autocomplete=off spellcheck=false><button class='btn main'>Open</button><p class=bad id=wrong role=alert></p></form>
<aside id=detail aria-label='One connection' hidden></aside>
<dialog id=confirm aria-labelledby=confirm-title></dialog>
<div class=toast id=toast role=status hidden></div>
"/utf8>>).
