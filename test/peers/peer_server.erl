%% The servers that the peers talk to, each set once for every way to reach it. Prints their
%% ports in one line of JSON and runs until its standard input closes, so that it cannot
%% outlive the script that started it.
-module(peer_server).
-behaviour(sockeye_handler).

-export([main/0]).
-export([init/1, handle_frame/3, handle_close/4]).

%% The limit of the small server; the peers read it from the line of ports.
-define(SMALL, 1024).
-define(BIG, 16 * 1024 * 1024).

-spec main() -> no_return().
main() ->
    %% Who looks at what was logged looks for what is wrong, not for who listens where.
    {ok, _} = application:ensure_all_started(sockeye),
    ok = logger:set_application_level(sockeye, warning),
    [Certificate, Key, Page] = init:get_plain_arguments(),
    Tls = #{tls => #{certfile => Certificate, keyfile => Key},
            http => #{"/" => {file, Page}}},
    Ways = [{"plain", #{}},
            {"deflate", #{deflate => true}},
            {"secure", Tls#{deflate => true}}],
    Sets = [io_lib:format("\"~s\": ~s", [Way, set(Options)]) || {Way, Options} <- Ways],
    Front = #{format => raw, subprotocols => [<<"echo.v2">>, <<"echo.v1">>],
              paths => [<<"/">>, <<"/a">>], origins => [same_host],
              http => #{<<"/hello">> => {text, <<"hello over HTTP">>}}},
    Http2 = io_lib:format("\"http2\": {\"h2c\": ~b, \"h2\": ~b}",
                          [start(Front#{http2 => cleartext}), start(maps:merge(Tls, Front))]),
    io:format("{~s}~n", [lists:join(", ", Sets ++ [Http2])]),
    eof = skip_to_eof(),
    init:stop(),
    receive never -> ok end.

-spec set(map()) -> iodata().
set(Way) ->
    Raw = start(Way#{format => raw, subprotocols => [<<"echo.v2">>, <<"echo.v1">>]}),
    Json = start(Way#{format => json}),
    Small = start(Way#{format => raw, max_message_size => ?SMALL}),
    Deflate = start(Way#{format => raw, deflate => true}),
    Own = start(Way#{format => raw,
                     deflate => #{server_context_takeover => true, client_context_takeover => true}}),
    io_lib:format("{\"raw\": ~b, \"json\": ~b, \"small\": ~b, \"limit\": ~b, "
                  "\"deflate\": ~b, \"own\": ~b}",
                  [Raw, Json, Small, ?SMALL, Deflate, Own]).

-spec start(map()) -> inet:port_number().
start(Options) ->
    Common = #{port => 0,
               handler => {?MODULE, []},
               max_message_size => ?BIG,
               send_queue_size => ?BIG},
    {ok, Server} = sockeye:start_link(maps:merge(Common, Options)),
    {ok, #{port := Port}} = sockeye:info(Server),
    Port.

-spec skip_to_eof() -> eof.
skip_to_eof() ->
    case io:get_line("") of
        eof -> eof;
        _ -> skip_to_eof()
    end.

%% The state is the connection that wants to hear of closes, if there is one.
-spec init(term()) -> {ok, none}.
init(_Arg) ->
    {ok, none}.

-spec handle_frame(sockeye_handler:in_frame(), sockeye:conn(), sockeye:conn() | none) ->
    {[sockeye_handler:command()], sockeye:conn() | none}.
handle_frame({text, <<"!close ", Rest/binary>>}, _Conn, State) ->
    [Code, Reason] = binary:split(Rest, <<" ">>),
    {[{close, binary_to_integer(Code), Reason}], State};
handle_frame({text, <<"!ping ", Data/binary>>}, _Conn, State) ->
    {[{reply, {ping, Data}}], State};
handle_frame({text, <<"!push ", Text/binary>>}, _Conn, State) ->
    {[{broadcast, {text, Text}}], State};
handle_frame({text, <<"!split ", Text/binary>>}, _Conn, State) ->
    {[{reply, {text, Part}} || <<Part:1/binary>> <= Text], State};
handle_frame({text, <<"!how">>}, Conn, State) ->
    {ok, #{http_version := {Major, _}, tls := Tls, deflate := Deflate}} = sockeye:info(Conn),
    How = io_lib:format("http/~b tls ~s deflate ~s", [Major, Tls =/= undefined, Deflate]),
    {[{reply, {text, How}}], State};
handle_frame({text, <<"!watch">>}, Conn, _State) ->
    {[{reply, {text, <<"watching">>}}], Conn};
handle_frame({invalid_json, _, _} = Frame, _Conn, _State) ->
    exit({unexpected, Frame});
handle_frame(Frame, _Conn, State) ->
    {[{reply, Frame}], State}.

-spec handle_close(sockeye:close_code(), binary(), sockeye:conn(), sockeye:conn() | none) ->
    {[sockeye_handler:command()], sockeye:conn() | none}.
handle_close(_Code, _Reason, _Conn, none) ->
    {[], none};
handle_close(_Code, _Reason, Conn, Conn) ->
    {[], none};
handle_close(Code, Reason, _Conn, Watcher) ->
    Line = [<<"closed ">>, integer_to_binary(Code), <<" ">>, Reason],
    {[{send, Watcher, {text, Line}}], Watcher}.
