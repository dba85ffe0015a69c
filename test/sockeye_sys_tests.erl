%% Every process of ours is one that people look at from a shell: it answers `sys', and what it does not understand costs nothing.
-module(sockeye_sys_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% All kinds at work: handlers of each kind with one that is asked, a plain owner, topics of a cluster, a client, a dashboard.
with_all(Test) ->
    Handler = {fun_handler, #{frame => fun({json, Term}, _, State) -> {[{reply, {json, Term}}], State} end}},
    Options = #{handler => Handler, http => #{"/f" => fun(_) -> {200, [], <<"x">>} end}},
    {ok, _} = application:ensure_all_started(sockeye),
    {ok, _} = application:ensure_all_started(inets),
    test_support:with_server(Options#{name => sys_tests, scope => cluster, dashboard => #{path => "/d", auth => fun(_) -> true end}}, fun(One, _) ->
        test_support:with_server(Options#{processes => per_connection}, fun(Each, _) ->
            test_support:with_server(#{}, fun(Own, _) ->
                {ok, Client} = sockeye_client:start_link(["ws://127.0.0.1:", integer_to_list(One), "/"], Handler, #{reconnect => true}),
                {Socket, Conn} = test_support:open(Own),
                Echo = [echo(ws_client:connect(Port)) || Port <- [One, Each]],
                Test(fun() ->
                         [Ask() || Ask <- Echo],
                         ok = sockeye:send(Conn, #{a => 1}),
                         {text, _} = ws_client:recv(Socket),
                         {ok, {{_, 200, _}, _, "x"}} = httpc:request("http://127.0.0.1:" ++ integer_to_list(Each) ++ "/f")
                     end),
                ok = sockeye_client:stop(Client)
            end)
        end)
    end).

echo(Socket) ->
    fun() ->
        ok = ws_client:text(Socket, <<"[1]">>),
        {text, <<"[1]">>} = ws_client:recv(Socket)
    end.

%% {module, pid} of all processes that run code of ours, but for those that only wait for somebody's answer. OTP's supervisors, `pg' and
%% the application's master are its own.
ours() ->
    [{Module, Pid} || Pid <- processes(), Pid =/= self(), {Module, _, _} <- [proc_lib:translate_initial_call(Pid)],
                      lists:prefix("sockeye_", atom_to_list(Module)), not lists:suffix("_tests", atom_to_list(Module)),
                      not lists:member(Module, [sockeye_sup, sockeye_routes_sup])].

answered_test_() ->
    {timeout, 120, fun() ->
        with_all(fun(Works) ->
            Works(),
            Ours = ours(),
            %% Not an empty list of what there is to ask.
            [?assert(lists:keymember(Module, 1, Ours)) || Module <- [sockeye_server, sockeye_gate, sockeye_relay, sockeye_conn_sup, sockeye_worker,
                                                                     sockeye_dialler, sockeye_engine, sockeye_route_servers]],
            [?assertMatch({Module, {status, Pid, _, _}}, {Module, sys:get_status(Pid)}) || {Module, Pid} <- Ours],
            [?assertMatch({Module, {ok, _}}, {Module, {ok, sys:get_state(Pid)}}) || {Module, Pid} <- Ours],
            [ok = Do(Pid) || Do <- [fun sys:suspend/1, fun sys:resume/1], {Module, Pid} <- Ours, Module =/= sockeye_engine],
            Works()
        end)
    end}.

%% What nobody here understands: of a shell, a stray timer, a monitor that was given up.
not_understood_test_() ->
    {timeout, 120, fun() ->
        with_all(fun(Works) ->
            Works(),
            Ours = ours(),
            Stranger = spawn(fun() -> ok end),
            [begin
                 [Pid ! Message || Message <- [hello, {hello, self()}, {make_ref(), ok}, {'DOWN', make_ref(), process, self(), gone}, timeout,
                                               {timeout, make_ref(), x}, {'EXIT', Stranger, normal}, {'EXIT', Stranger, broken}]],
                 ok = gen_server:cast(Pid, hello)
             end || {Module, Pid} <- Ours, Module =/= sockeye_worker],
            [?assertEqual({Module, {error, not_supported}}, {Module, gen_server:call(Pid, which_children)})
             || {Module, Pid} <- Ours, is_gen_server(Pid)],
            ?assertEqual([], [Module || {Module, Pid} <- Ours, not is_process_alive(Pid)]),
            Works()
        end)
    end}.

is_gen_server(Pid) ->
    {status, Pid, {module, Module}, _} = sys:get_status(Pid),
    Module =:= gen_server.
