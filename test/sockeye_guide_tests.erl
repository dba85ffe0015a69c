%% Every code block of the READMEs and the guide is run, by a reader who goes through each page from its top.
%%
%% - An Erlang module is saved, compiled without a warning, and loaded.
%% - What stands behind prompts is typed into a shell of OTP, and what it prints is compared. `1>' begins
%%   a new shell and ends the one before, other numbers go on in it.
%% - A block with a file's name in its opening line is saved under it.
%% - The lines of a block of `sh' are run. `rebar3 shell' ends the shell before, compiles the project, and starts its applications
%%   in this node, as rebar.config says; a page that has it says it before each `1>'.
%%
%% What is not run stands in not_run/0, each with its reason; a block that is neither fails.
%%
%% The examples in the manual of each public module (edoc) are run the same way, each in a shell of its own in which a
%% server has a client already, where the example does not begin with one.
-module(sockeye_guide_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-needs(codec).

-import(doc_page, [page/1, pages/0, others/0, wildcards/1]).
-import(test_support, [free_port/0]).

-define(SECONDS, 300).

%% Page, first line, why.
not_run() ->
    [{"README.md", "make run     # a demo server on 127.0.0.1:19765, with an Erlang shell",
      "a shell that waits for a person, and the test that runs this one; the targets are looked up"},
     {"README.md", "{deps, [{sockeye, {git, \"URL-OF-THIS-REPOSITORY\", {branch, \"main\"}}}]}.",
      "there is no such address; `make install-modes' depends on Sockeye in this way"},
     {"README.md", "{:sockeye, git: \"URL-OF-THIS-REPOSITORY\", branch: \"main\"}",
      "there is no such address; `make install-modes' depends on Sockeye in this way"},
     {"erlang/guide/crash.md", "readelf -n priv/sockeye_nif.so | grep 'Build ID'",
      "needs a build of one's own with symbols; `make install-modes' compares the two and reads an address"},
     {"erlang/guide/crash.md", "addr2line -Cfie target/release/libsockeye_nif.so 0x1234ab", "as above"},
     {"erlang/guide/crash.md", "gdb $(erl -noshell -eval 'io:put_chars(code:root_dir()), halt().')/erts-*/bin/beam.smp core",
      "needs a core file"},
     {"erlang/guide/production/certificates.md",
      "/srv/chat/bin/chat eval 'sockeye:reload_tls(chat_server).'   # relx; mix: bin/chat rpc ':sockeye.reload_tls(:chat_server)'",
      "needs a release with a name; sockeye_recipes_tests reloads in the other way"},
     {"erlang/guide/log.md", "=NOTICE REPORT==== 29-Nov-2026::05:00:00.000000 ===",
      "an example of a log; sockeye_log_seen_tests compares what a node prints"},
     {"bench/README.md", "make bench                   # every question below, medians of 5 runs; writes NUMBERS.md, the plots, and the README's table; over an hour",
      "takes hours"},
     {"bench/README.md", "bench/run --own 'python3 echo.py {port}' --servers sockeye-one,sockeye-each --sizes 64,1024   # JSON echo",
      "needs a server of the reader's, and minutes"},
     {"bench/README.md", "mkdir newer; for app in cowboy ranch cowlib; do git clone -q https://github.com/ninenines/$app newer/$app; done   # check out the versions that cowboy's Makefile names",
      "needs an address outside of this machine"},
     {"bench/README.md", "git clone -q --recurse-submodules https://github.com/uNetworking/uWebSockets && bench/peers/uws/build uWebSockets   # prints the program's path",
      "as above"},
     {"examples/chat/README.md", "make chat          # http://127.0.0.1:8080/, with an Erlang shell",
      "a shell that waits for a person; sockeye_chat_tests and test/peers talk to the chat"},
     {"examples/chat/README.md", "examples/chat/run_chat.sh --name a@127.0.0.1 --port 8080", "as above"},
     {"examples/client/README.md", "1> c(\"examples/client/follower\").",
      "it prints whenever something happens, between any two lines"},
     {"examples/erlpy/README.md", "./run_erl_app.sh                  # the server, with an Erlang shell",
      "a shell that waits for a person; test/peers runs both"},
     {"examples/erlpy/README.md", "1> sockeye:send_message(19765, #{type => <<\"notification\">>, message => <<\"Hello!\">>}).",
      "typed into the shell of the demo; test/peers sends it"}].

pages_test_() ->
    [{timeout, seconds(), {Page, fun() -> read(Page, page(Page)) end}} || Page <- pages()].

%% A block that has gone, or has changed, is none to leave out.
nothing_is_left_out_twice_test() ->
    All = [{Page, first_line(Block)} || Page <- pages(), Block <- doc_page:blocks(page(Page))],
    ?assertEqual([], [{Page, Line} || {Page, Line, _} <- not_run()] -- All).

manuals_test_() ->
    [{timeout, seconds(), {Module, fun() -> read(Module, manual(Module)) end}} || Module <- modules()].

modules() ->
    [atom_to_list(Module) || Module <- [sockeye_handler, sockeye, sockeye_client, sockeye_json, sockeye_codec,
                                        sockeye_pubsub, sockeye_presence, sockeye_websock, sockeye_test, sockeye_test_client]].

%% A page of the examples in a module's comments.
manual(Module) ->
    [File] = wildcards(["erlang/**/" ++ Module ++ ".erl"]),
    {match, Found} = re:run(page(File), "^%+ ```\n((?:%+.*\n)*?)%+ \'\'\'$", [global, multiline, unicode, {capture, [1], list}]),
    %% Handlers that they speak of.
    Hello = case Module of
                "sockeye_handler" -> [];
                _ -> [hd(string:split(manual("sockeye_handler"), "```\n```")), "```\n"]
            end,
    lists:flatten([Hello | [["```erlang\n", example(re:replace(Text, "^%+ ?", "", [global, multiline, unicode, {return, list}])), "```\n"]
                            || [Text] <- Found]]).

example("1> " ++ _ = Text) ->
    StartsTest = string:find(Text, "sockeye_test:start(") =/= nomatch,
    case re:run(Text, "start_link\\(|connect\\(|sockeye_json:|sockeye_codec:|(sockeye_test\\w*:)", [{capture, all_but_first, list}]) of
        {match, ["sockeye_test:"]} when not StartsTest ->
            ["1> {ok, Test} = sockeye_test:start(#{handler => {reminder, <<\"Tea\">>}}).\n{ok,...}\n"
             "2> {ok, Conn} = sockeye_test:open(Test).\n{ok,...}\n", renumbered(Text, 2)];
        {match, ["sockeye_test_client:"]} ->
            ["1> {ok, Server} = sockeye:start_link(#{port => 8080}).\n{ok,...}\n"
             "2> {ok, Socket} = sockeye_test_client:connect(8080).\n{ok,...}\n", renumbered(Text, 2)];
        {match, _} -> Text;
        nomatch -> [server(string:find(Text, "reload_tls")), renumbered(Text, 7)]
    end;
example("-module" ++ _ = Text) ->
    Text;
%% Clauses of a module.
example(Text) ->
    ["-module(clauses).\n-compile([export_all, nowarn_export_all]).\n", Text].

%% What an example finds in its shell.
server(Tls) ->
    More = case Tls of
               nomatch -> "";
               _ -> ", tls => #{certfile => \"example.pem\", keyfile => \"example.key\"}"
           end,
    Url = case Tls of
              nomatch -> "\"ws://127.0.0.1:8080/\"";
              _ -> "\"wss://127.0.0.1:8080/\", #{tls => #{verify => verify_none}}"
          end,
    ["1> {ok, Server} = sockeye:start_link(#{port => 8080, name => my_server, handler => self()", More, "}).\n{ok,...}\n"
     "2> Open = fun() -> {ok, Client} = sockeye_client:connect(", Url, "),\n"
     "                    receive {sockeye, New, {open, _}} when New =/= Client -> {Client, New} end end.\n#Fun<...>\n"
     "3> {Client, Conn} = Open().\n{...}\n"
     "4> {Other, Gone} = Open().\n{...}\n"
     "5> sockeye_client:close(Other).\nok\n"
     "6> receive {sockeye, Gone, {closed, _, _}} -> flush() end.\n...\n"
     "7> Jpeg = <<255, 216>>.\n<<\"ÿØ\">>\n"].

renumbered(Text, By) ->
    lists:foldl(fun(N, T) -> re:replace(T, ["^", integer_to_list(N), "> "], [integer_to_list(N + By), "> "], [multiline, unicode, {return, list}]) end,
                Text, lists:seq(9, 1, -1)).

examples_compile_test_() ->
    [{File, fun() -> ?assertMatch({ok, _, _, []}, compile:file(filename:join(test_support:root(), File), [binary, return])) end}
     || File <- wildcards(["examples/**/*.erl"])].

%% ---------------------------------------------------------------- links

%% Each link to a file of ours leads to one, and to a heading of it. (`make docs' has a second opinion.)
links_test_() ->
    All = doc_page:all(),
    [?_assertEqual([], (pages() ++ others()) -- All)
     | [{Page, fun() -> ?assertEqual([], [Link || Link <- links(page(Page)), not leads(filename:dirname(Page), Page, Link)]) end} || Page <- All]].

links(Text) ->
    case re:run(Text, "\\]\\(([^)\\s]+)\\)", [global, unicode, {capture, all_but_first, list}]) of
        {match, Found} -> [Link || [Link] <- Found, string:find(Link, "://") =:= nomatch];
        nomatch -> []
    end.

leads(Dir, Page, Link) ->
    {File, Heading} = case string:split(Link, "#") of
                          ["", H] -> {Page, H};
                          [F, H] -> {filename:join(Dir, F), H};
                          [F] -> {filename:join(Dir, F), none}
                      end,
    Path = filename:join(test_support:root(), File),
    filelib:is_file(Path) andalso
        (Heading =:= none orelse
         lists:member(Heading, [slug(Line) || "#" ++ Line <- string:split(page(File), "\n", all)])).

%% As GitHub makes them.
slug(Line) ->
    Words = re:replace(string:lowercase(string:trim(Line, leading, "# ")), "[^\\w -]", "", [global, unicode, {return, list}]),
    lists:flatten(string:replace(Words, " ", "-", all)).

links_that_lead_nowhere_test() ->
    ?assertEqual(["none.md", "README.md#nothing", "#none"],
                 [Link || Link <- links("[a](README.md) [b](none.md) [c](README.md#install) [d](README.md#nothing) [e](#none)"
                                        " [f](https://rustup.rs)"),
                          not leads(".", "README.md", Link)]).

%% Each crate that is used has its reason in one line.
dependencies_test() ->
    Reasons = page("docs/decisions/dependencies.md"),
    Crates = [Crate || Toml <- filelib:wildcard(filename:join(test_support:root(), "native/*/Cargo.toml")),
                       {ok, Text} <- [file:read_file(Toml)],
                       Crate <- crates(unicode:characters_to_list(Text))],
    ?assert(length(Crates) > 20),
    ?assertEqual([], [Crate || Crate <- lists:usort(Crates),
                               re:run(Reasons, ["\\b\\Q", Crate, "\\E\\b"]) =:= nomatch]).

%% The names in the sections of dependencies, but for our own.
crates(Text) ->
    Sections = string:split("\n" ++ Text, "\n[", all),
    [Crate || Section <- Sections, re:run(Section, "^(dev-|build-)?dependencies\\]") =/= nomatch,
              Line <- tl(string:split(Section, "\n", all)),
              {match, [Crate]} <- [re:run(Line, "^([\\w-]+)[ .]", [{capture, all_but_first, list}])],
              string:prefix(Crate, "sockeye") =:= nomatch].

%% ---------------------------------------------------------------- these tests find what is wrong

wrong_pages_test_() ->
    [{Title, fun() -> ?assertError({"a page", line, _, _}, read("a page", Page)) end}
     || {Title, Page} <-
            [{"another answer", "```erlang\n1> 1 + 1.\n3\n```\n"},
             {"no answer", "```erlang\n1> 1 + 1.\n```\n"},
             {"half an answer", "```erlang\n1> [1, 2].\n[1,2\n```\n"},
             {"an answer that goes on", "```erlang\n1> {ok, self()}.\n{ok,<0.1.0>}\nok\n```\n"},
             {"a function that is not there", "```erlang\n1> sockeye:nothing().\nok\n```\n"},
             {"an exception, shown as a result", "```erlang\n1> error(oops).\noops\n```\n"},
             {"a number that was left out", "```erlang\n1> 1.\n1\n3> 1.\n1\n```\n"},
             {"a shell that was never begun", "```erlang\n2> 1.\n1\n```\n"},
             {"a variable of another shell", "```erlang\n1> A = 1.\n1\n```\n\n```erlang\n1> A.\n1\n```\n"},
             {"a module with a mistake", "```erlang\n-module(docs_wrong).\n-export([f/0]).\nf() -> X.\n```\n"},
             {"a module with a warning", "```erlang\n-module(docs_wrong).\n-export([f/1]).\nf(X) -> ok.\n```\n"},
             {"a callback that is missing", "```erlang\n-module(docs_wrong).\n-behaviour(sockeye_handler).\n-export([init/1]).\n"
                                            "init(_) -> {ok, 1}.\n```\n"},
             {"a mistake in a program of others", "```erlang theirs/docs_wrong.erl\n-module(docs_wrong).\n-export([f/1]).\nf(X) -> ok.\n```\n"},
             {"a command that fails", "```sh\ntrue\nfalse\n```\n"},
             {"a command that is none", "```sh\nno-such-program-here\n```\n"},
             {"a piece of a module", "```erlang\nf() -> ok.\n```\n"},
             {"a language that nobody speaks", "```klingon\nnuqneH\n```\n"},
             {"no language", "```\n1> 1.\n```\n"}]].

a_block_without_an_end_test() ->
    ?assertError({block_without_end, 2}, doc_page:blocks("A page\n```erlang\n1> 1.\n1\n")).

right_pages_test_() ->
    [{Title, fun() -> read("a page", Page) end}
     || {Title, Page} <-
            [{"pids, connections, dots", "```erlang\n1> {self(), {sockeye_conn, 77}, lists:seq(1, 9)}.\n"
                                         "{<0.1.0>,{sockeye_conn,5},[1,2,...,9]}\n```\n"},
             {"an expression of two lines", "```erlang\n1> lists:sum(\n       [1, 2]).\n3\n```\n"},
             {"what is printed besides", "```erlang\n1> self() ! hello.\nhello\n2> flush().\nShell got hello\nok\n```\n"},
             {"an exception that is shown", "```erlang\n1> error(oops).\n** exception error: oops\n```\n"},
             {"two blocks, one shell", "```erlang\n1> A = 1.\n1\n```\nand\n```erlang\n2> A + 1.\n2\n```\n"},
             {"a module and its use", "```erlang\n-module(docs_right).\n-export([f/0]).\nf() -> ok.\n```\n```erlang\n1> docs_right:f().\nok\n```\n"},
             {"a file and a command", "```text a/b.txt\nhello\n```\n```sh\ngrep -q hello a/b.txt   # it is there\n```\n"}]].

%% ---------------------------------------------------------------- the reader

read(Page, Text) ->
    {ok, Before} = file:get_cwd(),
    Home = filename:join(filename:basedir(user_cache, "sockeye"), "guide-" ++ os:getpid()),
    ok = filelib:ensure_dir(filename:join(Home, "x")),
    Logging = logger:get_config(),
    {ok, _} = application:ensure_all_started(sockeye),
    {ok, Started} = application:ensure_all_started(inets),
    {ok, #{servers := Servers}} = sockeye:info(),
    put(reader, []),
    try
        ok = file:set_cwd(Home),
        ok = prepare(Page),
        Ports = [{Port, integer_to_list(free_port())} || Port <- ["8080", "8081", "8443"]],
        lists:foldl(fun(Block, Reader) ->
                        try block(Block, Reader)
                        catch Class:Why:Stack ->
                            erlang:raise(Class, {Page, line, maps:get(line, Block), Why}, Stack)
                        end
                    end, #{page => Page, ports => Ports, shell => none, next => none, servers => Servers, project => false}, doc_page:blocks(Text))
    after
        test_support:quiet(fun() ->
            [undo(What) || What <- erase(reader)],
            ok = until_servers(Servers, 500)
        end),
        ok = file:set_cwd(Before),
        [application:stop(App) || App <- lists:reverse(Started)],
        restore(Logging),
        ok = file:del_dir_r(Home)
    end.

%% To be undone at the end of the page, the last one first.
later(What) ->
    put(reader, [What | get(reader)]).

undo({shell, Shell}) ->
    doc_shell:stop(Shell);
undo({application, App}) ->
    _ = application:stop(App),
    {ok, Modules} = application:get_key(App, modules),
    ok = application:unload(App),
    [undo({module, Module}) || Module <- Modules],
    code:del_path(App);
undo({module, Module}) ->
    _ = code:purge(Module),
    _ = code:delete(Module),
    code:purge(Module).

%% What a shell has started ends with it, in its own time.
until_servers(N, Tries) ->
    case sockeye:info() of
        {ok, #{servers := N}} -> ok;
        _ when Tries > 0 -> timer:sleep(20), until_servers(N, Tries - 1)
    end.

restore(#{primary := Primary, handlers := Handlers}) ->
    ok = logger:set_primary_config(Primary),
    ok = logger:unset_application_level(sockeye),
    [ok = logger:set_handler_config(Id, filters, Filters) || #{id := Id, filters := Filters} <- Handlers],
    ok.

%% Files that pages speak of as the reader's own.
prepare("erlang/guide/handler.md") ->
    ok = filelib:ensure_dir("priv/static/x"),
    ok = file:write_file("priv/index.html", "<!doctype html><title>hello</title>"),
    ok = file:write_file("priv/static/app.js", "console.log('hello')");
prepare(Page) when Page =:= "erlang/guide/options.md"; Page =:= "sockeye" ->
    #{cert := Cert, key := Key} = test_certs:localhost(),
    ok = file:write_file("example.pem", Cert),
    ok = file:write_file("example.key", Key);
prepare("erlang/guide/production/certificates.md") ->
    #{cert := Cert} = test_certs:localhost(),
    ok = file:write_file("fullchain.pem", Cert);
prepare("examples/" ++ _) ->
    ok = file:make_symlink(filename:join(test_support:root(), "examples"), "examples");
prepare(_) ->
    ok.

%% ---------------------------------------------------------------- blocks

block(#{language := Language, text := Text, name := Name} = Block, #{page := Page} = Reader) ->
    case [Why || {P, Line, Why} <- not_run(), P =:= Page, Line =:= first_line(Block)] of
        [_] ->
            ok = look_up(Language, Text),
            Reader;
        [] ->
            Changed = with_ports(Text, Reader),
            case {Language, re:run(Text, "^(%.*\n)*-module\\((\\w+)\\)", [{capture, [2], list}])} of
                {"erlang", {match, [Module]}} ->
                    case Name of
                        "theirs/" ++ _ -> of_others(Name, Changed), Reader;
                        _ -> module(list_to_atom(Module), Name, Changed, Reader)
                    end;
                {"erlang", nomatch} when Name =:= "" -> transcript(doc_page:entries(Changed), Reader);
                {"sh", _} -> commands(Changed, Reader);
                {_, _} when Name =/= "" -> save(Name, Changed), Reader;
                _ -> error({nobody_runs, Block})
            end
    end.

first_line(#{text := Text}) ->
    hd(string:split(Text, "\n")).

%% The ports of the pages are free ones here.
with_ports(Text, #{ports := Ports}) ->
    lists:foldl(fun({From, To}, T) -> re:replace(T, "\\b" ++ From ++ "\\b", To, [global, unicode, {return, list}]) end,
                Text, Ports).

save(Name, Text) ->
    ok = filelib:ensure_dir(Name),
    ok = file:write_file(Name, unicode:characters_to_binary(Text)),
    %% rebar3 compares whole seconds, and would take what it compiled in this one for newer. A reader is slower.
    Now = calendar:datetime_to_gregorian_seconds(calendar:local_time()),
    ok = file:change_time(Name, calendar:gregorian_seconds_to_datetime(Now + 2)).

%% A program for a library that is not here: but for its behaviour and calls, it is right.
of_others(Name, Text) ->
    save(Name, Text),
    case compile:file(Name, [binary, return]) of
        {ok, _, _, Warnings} ->
            [] = [Warning || {_, List} <- Warnings, {_, _, Warning} <- List, element(1, Warning) =/= undefined_behaviour];
        {error, Errors, Warnings} ->
            error({does_not_compile, Errors, Warnings})
    end.

module(Module, "", Text, Reader) ->
    module(Module, atom_to_list(Module) ++ ".erl", Text, Reader);
module(Module, Name, Text, Reader) ->
    save(Name, Text),
    case compile:file(Name, [debug_info, binary, return, warn_unused_vars, warn_shadow_vars]) of
        {ok, Module, Binary, []} ->
            later({module, Module}),
            _ = code:purge(Module),
            {module, Module} = code:load_binary(Module, filename:absname(Name), Binary),
            Reader;
        {ok, Module, _, Warnings} ->
            error({warnings, Warnings});
        {error, Errors, Warnings} ->
            error({does_not_compile, Errors, Warnings})
    end.

transcript(Entries, Reader) ->
    lists:foldl(fun typed/2, Reader, Entries).

typed({1, Expression, _}, #{project := true, shell := Old, next := Next}) when Old =/= none, Next =/= 1 ->
    error({no_new_shell_for, Expression});
typed({1, _, _} = Entry, #{next := Next} = Reader) when Next =/= 1 ->
    Left = leave_shell(Reader),
    Shell = doc_shell:start(),
    later({shell, Shell}),
    typed(Entry, Left#{shell := Shell, next := 1});
typed({N, Expression, Shown}, #{shell := Shell, next := N} = Reader) ->
    Printed = doc_shell:type(Shell, Expression ++ "\n"),
    case doc_shell:same(Shown, Printed) of
        true -> Reader#{next := N + 1};
        false -> error({N, Expression, shows, Shown, prints, Printed})
    end;
typed({N, _, _}, #{next := Next}) ->
    error({prompt, N, follows, Next}).

leave_shell(#{shell := none} = Reader) ->
    Reader;
leave_shell(#{shell := Shell, servers := Servers} = Reader) ->
    test_support:quiet(fun() ->
        undo_now([{shell, Shell}]),
        ok = until_servers(Servers, 500)
    end),
    Reader#{shell := none, next := none}.

undo_now(What) ->
    lists:foreach(fun undo/1, What),
    put(reader, get(reader) -- What).

%% ---------------------------------------------------------------- commands

commands(Text, Reader) ->
    Lines = [string:trim(hd(string:split(Line, "  #"))) || Line <- string:split(Text, "\n", all), string:trim(Line) =/= ""],
    lists:foldl(fun command/2, Reader, Lines).

command("rebar3 shell", Reader) ->
    Left = leave_shell(Reader),
    test_support:quiet(fun() -> undo_now([What || {application, _} = What <- get(reader)]) end),
    ok = command("rebar3 compile"),
    {ok, Project} = file:consult("rebar.config"),
    Options = proplists:get_value(shell, Project, []),
    Config = case lists:keyfind(config, 1, Options) of
                 {config, File} -> {ok, [Terms]} = file:consult(File), Terms;
                 false -> []
             end,
    [begin
         true = code:add_patha(filename:absname(filename:join(["_build/default/lib", App, "ebin"]))),
         ok = application:load(App),
         later({application, App})
     end || App <- proplists:get_value(apps, Options, [])],
    ok = application:set_env(Config),
    [{ok, _} = application:ensure_all_started(App) || App <- proplists:get_value(apps, Options, [])],
    {ok, #{servers := Servers}} = sockeye:info(),
    Left#{servers := Servers, project := true};
command(Line, Reader) ->
    ok = command(Line),
    Reader.

command("cd " ++ Dir) ->
    ok = file:set_cwd(Dir);
command(Line) ->
    Program = hd(string:lexemes(Line, " ")),
    case lists:member(Program, optional()) andalso os:find_executable(Program) =:= false of
        true ->
            [] = test_support:left_out(Line, "not installed"),
            ok;
        false ->
            ok = about_to(Program),
            Port = open_port({spawn_executable, "/bin/sh"},
                             [{args, ["-e", "-c", Line]}, {env, environment(Program)}, exit_status, stderr_to_stdout, binary]),
            case said(Port, <<>>) of
                {0, _} -> ok;
                {Status, Said} ->
                    %% EUnit shows the first characters of it only.
                    io:put_chars(user, Said),
                    error({Line, ends_with, Status, Said})
            end
    end.

%% What CI has, and a machine may be without.
optional() ->
    ["openssl", "curl"].

%% A reader's rebar3 gets Sockeye from its repository; here it is a copy beside the project.
about_to("rebar3") ->
    Copy = "_checkouts/sockeye",
    case filelib:is_file("rebar.config") andalso not filelib:is_dir(Copy) of
        true ->
            ok = filelib:ensure_dir(filename:join(Copy, "x")),
            [{0, _} = said(open_port({spawn_executable, "/bin/cp"},
                                     [{args, ["-R", "--", filename:join(test_support:root(), Part), Copy]}, exit_status]), <<>>)
             || Part <- ["erlang", "native", "rebar.config"]],
            ok;
        false ->
            ok
    end;
about_to(_) ->
    ok.

%% What a reader runs takes several times as long with a sanitizer below it.
seconds() -> ?SECONDS * case os:getenv("ASAN_OPTIONS") of false -> 1; _ -> 6 end.

%% Programs that have nothing of ours do without what is preloaded here: with a sanitizer, curl does not come to its first line.
environment(Program) ->
    [{"LD_PRELOAD", false} || lists:member(Program, optional())] ++ environment().

environment() ->
    Library = case os:getenv("SOCKEYE_NIF_PATH") of
                  false -> filename:join(code:priv_dir(sockeye), "sockeye_nif.so");
                  Path -> Path
              end,
    Engine = os:getenv("SOCKEYE_ENGINE_PATH", filename:join(code:priv_dir(sockeye), "sockeye-engine")),
    [{"SOCKEYE_NIF_PATH", Library}, {"SOCKEYE_ENGINE_PATH", Engine}, {"ERL_LIBS", false}, {"REBAR_BASE_DIR", false}].

said(Port, Acc) ->
    receive
        {Port, {data, Data}} -> said(Port, <<Acc/binary, Data/binary>>);
        {Port, {exit_status, Status}} -> {Status, Acc}
    after seconds() * 1000 ->
        error({still_running, Acc})
    end.

%% A command that is not run is at least one, and names targets that exist.
look_up("sh", Text) ->
    ok = command("sh -n <<'END'\n" ++ Text ++ "END"),
    {ok, Makefile} = file:read_file(filename:join(test_support:root(), "Makefile")),
    [?assertNotEqual({Target, nomatch}, {Target, re:run(Makefile, "^" ++ Target ++ ":", [multiline])})
     || "make " ++ Rest <- string:split(Text, "\n", all), [Target | _] <- [string:lexemes(Rest, " ")]],
    ok;
look_up(_, _) ->
    ok.
