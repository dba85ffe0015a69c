%% The message protocol of the example, in one process for all clients.
-module(erlpy_handler).
-behaviour(sockeye_handler).

-export([init/1]).
-export([handle_frame/3]).

-record(state, {started :: integer()}).

-spec init(term()) -> {ok, #state{}}.
init(_Arg) ->
    {ok, #state{started = erlang:monotonic_time(second)}}.

-spec handle_frame(sockeye_handler:in_frame(), sockeye:conn(), #state{}) -> {[sockeye_handler:command()], #state{}}.
handle_frame(Frame, _Conn, State) ->
    {[{reply, answer(Frame, State)}], State}.

-spec answer(sockeye_handler:in_frame(), #state{}) -> map().
answer({json, #{<<"type">> := <<"ping">>} = Message}, _State) ->
    #{type => <<"pong">>,
      timestamp => maps:get(<<"timestamp">>, Message, null),
      server_time => now_utc()};
answer({json, #{<<"command">> := <<"echo">>, <<"data">> := Data}}, _State) when is_binary(Data) ->
    #{type => <<"echo_response">>,
      original => Data,
      response => <<"Echo: ", Data/binary>>};
answer({json, #{<<"command">> := <<"echo">>}}, _State) ->
    error_message(<<"echo needs a string in \"data\"">>);
answer({json, #{<<"command">> := <<"status">>} = Message}, State) ->
    #{type => <<"status_response">>,
      request_id => maps:get(<<"request_id">>, Message, null),
      status => <<"online">>,
      server => <<"sockeye">>,
      version => version(),
      uptime_seconds => erlang:monotonic_time(second) - State#state.started};
answer({json, #{<<"type">> := <<"greeting">>} = Message}, _State) ->
    #{type => <<"greeting_response">>,
      message => <<"Hello from Erlang WebSocket server!">>,
      received => maps:get(<<"message">>, Message, null)};
answer({json, #{}}, _State) ->
    error_message(<<"unknown message: \"type\" must be ping or greeting, or \"command\" echo or status">>);
answer({json, _NotAnObject}, _State) ->
    error_message(<<"a message is a JSON object">>);
answer({invalid_json, _Text, _Why}, _State) ->
    error_message(<<"the text is not JSON">>);
answer({binary, _Data}, _State) ->
    error_message(<<"a message is JSON in a text frame, this was a binary frame">>).

-spec error_message(binary()) -> map().
error_message(Sentence) ->
    #{type => <<"error">>, message => Sentence}.

-spec now_utc() -> binary().
now_utc() ->
    list_to_binary(calendar:system_time_to_rfc3339(erlang:system_time(second), [{offset, "Z"}])).

-spec version() -> binary().
version() ->
    case application:get_key(sockeye, vsn) of
        {ok, Version} -> list_to_binary(Version);
        undefined -> <<"unknown">>
    end.
