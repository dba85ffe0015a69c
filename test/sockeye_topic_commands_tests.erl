%% Commands that subscribe and unsubscribe, several in what one callback returns.
-module(sockeye_topic_commands_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_handler/3]).

-define(TIMEOUT, 60000).

%% More than are on their way at once, the same topics again and again: the last word counts.
in_their_order_test() ->
    rand:seed(exsss, 4711),
    Changes = [{lists:nth(rand:uniform(2), [subscribe, unsubscribe]), <<"t", (integer_to_binary(rand:uniform(40)))/binary>>} || _ <- lists:seq(1, 1000)],
    Expected = maps:keys(maps:filter(fun(_, Last) -> Last =:= subscribe end, maps:from_list([{Topic, Change} || {Change, Topic} <- Changes]))),
    opened(Changes, #{}, fun(Server, _Conn) ->
        {ok, Topics} = sockeye:topics(Server),
        ?assertEqual(lists:sort(Expected), lists:sort(maps:keys(Topics)))
    end).

%% What fails costs itself, and is told in its order, beside what is behind it.
failures_test() ->
    Self = self(),
    Commands = fun(Conn) -> [{subscribe, <<"a">>}, {subscribe, <<>>}, {subscribe, Conn, <<"b">>}, {subscribe, <<"c">>}, {unsubscribe, x},
                             {subscribe, <<"d">>, 1, 2}, {unsubscribe, Conn, <<"a">>}, {subscribe, <<"e">>}, {reply, {text, <<"end">>}}] end,
    Error = fun({Command, Reason}, _Conn, S) -> Self ! {failed, Command, case Reason of {bad_command, _} -> bad; _ -> Reason end}, {[], S} end,
    opened(Commands, #{options => #{max_subscriptions => 2}, error => Error}, fun(Server, Conn) ->
        Told = [receive {failed, Command, Reason} -> {Command, Reason} after ?TIMEOUT -> error(not_told) end || _ <- lists:seq(1, 4)],
        ?assertEqual([{{subscribe, Conn, <<>>}, bad}, {{subscribe, Conn, <<"c">>}, too_many_subscriptions}, {{unsubscribe, Conn, x}, bad},
                      {{subscribe, <<"d">>, 1, 2}, bad}], Told),
        {ok, Topics} = sockeye:topics(Server),
        ?assertEqual([<<"b">>, <<"e">>], lists:sort(maps:keys(Topics)))
    end).

%% A process engine is asked for many at once: none waits for the answer to the one before it.
at_once_test_() ->
    case sockeye_backend:engine() of
        port -> [{"at once", fun at_once/0}];
        nif -> []
    end.

at_once() ->
    Self = self(),
    Info = fun({change, Conn}, S) -> Self ! changing, {[{subscribe, Conn, integer_to_binary(N)} || N <- lists:seq(1, 100)], S} end,
    opened([], #{info => Info}, fun(Server, Conn) ->
        Handler = receive {handler, Pid} -> Pid after ?TIMEOUT -> error(no_handler) end,
        Writer = whereis(sockeye_link_writer),
        true = erlang:suspend_process(Writer),
        Handler ! {change, Conn},
        ok = port_node:until(fun() -> {message_queue_len, N} = process_info(Writer, message_queue_len), N >= 64 orelse N end),
        true = erlang:resume_process(Writer),
        port_node:until(fun() -> {ok, Topics} = sockeye:topics(Server), map_size(Topics) =:= 100 orelse map_size(Topics) end)
    end).

%% A client whose handle_open returns these commands, when they have been carried out.
opened(Commands, Given, Test) ->
    Self = self(),
    Funs = #{init => fun() -> Self ! {handler, self()}, {ok, none} end,
             open => fun(Conn, _, S) ->
                 Self ! {conn, Conn},
                 {case is_function(Commands) of true -> Commands(Conn); false -> Commands end, S}
             end,
             frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end},
    with_handler(maps:merge(Funs, maps:remove(options, Given)), maps:merge(#{format => raw}, maps:get(options, Given, #{})), fun(Port, Server) ->
        Socket = ws_client:connect(Port),
        Conn = receive {conn, C} -> C after ?TIMEOUT -> error(not_open) end,
        ok = ws_client:text(Socket, <<"done?">>),
        answered(Socket),
        Test(Server, Conn)
    end).

answered(Socket) ->
    case ws_client:recv(Socket) of
        {text, <<"done?">>} -> ok;
        {text, _} -> answered(Socket)
    end.
