%% @private
%% The counters of a server in the text format of Prometheus.
-module(sockeye_metrics).

-export([answer/2]).
-export([text/1]).

-define(READ_ONLY, <<"GET, HEAD, OPTIONS">>).

-type metric() :: {Name :: string(), gauge | counter | histogram, Help :: string(), [sample()]}.
%% What follows the name, and the value.
-type sample() :: {iodata(), number()}.

-spec answer(map(), sockeye_backend:server_id()) -> sockeye:http_answer().
answer(#{method := <<"OPTIONS">>}, _Id) ->
    {204, [{<<"Allow">>, ?READ_ONLY}], <<>>};
answer(#{method := Method}, Id) when Method =:= <<"GET">>; Method =:= <<"HEAD">> ->
    {200, [{<<"Content-Type">>, <<"text/plain; version=0.0.4; charset=utf-8">>}], text(Id)};
answer(_Request, _Id) ->
    {405, [{<<"Allow">>, ?READ_ONLY}], <<"This can only be read.\n">>}.

-spec text(sockeye_backend:server_id()) -> iodata().
text(Id) ->
    {ok, Engine} = sockeye:info(),
    [block(Metric) || Metric <- metrics(sockeye_counts:numbers(Id), Engine)].

-spec block(metric()) -> iodata().
block({Name, Type, Help, Samples}) ->
    [["# HELP sockeye_", Name, $\s, Help, "\n# TYPE sockeye_", Name, $\s, atom_to_list(Type), $\n],
     [["sockeye_", Name, After, $\s, number(Value), $\n] || {After, Value} <- Samples]].

-spec number(number()) -> iodata().
number(Value) when is_integer(Value) -> integer_to_list(Value);
number(Value) -> io_lib:format("~w", [Value]).

-spec metrics(map(), map()) -> [metric()].
metrics(Of, Engine) ->
    [{Name, Type, Help, [{"", map_get(Key, Of)}]} || {Name, Type, Help, Key} <- plain()] ++
    [{"closes_total", counter, "Connections that have ended, by close code.", by("code", map_get(closes, Of))},
     {"refused_total", counter, "Clients that got no connection, by reason.", by("reason", map_get(refused, Of))},
     {"crashes_total", counter, "Callbacks of the handler, accept functions and functions of http that crashed.",
      by("callback", map_get(crashes, Of))},
     {"handler_batch_seconds", histogram, "Time that a process of the handler took for the events that it had fetched together.",
      histogram(map_get(handler_time, Of))},
     {"server_memory_bytes", gauge, "Bytes that wait for clients and for handlers, and bytes of the processes of a pool.",
      by("part", map_get(memory, Of))},
     {"inbox_bytes", gauge, "Bytes that wait for the handler processes of a pool.", [{"", map_get(inboxes, map_get(memory, Of))}]},
     {"memory_bytes", gauge, "Bytes that the engine holds, for all servers of the node.", [{"", map_get(memory, Engine)}]},
     {"engine_restarts_total", counter, "Starts of the engine after the first.", [{"", map_get(restarts, Engine)}]},
     {"engine_info", gauge, "Where the engine is: in the VM or in a process of its own.",
      by("engine", #{map_get(engine, Engine) => 1})}].

%% A label for each key. All keys are ours.
-spec by(string(), #{atom() | integer() => number()}) -> [sample()].
by(Label, Map) ->
    [{[${, Label, "=\"", io_lib:format("~w", [Key]), "\"}"], Value} || {Key, Value} <- lists:sort(maps:to_list(Map))].

-spec histogram(map()) -> [sample()].
histogram(#{buckets := Buckets, sum := Sum, count := Count}) ->
    {Samples, _} = lists:mapfoldl(fun({UpTo, N}, Before) -> {{["_bucket{le=\"", seconds(UpTo), "\"}"], Before + N}, Before + N} end,
                                  0, Buckets),
    Samples ++ [{"_sum", Sum / 1000000}, {"_count", Count}].

-spec seconds(pos_integer() | infinity) -> iodata().
seconds(infinity) -> "+Inf";
seconds(Micros) -> float_to_list(Micros / 1000000, [{decimals, 5}, compact]).

-spec plain() -> [{string(), gauge | counter, string(), atom()}].
plain() ->
    [{"connections", gauge, "Open WebSocket connections.", connections},
     {"connections_accepted_total", counter, "WebSocket handshakes completed.", accepted},
     {"connections_rejected_total", counter, "Handshakes refused or given up.", rejected},
     {"http_requests_total", counter, "Ordinary HTTP requests.", requests},
     {"http_requests_proxied_total", counter, "Requests passed on to a web server behind.", proxied},
     {"proxy_errors_total", counter, "Requests passed on that were answered 502, 503 or 504, or whose answer broke off.", proxy_errors},
     {"frames_received_total", counter, "Messages received.", frames_in},
     {"frames_sent_total", counter, "Frames handed over for sending.", frames_out},
     {"received_bytes_total", counter, "Bytes read after the handshake.", bytes_in},
     {"sent_bytes_total", counter, "Bytes written after the handshake.", bytes_out},
     {"frames_dropped_total", counter, "Copies of broadcast frames that a full connection did not get.", dropped},
     {"closes_unanswered_total", counter, "Connections cut off since the client did not answer a Close frame in time.", unanswered},
     {"connections_without_process_total", counter, "Connections closed with 1011, and questions answered 503, for want of a process.",
      no_process},
     {"connections_without_descriptor_total", counter, "Connections refused to keep descriptors for the rest of the node.",
      no_descriptor},
     {"accept_errors_total", counter, "Failures of the system to accept a connection.", accept_errors},
     {"accept_pauses_total", counter, "Times that accepting has paused since handlers were too far behind.", accept_pauses},
     {"sends_refused_total", counter, "Sends to one connection that were refused since its queue was full.", busy},
     {"connections_failed_total", counter, "Connections that the server ended for a limit or a fault.", failed},
     {"http_requests_answering", gauge, "Ordinary HTTP requests whose answer is not complete.", answering},
     {"connections_unattached", gauge, "Connections that wait for a process of their own.", unattached}].
