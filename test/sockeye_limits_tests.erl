%% A node that has no more descriptors, or processes, to give: who is refused, who is told, and that
%% all is well again afterwards.
-module(sockeye_limits_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(FEW, "ulimit -n 80").

%% Ninety clients, where forty sockets are the most.
a_reserve_of_descriptors_test_() ->
    {timeout, 120, fun() ->
        with_node({?FEW, ""}, "#{handler => {bare_handler, []}}", fun(Node) ->
            Answers = [knock(Node) || _ <- lists:seq(1, 90)],
            Open = [Socket || {101, Socket} <- Answers],
            Refused = [S || {S, _} <- Answers, S =:= 503],
            ?assertEqual(90, length(Open) + length(Refused)),
            ?assert(length(Refused) >= 50),
            {Info, Lines} = limit_node:info(Node),
            ?assertMatch(#{max_connections := auto, max_descriptor := 40, accept_errors := 0}, Info),
            ?assertEqual({length(Open), length(Refused), length(Refused)},
                         {maps:get(connections, Info), maps:get(no_descriptor, Info), maps:get(no_descriptor, maps:get(refused, Info))}),
            ?assertEqual(1, told("refuses connections", Lines)),
            well_again(Node, Open)
        end)
    end}.

%% One that does without the reserve meets the limit itself.
no_more_descriptors_test_() ->
    {timeout, 120, fun() ->
        with_node({?FEW, ""}, "#{handler => {bare_handler, []}, max_connections => infinity}", fun(Node) ->
            Sockets = [hostile_client:connect(limit_node:port(Node)) || _ <- lists:seq(1, 90)],
            hostile_client:until(fun() ->
                {#{accept_errors := N}, Lines} = limit_node:info(Node),
                put(lines, Lines ++ case get(lines) of undefined -> []; L -> L end),
                N > 2 orelse {accept_errors, N}
            end),
            ?assertEqual(1, told("could not accept a connection", get(lines))),
            well_again(Node, Sockets)
        end)
    end}.

%% Without a descriptor no module can be loaded: all that ours call is there when the application has started, and what these call.
no_more_modules_test_() ->
    {timeout, 60, fun() ->
        Node = cluster_node:start(1),
        try
            ?assertEqual([], cluster_node:on(Node, {erlang, apply, [fun not_loaded/0, []]})),
            ok = cluster_node:on(Node, {erlang, apply, [fun certificates_gone/0, []]})
        after
            cluster_node:stop_all([Node])
        end
    end}.

not_loaded() ->
    Loaded = [M || {M, _} <- code:all_loaded()],
    {ok, Modules} = application:get_key(sockeye, modules),
    %% Who has cowboy has loaded it, and tests are no servers.
    Ours = [M || M <- Modules, M =/= sockeye_cowboy, not lists:prefix("sockeye_test", atom_to_list(M))],
    Imports = [Import || M <- Ours, {ok, {_, [{imports, All}]}} <- [beam_lib:chunks(code:which(M), [imports])], {Import, _, _} <- All],
    %% The last is called by `file:format_error/1'.
    [M || M <- lists:usort(Imports ++ [erl_posix_msg]) -- Loaded, code:which(M) =/= non_existing].

certificates_gone() ->
    #{cert := Cert, key := Key} = test_certs:localhost(),
    [CertFile, KeyFile] = [begin
                               File = filename:join("/tmp", "sockeye-" ++ os:getpid() ++ Name),
                               ok = file:write_file(File, Pem),
                               File
                           end || {Name, Pem} <- [{".cert", Cert}, {".key", Key}]],
    {ok, Server} = sockeye:start_link(#{port => 0, handler => self(), tls => #{certfile => CertFile, keyfile => KeyFile}}),
    [ok = file:delete(File) || File <- [CertFile, KeyFile]],
    [true = code:del_path(Dir) || Dir <- code:get_path()],
    {error, {bad_option, tls, _}} = sockeye:reload_tls(Server),
    {ok, #{connections := 0}} = sockeye:info(Server),
    ok = sockeye:stop(Server).

%% A process for each connection, in a node that may have a thousand.
no_more_processes_test_() ->
    {timeout, 240, fun() ->
        with_node({"true", "+P 1024"}, "#{handler => {bare_handler, []}, processes => per_connection}", fun(Node) ->
            Answers = [knock(Node) || _ <- lists:seq(1, 1100)],
            ?assertEqual([], [S || {S, _} <- Answers, S =/= 101]),
            Open = [Socket || {101, Socket} <- Answers],
            {#{connections := N}, _} = limit_node:info(Node),
            hostile_client:until(fun() ->
                {#{no_process := Without, connections := C}, _} = limit_node:info(Node),
                Without + C =:= 1100 andalso Without > 76 orelse {N, Without, C}
            end),
            well_again(Node, Open)
        end)
    end}.

%% Questions to `accept' and to functions have processes of their own: without, the answer is 503.
no_process_for_questions_test_() ->
    {timeout, 240, fun() ->
        Options = "#{handler => {bare_handler, []}, accept => fun limit_node:accept/1, http => #{\"/x\" => {limit_node, http}}}",
        with_node({"true", "+P 1024"}, Options, fun(Node) ->
            Before = limit_node:tell(Node, fill),
            ?assertEqual(lists:duplicate(20, 503), [S || _ <- lists:seq(1, 20), {S, _} <- [knock(Node)]]),
            ?assertEqual(lists:duplicate(20, 503), [S || _ <- lists:seq(1, 20), {S, _, _} <- [get_x(Node)]]),
            {Info, Lines} = limit_node:info(Node),
            ?assertMatch(#{no_process := 40, connections := 0}, Info),
            ?assertEqual(1, told("could not start a process", Before ++ Lines)),
            %% What the VM says of each process that it could not start.
            ?assertEqual(0, told("Too many processes", Before ++ Lines)),
            _ = limit_node:tell(Node, empty),
            ?assertMatch({200, _, <<"here">>}, get_x(Node)),
            well_again(Node, [])
        end)
    end}.

get_x(Node) ->
    http_client:get(limit_node:port(Node), "/x").

%% Handlers, and the processes that ask or wake others, are started again when there is room.
no_process_for_restarts_test_() ->
    [{Title, {timeout, 240, fun() ->
        Options = "#{handler => {bare_handler, []}, accept => fun limit_node:accept/1, processes => " ++ Processes ++ "}",
        with_node({"true", "+P 1024"}, Options, fun(Node) ->
            Before = limit_node:tell(Node, restart),
            {_, Lines} = limit_node:info(Node),
            ?assertEqual(1, told("could not start a process", Before ++ Lines)),
            ?assertEqual(0, told("Too many processes", Before ++ Lines)),
            _ = limit_node:tell(Node, empty),
            well_again(Node, [])
        end)
    end}} || {Title, Processes} <- [{"one", "one"}, {"pool", "4"}]].

%% What is too large for a normal scheduler has a process of its own on its way to a plain owner; it comes without one, too.
no_process_for_an_owner_test_() ->
    {timeout, 240, fun() ->
        with_node({"true", "+P 1024"}, "#{handler => limit_owner, active => true}", fun(Node) ->
            {101, Socket} = knock(Node),
            Large = ["[1", lists:duplicate(100000, ",1"), "]"],
            _ = limit_node:tell(Node, fill),
            [begin
                 ok = ws_client:text(Socket, Large),
                 ?assertEqual({text, <<"100001">>}, ws_client:recv(Socket))
             end || _ <- lists:seq(1, 20)],
            {_, Lines} = limit_node:info(Node),
            ?assertEqual([], Lines),
            ws_client:drop(Socket),
            {Status, Last} = limit_node:stop(Node),
            ?assertEqual({0, []}, {Status, [Line || Line <- Last, is_crash(Line)]})
        end)
    end}.

%% Where the engine is a process of its own, another process brings an owner its messages. Without room for one, the connection
%% ends as if its owner had died, and all else lives on.
without_a_delivery_process_test_() ->
    {timeout, 240, fun() ->
        with_port_node(fun(Node) ->
            Before = limit_node:tell(Node, fill),
            {101, Socket} = knock(Node),
            ?assertMatch({close, 1011, _}, ws_client:recv(Socket)),
            ws_client:drop(Socket),
            {_, Lines} = limit_node:info(Node),
            ?assertEqual(1, told("could not start a process", Before ++ Lines)),
            ?assertEqual(0, told("Too many processes", Before ++ Lines)),
            {Engine, _} = limit_node:engine(Node),
            _ = limit_node:tell(Node, empty),
            true = length_comes_back(Node),
            ?assertMatch({Engine, _}, limit_node:engine(Node))
        end)
    end}.

%% An engine that ends when there is no room for a process starts again when there is, and listens where it did.
no_process_for_a_new_engine_test_() ->
    {timeout, 240, fun() ->
        with_port_node(fun(Node) ->
            put(lines, limit_node:tell(Node, fill)),
            hostile_client:until(fun() ->
                {Engine, Lines} = limit_node:engine(Node),
                Engine =:= 0 orelse os:cmd("kill -9 " ++ integer_to_list(Engine)),
                %% Also the place of what ended with the engine, unless the next one was faster.
                put(lines, get(lines) ++ Lines ++ limit_node:tell(Node, fill)),
                told("the node has as many processes as it may have; it is tried again in", get(lines)) > 0 orelse get(lines)
            end),
            ?assertEqual(0, told("Too many processes", get(lines))),
            _ = limit_node:tell(Node, empty),
            true = length_comes_back(Node)
        end)
    end}.

with_port_node(Test) ->
    with_node({"export SOCKEYE_ENGINE=port", "+P 1024"}, "#{handler => limit_owner, active => true}", fun(Node) ->
        _ = Test(Node),
        {Status, Lines} = limit_node:stop(Node),
        ?assertEqual({0, []}, {Status, [Line || Line <- Lines, is_crash(Line)]})
    end).

length_comes_back(Node) ->
    hostile_client:until(fun() ->
        case test_support:attempt(fun() -> knock(Node) end) of
            {101, Socket} ->
                ok = ws_client:text(Socket, <<"[1,2]">>),
                Answer = ws_client:recv(Socket),
                ws_client:drop(Socket),
                Answer =:= {text, <<"2">>} orelse Answer;
            Other ->
                Other
        end
    end).

%% The server answers, also an accept/2 that needs a process of its own, when others have gone.
well_again(Node, Sockets) ->
    lists:foreach(fun ws_client:drop/1, Sockets),
    hostile_client:until(fun() ->
        case test_support:attempt(fun() -> knock(Node) end) of
            {101, Socket} ->
                ok = ws_client:text(Socket, <<"1">>),
                Answer = ws_client:recv(Socket),
                ws_client:drop(Socket),
                Answer =:= {text, <<"1">>} orelse Answer;
            Other ->
                Other
        end
    end),
    {Status, Lines} = limit_node:stop(Node),
    ?assertEqual({0, []}, {Status, [Line || Line <- Lines, is_crash(Line)]}).

knock(Node) ->
    %% Who is refused at once may see the socket closed under its request.
    Port = limit_node:port(Node),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}], 20000),
    case gen_tcp:send(Socket, bad_requests:good()) of
        ok -> ok;
        {error, _} -> ok
    end,
    case gen_tcp:recv(Socket, 12, 60000) of
        {ok, <<"HTTP/1.1 101">>} -> rest_of_head(Socket), {101, Socket};
        {ok, <<"HTTP/1.1 503">>} -> gen_tcp:close(Socket), {503, none};
        %% The answer was there, and then the reset.
        {error, econnreset} -> gen_tcp:close(Socket), {503, none};
        {error, closed} -> gen_tcp:close(Socket), {503, none}
    end.

rest_of_head(Socket) ->
    {ok, Byte} = gen_tcp:recv(Socket, 1, 60000),
    rest_of_head(Socket, Byte).

rest_of_head(Socket, Seen) ->
    case binary:match(Seen, <<"\r\n\r\n">>) of
        nomatch ->
            {ok, Byte} = gen_tcp:recv(Socket, 1, 60000),
            rest_of_head(Socket, <<Seen/binary, Byte/binary>>);
        _ -> ok
    end.

told(What, Lines) ->
    length([Line || Line <- Lines, binary:match(Line, list_to_binary(What)) =/= nomatch]).

is_crash(Line) ->
    lists:any(fun(Word) -> binary:match(Line, Word) =/= nomatch end,
              [<<"CRASH REPORT">>, <<"SUPERVISOR REPORT">>, <<"undef">>, <<"terminating">>]).

with_node(How, Options, Test) ->
    Node = limit_node:start(How, Options),
    try Test(Node)
    after test_support:attempt(fun() -> port_close(Node) end)
    end.

%% What `info/1' counts of what hides otherwise, `metrics' counts as well.
counters_are_metrics_test() ->
    test_support:with_server(#{metrics => "/metrics", max_connections => 7}, fun(Port, Server) ->
        {ok, Info} = sockeye:info(Server),
        ?assertMatch(#{max_connections := 7, no_descriptor := 0, accept_errors := 0, accept_pauses := 0,
                       no_process := 0, unanswered := 0}, Info),
        Text = hostile_client:say(Port, <<"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n">>),
        [?assertMatch({_, _}, binary:match(Text, <<"\nsockeye_", Name/binary, "_total 0\n">>))
         || Name <- [<<"connections_without_descriptor">>, <<"accept_errors">>, <<"accept_pauses">>,
                     <<"connections_without_process">>, <<"closes_unanswered">>]]
    end).

%% N - 1, N and N + 1 of where the reserve changes its rule.
reserve_test() ->
    [?assertEqual({Limit, Kept}, {Limit, sockeye_descriptors:reserve(Limit)})
     || {Limit, Kept} <- [{80, 40}, {126, 63}, {127, 63}, {128, 64}, {129, 64}, {511, 64}, {512, 64}, {520, 65},
                          {1024, 128}, {2047, 255}, {2048, 256}, {2056, 256}, {1000000, 256}]],
    ?assertEqual(infinity, sockeye_descriptors:most(infinity)).
