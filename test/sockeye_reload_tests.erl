%% Code is loaded anew while connections are in use, as l(M), r3:do(compile) and releases do it.
-module(sockeye_reload_tests).
-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-only_in({nif, [kept_in_the_vm_test_, nobody_stays_in_old_code_test_, thrown_away_test_, another_library_test_, purged_at_once_test_]}).

-define(CONNECTIONS, 9).

kept_test_() ->
    [kept(Name, Do)
     || {Name, Do} <-
            [{"the native library", fun() -> load(sockeye_nif), load(sockeye_nif), fine end},
             {"the handler, twice", fun() -> [load(bare_handler) || _ <- [1, 2]], fine end},
             {"calls of many processes meet new code",
              fun() ->
                      Calls = [spawn_monitor(fun() -> [{ok, N} = sockeye_json:decode(integer_to_binary(N))
                                                       || N <- lists:seq(1, 20000)] end) || _ <- lists:seq(1, 8)],
                      [load(sockeye_nif) || _ <- lists:seq(1, 20)],
                      [receive {'DOWN', M, process, _, normal} -> ok end || {_, M} <- Calls],
                      fine
              end}]].

kept_in_the_vm_test_() ->
    [kept(Name, Do)
     || {Name, Do} <-
            [{"each module of ours, twice",
              fun() -> [load(M) || _ <- [1, 2], M <- ours()], fine end},
             {"all at once, as r3:do(compile) does it", fun() -> [all_at_once(ours()) || _ <- [1, 2, 3]], fine end},
             {"recompiled", fun() -> [begin recompiled(M), purged(M) end || _ <- [1, 2], M <- ours()], fine end},
             {"a codec",
              fun() ->
                      [Client, Server] = [test_support:ok(sockeye_codec:new(Role)) || Role <- [client, server]],
                      [begin
                           load(sockeye_nif),
                           {ok, Bytes} = sockeye_codec:encode(Client, {text, <<"hi">>}),
                           {[{text, <<"hi">>}], <<>>} = sockeye_codec:decode(Server, Bytes)
                       end || _ <- [1, 2, 3]],
                      [true = garbage_collect() || _ <- [1, 2]],
                      fine
              end}]].

kept(Name, Do) ->
    {timeout, 180, {Name, fun() -> ?assertEqual({fine, 0, ok}, in_a_node(Do)) end}}.

%% OTP ends processes that are in code that is purged. None of ours is, but those that wait in a loop of their own, and
%% they are started again; and what we keep does not depend on old code.
nobody_stays_in_old_code_test_() ->
    {timeout, 180, fun() ->
        Tls = test_certs:localhost(),
        ?assertEqual({fine, 0, ok}, in_a_node(fun() -> holders(Tls) end))
    end}.

holders(#{cert := Ca} = Tls) ->
    Servers = [begin {ok, S} = sockeye:start_link(Options#{port => 0}), S end
               || Options <- [#{handler => {accept_handler, #{}}, tls => Tls, processes => per_connection},
                              #{handler => {bare_handler, []}, tls => Tls#{sni_hosts => [{"a.example", Tls}]}},
                              #{handler => self(), http => #{"/" => {lists, reverse}}}]],
    Client = fun(Reconnect) -> sockeye_client:start_link("wss://127.0.0.1:1", {bare_handler, []},
                                                         #{tls => #{cacerts => Ca}, reconnect => Reconnect}) end,
    {ok, _} = Client(true),
    Holding = [{M, Who} || M <- ours(), ok =:= recompiled(M), P <- processes(), P =/= self(),
                           {Who, _, _} <- [proc_lib:translate_initial_call(P)],
                           lists:prefix("sockeye", atom_to_list(Who)), erlang:check_process_code(P, M)],
    Allowed = [{M, M} || M <- [sockeye_gate, sockeye_relay]],
    [] = lists:usort(Holding) -- Allowed,
    [recompiled(M) || _ <- [1, 2], M <- ours()],
    [true = is_process_alive(S) || S <- Servers],
    [ok, ok | _] = [sockeye:reload_tls(S) || S <- Servers],
    fine.

%% All code is gone for a moment, and with it what it had registered: the engine starts again, and nothing hangs.
thrown_away_test_() ->
    {timeout, 180, fun() ->
        Do = fun() ->
                     Old = monitor(process, sockeye_engine),
                     _ = code:purge(sockeye_nif),
                     true = code:delete(sockeye_nif),
                     _ = code:purge(sockeye_nif),
                     load(sockeye_nif),
                     engine_replaced(Old)
             end,
        ?assertEqual({fine, ?CONNECTIONS, ok}, in_a_node(Do))
    end}.

%% Another file: what the old one has is not touched by it.
another_library_test_() ->
    {timeout, 180, fun() ->
        Do = fun() ->
                     Old = monitor(process, sockeye_engine),
                     {ok, _} = file:copy(library(), "/tmp/sockeye-" ++ os:getpid() ++ ".so"),
                     true = os:putenv("SOCKEYE_NIF_PATH", "/tmp/sockeye-" ++ os:getpid() ++ ".so"),
                     load(sockeye_nif),
                     {ok, 1} = sockeye_json:decode(<<"1">>),
                     Fine = engine_replaced(Old),
                     ok = file:delete("/tmp/sockeye-" ++ os:getpid() ++ ".so"),
                     Fine
             end,
        ?assertEqual({fine, ?CONNECTIONS, ok}, in_a_node(Do))
    end}.

%% The old code is purged before the new has been called once: as if it had been thrown away.
purged_at_once_test_() ->
    {timeout, 180, fun() ->
        Do = fun() ->
                     Old = monitor(process, sockeye_engine),
                     %% Nobody calls.
                     [true = erlang:suspend_process(P) || P <- callers()],
                     _ = code:purge(sockeye_nif),
                     {module, sockeye_nif} = code:load_file(sockeye_nif),
                     _ = code:purge(sockeye_nif),
                     [true = erlang:resume_process(P) || P <- callers(), suspended =:= status(P)],
                     engine_replaced(Old)
             end,
        ?assertEqual({fine, ?CONNECTIONS, ok}, in_a_node(Do))
    end}.

%% Whoever may call the library.
callers() ->
    [P || P <- processes(), P =/= self(), {_, {M, _, _}} <- [process_info(P, initial_call)], M =:= proc_lib orelse M =:= erlang,
          {D, _, _} <- [proc_lib:translate_initial_call(P)], lists:prefix("sockeye", atom_to_list(D))].

status(P) ->
    element(2, process_info(P, status)).

%% A function that the library does not have is named, and not called for ever.
missing_function_test_() ->
    {timeout, 180, fun() ->
        Do = fun() ->
                     recompiled(sockeye_nif, unknown),
                     try sockeye_nif:unknown()
                     catch error:{sockeye_nif, [{missing, unknown}], _} -> fine
                     end
             end,
        ?assertEqual({fine, 0, ok}, in_a_node(Do))
    end}.

engine_replaced(Old) ->
    receive {'DOWN', Old, process, _, _} -> ok after 60000 -> error(engine_lives) end,
    engine_is_back().

engine_is_back() ->
    case sockeye:info() of
        {ok, #{shards := _}} -> fine;
        {error, not_running} -> timer:sleep(10), engine_is_back()
    end.

%% As l(Module), and then the old code goes, too. Of the library, once the new code has been called.
load(Module) ->
    _ = code:purge(Module),
    {module, Module} = code:load_file(Module),
    purged(Module).

purged(Module) ->
    {ok, 1} = sockeye_json:decode(<<"1">>),
    _ = code:purge(Module),
    ok.

all_at_once(Modules) ->
    {ok, Prepared} = code:prepare_loading(Modules),
    [code:purge(M) || M <- Modules],
    ok = code:finish_loading(Prepared).

%% Code that differs from what is loaded.
recompiled(Module) ->
    recompiled(Module, unknown).

%% Of one more function, which calls the library's function of that name.
recompiled(Module, Unknown) ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    [File, Name | Rest] = [Form || Form <- Forms, element(1, Form) =/= eof],
    Call = {call, 1, {remote, 1, {atom, 1, Module}, {atom, 1, call}}, [{atom, 1, Unknown}, {nil, 1}]},
    Changed = {integer, 1, erlang:unique_integer([positive])},
    Export = [{attribute, 1, export, [{Unknown, 0}, {changed, 0} | [{call, 2} || Module =:= sockeye_nif]]}],
    Added = [{function, 1, Unknown, 0, [{clause, 1, [], [], [Call]}]},
             {function, 1, changed, 0, [{clause, 1, [], [], [Changed]}]}],
    {ok, Module, Beam} = compile:forms([File, Name | Export] ++ Rest ++ Added),
    _ = code:purge(Module),
    {module, Module} = code:load_binary(Module, code:which(Module), Beam),
    {ok, 1} = sockeye_json:decode(<<"1">>),
    ok.

ours() ->
    {ok, Modules} = application:get_key(sockeye, modules),
    %% The clients here wait in it: OTP ends who is in code that is purged.
    Modules -- [sockeye_test_client].

library() ->
    filename:join(filename:dirname(filename:dirname(code:which(sockeye_nif))), "priv/sockeye_nif.so").

in_a_node(Do) ->
    Paths = lists:usort([filename:dirname(code:which(M)) || M <- [sockeye, reload_node, ?MODULE]]),
    {ok, Peer, _} = peer:start_link(#{connection => standard_io, args => ["-pa" | Paths], wait_boot => 60000}),
    try peer:call(Peer, reload_node, run, [Do], 280000)
    after peer:stop(Peer)
    end.
