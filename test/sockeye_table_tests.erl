%% What sockeye:i/0,1 prints, and the URL that a server says at its start.
-module(sockeye_table_tests).

-include_lib("eunit/include/eunit.hrl").
%% For other tests.
-export([printed/1]).
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/3]).

-define(ROWS, 100).

%% What Fun prints to its group leader, and its result.
printed(Fun) ->
    Before = group_leader(),
    Device = spawn_link(fun() -> device([]) end),
    true = group_leader(Device, self()),
    Result = try Fun() after group_leader(Before, self()) end,
    Device ! {read, self()},
    receive {Device, Text} -> {Result, binary:split(Text, <<"\n">>, [global, trim])} end.

device(Sofar) ->
    receive
        {io_request, From, Ref, {put_chars, unicode, Chars}} ->
            From ! {io_reply, Ref, ok},
            device([Sofar, Chars]);
        {read, Pid} ->
            Pid ! {self(), unicode:characters_to_binary(Sofar)}
    end.

columns(Line) -> [binary_to_list(Part) || Part <- re:split(Line, "  +", [trim]), Part =/= <<>>].

servers_and_connections_test() ->
    with_server(#{name => table_tests, send_queue_size => 1 bsl 20}, fun(Port, Server) ->
        {Client, Conn} = test_support:open(Port),
        ok = ws_client:text(Client, <<"1">>),
        {json, 1} = test_support:event(Conn),
        ok = sockeye:send(Conn, [{text, <<"a">>}, {text, <<"b">>}]),
        [{text, _} = ws_client:recv(Client) || _ <- [1, 2]],
        {ok, Lines} = printed(fun() -> sockeye:i(Server) end),
        [ServerHead, OfServer, ConnHead, OfConn] = Lines,
        Named = maps:from_list(lists:zip(columns(ServerHead), columns(OfServer))),
        Pid = pid_to_list(Server),
        Owner = pid_to_list(self()),
        At = "127.0.0.1:" ++ integer_to_list(Port),
        ?assertEqual(#{"Server" => Pid, "Name" => "table_tests", "Listens on" => At, "Handler" => Owner, "Open" => "1", "Opened" => "1",
                       "Refused" => "0", "Received" => "1", "Sent" => "2", "Queued" => "0"}, Named),
        {ok, {_, From}} = inet:sockname(Client),
        ?assertMatch(#{"Server" := "table_tests", "Path" := "/", "Received" := "1", "Active" := "99"},
                     maps:from_list(lists:zip(columns(ConnHead), columns(OfConn)))),
        ?assertEqual([lists:flatten(io_lib:format("~w", [Conn])), "127.0.0.1:" ++ integer_to_list(From)],
                     [maps:get(Key, maps:from_list(lists:zip(columns(ConnHead), columns(OfConn)))) || Key <- ["Connection", "Peer"]]),
        %% All of the node: at least these, with the engine on top.
        {ok, [Engine | All]} = printed(fun sockeye:i/0),
        ?assertEqual(match, re:run(Engine, "^Engine (nif|port), threads [0-9]+, bytes [0-9]+, restarts [0-9]+$", [{capture, none}])),
        ?assert(lists:any(fun(Line) -> binary:match(Line, list_to_binary(At)) =/= nomatch end, All)),
        ?assertMatch({ok, [_, _, _, _]}, printed(fun() -> sockeye:i(table_tests) end))
    end).

not_found_test() ->
    ?assertEqual({{error, not_found}, []}, printed(fun() -> sockeye:i(no_such_server) end)),
    ?assertError(badarg, sockeye:i("no server")).

%% Columns are aligned, numbers on their right; what does not fit is cut.
aligned_test() ->
    Long = lists:duplicate(41, $x),
    Fits = lists:duplicate(40, $y),
    ?assertEqual("A    Number  Text\n"
                 "a         7  " ++ lists:duplicate(37, $x) ++ "...\n"
                 "bcd   12345  " ++ Fits ++ "\n",
                 lists:flatten(unicode:characters_to_list(
                   sockeye_table:lines(["A", "Number", "Text"], {[["a", 7, Long], ["bcd", 12345, Fits]], 0})))).

%% What a client chose is shown without what a terminal would obey.
harmless_test() ->
    Path = <<"/\e[2J\n\x{7f}", 16#ff>>,
    ?assertEqual(<<"Path\n/?[2J??"/utf8, 16#ff/utf8, "\n"/utf8>>,
                 unicode:characters_to_binary(sockeye_table:lines(["Path"], {[[Path]], 0}))).

%% One less than there is room for, as many, and one more.
bounded_test_() ->
    {timeout, 60, fun() ->
        with_handler(#{}, #{}, fun(Port, Server) ->
            _ = [ws_client:connect(Port) || _ <- lists:seq(1, ?ROWS - 1)],
            [begin
                 hostile_client:until(fun() -> {ok, Conns} = sockeye:connections(Server), length(Conns) =:= N end),
                 {ok, Lines} = printed(fun() -> sockeye:i(Server) end),
                 More = [Line || <<"... and ", Line/binary>> <- Lines],
                 ?assertEqual({N, min(N, ?ROWS), [<<"1 more">> || N > ?ROWS]}, {N, length(Lines) - 3 - length(More), More}),
                 ws_client:connect(Port)
             end || N <- [?ROWS - 1, ?ROWS, ?ROWS + 1]]
        end)
    end}.

%% ---------------------------------------------------------------- at the start

url_test_() ->
    [?_assertEqual(Want, sockeye_log:url(#{address => Address}, IsTls))
     || {Want, Address, IsTls} <- [{#{url => <<"http://127.0.0.1:80/">>}, {{127, 0, 0, 1}, 80}, false},
                                   {#{url => <<"https://localhost:443/">>}, {{0, 0, 0, 0}, 443}, true},
                                   {#{url => <<"http://localhost:1/">>}, {{0, 0, 0, 0, 0, 0, 0, 0}, 1}, false},
                                   {#{url => <<"http://[::1]:80/">>}, {{0, 0, 0, 0, 0, 0, 0, 1}, 80}, false},
                                   {#{}, {local, <<"/tmp/x">>}, false}]]
    ++ [?_assertEqual(#{}, sockeye_log:url(#{server => self()}, false))].
