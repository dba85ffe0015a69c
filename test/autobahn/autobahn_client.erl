%% Runs the cases of Autobahn's fuzzing server: autobahn_client:main() takes its URL and prints
%% a line for each hundred cases.
-module(autobahn_client).
-behaviour(sockeye_handler).

-export([main/0]).
-export([init/1, handle_frame/3]).

%% As in autobahn_echo.
-define(MIB, 1048576).
-define(START_MS, 30000).

-spec main() -> ok.
main() ->
    process_flag(trap_exit, true),
    Url = os:getenv("AUTOBAHN_URL"),
    Count = count(Url, erlang:monotonic_time(millisecond) + ?START_MS),
    lists:foreach(fun(Case) -> run(Url, Case, Count) end, lists:seq(1, Count)),
    {ok, Conn} = sockeye_client:connect([Url, "/updateReports?agent=sockeye"]),
    _ = sockeye_client:recv(Conn),
    io:format("done ~b~n", [Count]).

%% The suite takes a while to start.
-spec count(string(), integer()) -> pos_integer().
count(Url, Deadline) ->
    case sockeye_client:connect([Url, "/getCaseCount"], #{format => raw}) of
        {ok, Conn} ->
            {ok, {text, Count}} = sockeye_client:recv(Conn),
            binary_to_integer(Count);
        {error, Reason} ->
            erlang:monotonic_time(millisecond) < Deadline orelse exit(Reason),
            timer:sleep(100),
            count(Url, Deadline)
    end.

-spec run(string(), pos_integer(), pos_integer()) -> ok.
run(Url, Case, Count) ->
    Case rem 100 =:= 0 andalso io:format("case ~b of ~b~n", [Case, Count]),
    Options = #{format => raw,
                deflate => deflate(os:getenv("SOCKEYE_DEFLATE", "shared")),
                max_message_size => 32 * ?MIB,
                max_fragments => 100000,
                send_queue_size => 64 * ?MIB,
                ping_interval => infinity},
    Path = io_lib:format("/runCase?case=~b&agent=sockeye", [Case]),
    case sockeye_client:start_link([Url, Path], {?MODULE, none}, Options) of
        {ok, Client} -> receive {'EXIT', Client, _} -> ok end;
        {error, Reason} -> io:format("case ~b: ~p~n", [Case, Reason])
    end.

%% Contexts that the threads share, or windows of each connection's own.
-spec deflate(string()) -> boolean() | sockeye:deflate_options().
deflate("off") -> false;
deflate("shared") -> true;
deflate("own") -> #{server_context_takeover => true, client_context_takeover => true}.

-spec init(none) -> {ok, none}.
init(none) ->
    {ok, none}.

-spec handle_frame(term(), term(), none) -> {list(), none}.
handle_frame(Frame, _Conn, State) ->
    {[{reply, Frame}], State}.
