%% Binaries that have passed through processes of the VM, where the engine is a process of its own. In a node of its own.
-module(sockeye_port_gc_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/3, message/0, event/0]).
-import(port_node, [until/1]).

-define(TIMEOUT, 60000).
%% A byte that passes is in a packet, in a term and in what is made of that.
-define(MOST, 3 * sockeye_port_gc:first()).
-define(LARGE, 3000000).

port_test_() ->
    port_node:tests(120, [{"what a batch leaves", fun batch/0},
                          {"who does what behind a batch", fun who/0},
                          {"what has passed is collected", fun passed/0},
                          {"of an owner as well", fun owner/0}]).

batch() ->
    Batch = fun(Size) -> {sockeye_batch, 1, 1, 0, binary:copy(<<0>>, Size)} end,
    LeftBy = fun(Size, Whom) -> sockeye_port_batch:left_by(Batch(Size), [conn, event, conn, event], Whom) end,
    ?assertEqual([false, true, true], [LeftBy(Size, one) || Size <- [511, 512, 513]]),
    ?assertEqual([511, 512], [LeftBy(Size, many) || Size <- [511, 512]]),
    is_collected([false], [true]),
    Least = sockeye_port_gc:first(),
    is_collected([Least div 2, Least div 2 - 1], [1]).

%% What is done first leaves a binary, and what is done then does not.
is_collected(First, Then) ->
    {Pid, Ref} = spawn_opt(fun() ->
        _ = byte_size(binary:copy(<<"x">>, 1000)),
        [ok = sockeye_port_batch:left(Left) || Left <- First],
        ?assertMatch({binary, [_]}, process_info(self(), binary)),
        [ok = sockeye_port_batch:left(Left) || Left <- Then],
        ?assertEqual({binary, []}, process_info(self(), binary))
    end, [monitor, {min_heap_size, 10000}]),
    receive {'DOWN', Ref, process, Pid, Reason} -> ?assertEqual(normal, Reason) end.

%% The process of one connection collects at once what batches of some size have left.
who() ->
    1 = erlang:trace_pattern({sockeye_port_batch, left, 1}, true),
    [with_handler(echo(), #{processes => Processes}, fun(Port, _) ->
         Socket = ws_client:connect(Port),
         {open, Handler} = message(),
         Left = fun(Text) ->
             _ = erlang:trace(Handler, true, [call]),
             ok = ws_client:text(Socket, Text),
             ?assertEqual({text, Text}, ws_client:recv(Socket)),
             ByIt = receive {trace, Handler, call, {sockeye_port_batch, left, [By]}} -> By after ?TIMEOUT -> error(no_call) end,
             _ = erlang:trace(Handler, false, [call]),
             ByIt
         end,
         Large = iolist_to_binary([$", binary:copy(<<"x">>, 1000), $"]),
         case Processes of
             per_connection -> ?assertEqual({true, false}, {Left(Large), Left(<<"1">>)});
             _ -> ?assertEqual({true, false}, {Left(Large) > 1000, Left(<<"1">>) > 1000})
         end
     end) || Processes <- [per_connection, one, 2]],
    1 = erlang:trace_pattern({sockeye_port_batch, left, 1}, false),
    test_support:flush().

echo() ->
    Self = self(),
    #{open => fun(_, _, S) -> Self ! {open, self()}, {[], S} end,
      frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end}.

%% Large messages make binaries old in each process that they pass through, and the VM lets it keep as much from then on.
passed() ->
    with_handler(echo(), #{processes => one, max_message_size => 2 * ?LARGE}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        {open, Worker} = message(),
        [echoed(Socket, Size) || Size <- sizes()],
        keep_little([Worker, whereis(sockeye_link), whereis(sockeye_link_writer)])
    end).

owner() ->
    with_server(#{active => true, max_message_size => 2 * ?LARGE}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        {_, {open, _}} = event(),
        [begin
             ok = ws_client:text(Socket, json(Size)),
             {_, {json, _}} = event()
         end || Size <- sizes()],
        [Delivery] = sockeye_link:deliveries(self()),
        keep_little([Delivery, whereis(sockeye_link), whereis(sockeye_link_writer)])
    end).

sizes() ->
    lists:append(lists:duplicate(20, [16000, 16000, 16000, ?LARGE, 64000, 64000, 16000, 16000, 16000, 16000, 16000, 64000, 64000])).

echoed(Socket, Size) ->
    Text = json(Size),
    ok = ws_client:text(Socket, Text),
    ?assertEqual({text, Text}, ws_client:recv(Socket)).

json(Size) ->
    iolist_to_binary([$", binary:copy(<<"x">>, Size), $"]).

%% They have nothing more to do.
keep_little(Pids) ->
    until(fun() -> lists:all(fun(Pid) -> kept(Pid) =< ?MOST end, Pids) end).

kept(Pid) ->
    {binary, Binaries} = process_info(Pid, binary),
    lists:sum([Size || {_, Size, _} <- lists:ukeysort(1, Binaries)]).
