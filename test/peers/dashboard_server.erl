%% A server with a dashboard, and as many connections as is said, over HTTP/2: a hundred on each socket. They come from all over the world,
%% as a proxy would say, talk a little, and are in rooms. One of them is hostile: all that it says of itself is HTML.
%%
%% dashboard_server:main() -extra COUNT [busy]. With `busy' others come, go and are refused, for pictures. Prints a line of JSON when all are open, and ends with its standard input.
%% dashboard_server:cost() -extra COUNT SECONDS. Prints what part of a core this node takes while nobody says anything: without a dashboard,
%% with one that nobody has open, and with each of its views open.
-module(dashboard_server).
-behaviour(sockeye_handler).

-export([main/0, cost/0, truth/1]).
-export([accept/2, init/1, handle_open/3, handle_frame/3]).

-define(STREAMS, 100).
-define(HOSTILE, <<"<img src=x onerror='document.title=1'>">>).

-spec main() -> no_return().
main() ->
    [Argument | Busy] = init:get_plain_arguments(),
    Count = list_to_integer(Argument),
    {ok, _} = application:ensure_all_started(sockeye),
    {Server, Clients} = start(Count, 0, #{dashboard => #{}}),
    [Client ! talk || Client <- Clients],
    {ok, #{port := Bound}} = sockeye:info(Server),
    _ = [spawn_link(fun() -> come_and_go(Bound) end) || Busy =/= [], _ <- lists:seq(1, 6)],
    io:format("{\"port\": ~b, \"connections\": ~b}~n", [Bound, Count]),
    eof = skip_to_eof(),
    init:stop(),
    receive never -> ok end.

-spec cost() -> no_return().
cost() ->
    [Count, Seconds] = [list_to_integer(Argument) || Argument <- init:get_plain_arguments()],
    {ok, _} = application:ensure_all_started(sockeye),
    ok = logger:set_application_level(sockeye, warning),
    {Without, Left} = start(Count, 0, #{}),
    measured("without a dashboard", Seconds),
    [exit(Client, kill) || Client <- Left],
    ok = sockeye:stop(Without),
    {Server, _} = start(Count, 0, #{dashboard => #{}}),
    measured("with one, not open", Seconds),
    {ok, #{port := Port}} = sockeye:info(Server),
    Self = self(),
    _ = spawn_link(fun() -> watch(Port, Self) end),
    Watcher = receive {watches, Conn} -> Conn end,
    measured("overview open", Seconds),
    {ok, {_, Id, _}} = sockeye_engine:find(Server),
    Rows = #{op => rows, server => integer_to_binary(Id), search => <<>>, sort => user, direction => asc, from => 0, count => 100},
    [begin
         ok = sockeye_client:send(Watcher, Question),
         measured(Title, Seconds)
     end || {Title, Question} <- [{"connections open, sorted by user", Rows}, {"connections open, with a search", Rows#{search => <<"ana-1">>}}]],
    halt().

%% Some are refused; the others stay a while and leave in one way or another.
come_and_go(Port) ->
    timer:sleep(rand:uniform(900)),
    Url = ["ws://127.0.0.1:", integer_to_list(Port)],
    case rand:uniform(12) of
        1 -> {error, _} = sockeye_client:connect([Url, "/old"]);
        2 -> {error, _} = sockeye_client:connect([Url, "/chat"], #{headers => [{"Origin", "http://evil.example"}]});
        N ->
            {ok, Conn} = sockeye_client:connect([Url, "/chat"], #{headers => [{"X-User", ["guest-", integer_to_list(rand:uniform(999))]}], format => raw}),
            ok = sockeye_client:send(Conn, [{text, binary:copy(<<"x">>, rand:uniform(2000))} || _ <- lists:seq(1, rand:uniform(40))]),
            timer:sleep(rand:uniform(700)),
            _ = case N of
                    3 -> sockeye_client:close(Conn, 4001, <<"bored">>);
                    _ when N < 6 -> sockeye_client:close(Conn, 1001, <<>>);
                    _ -> sockeye_client:close(Conn)
                end
    end,
    come_and_go(Port).

%% In this node as well: reading the answers counts, too.
watch(Port, Parent) ->
    {ok, Conn} = sockeye_client:connect("ws://127.0.0.1:" ++ integer_to_list(Port) ++ "/_sockeye/live",
                                        #{subprotocols => ["sockeye-dashboard"], format => raw, max_message_size => 16 bsl 20}),
    Parent ! {watches, Conn},
    Read = fun Loop() -> {ok, _} = sockeye_client:recv(Conn, infinity), Loop() end,
    Read().

measured(Title, Seconds) ->
    %% What went before settles.
    timer:sleep(3000),
    Before = ticks(),
    timer:sleep(Seconds * 1000),
    io:format("~-40s ~6.2f % of a core~n", [Title, (ticks() - Before) / Seconds]).

%% Hundredths of a second that this process of the system has used (Linux).
ticks() ->
    {ok, Stat} = file:read_file("/proc/self/stat"),
    [_, Rest] = binary:split(Stat, <<") ">>),
    Fields = binary:split(Rest, <<" ">>, [global]),
    lists:sum([binary_to_integer(lists:nth(N, Fields)) || N <- [12, 13]]).

-spec start(pos_integer(), inet:port_number(), map()) -> {pid(), [pid()]}.
start(Count, Port, More) ->
    {ok, Server} = sockeye:start_link(More#{port => Port, name => rooms, handler => {?MODULE, []}, processes => 2, http2 => cleartext,
                                        trusted_proxies => ["127.0.0.1"], idle_timeout => infinity, ping_interval => infinity,
                                        format => raw, active => 30000, origins => [same_host], paths => ["/chat", "/feed", "/rooms/*"], backlog => 4096, handshake_timeout => 60000,
                                        http => #{"/truth" => {?MODULE, truth}}}),
    _ = whereis(admin) =:= undefined andalso sockeye:start_link(#{port => 0, name => admin, handler => {?MODULE, []}}),
    {ok, #{port := Bound}} = sockeye:info(Server),
    Clients = clients(Server, Bound, 0, Count),
    {Server, Clients}.

%% Some at a time: no more than 1,024 handshakes may wait for accept/2.
clients(_Server, _Port, Count, Count) ->
    [];
clients(Server, Port, First, Count) ->
    Next = min(Count, First + 5 * ?STREAMS),
    Self = self(),
    Group = [spawn_link(fun() -> client(Port, From, min(?STREAMS, Next - From), Self) end) || From <- lists:seq(First, Next - 1, ?STREAMS)],
    [receive {open, Client} -> ok end || Client <- Group],
    until(fun() -> {ok, #{connections := Open}} = sockeye:info(Server), Open >= Next end),
    Group ++ clients(Server, Port, Next, Count).

until(Test) ->
    Test() orelse begin timer:sleep(50), until(Test) end.

%% What sockeye:info/1 says, for the test.
truth(#{query := Query}) ->
    Answer = case Query of
                 <<"conn=", Id/binary>> ->
                     case sockeye:info({sockeye_conn, binary_to_integer(Id)}) of
                         {ok, #{age := Age, frames_in := In, active := Active}} -> #{age => Age, frames_in => In, active => Active};
                         {error, closed} -> #{closed => true}
                     end;
                 _ ->
                     {ok, Info} = sockeye:info(rooms),
                     (maps:with([connections, accepted, frames_in, frames_out, rejected], Info))#{memory => erlang:memory(total)}
             end,
    {ok, Json} = sockeye_json:encode(Answer),
    {200, [{"Content-Type", "application/json"}], Json}.

%% ---------------------------------------------------------------- the handler

accept(#{headers := Headers}, _) ->
    {accept, #{user_data => proplists:get_value(<<"x-user">>, Headers, <<>>)}}.

init(_) ->
    {ok, 0}.

handle_open(#{headers := Headers}, Conn, N) ->
    {[{subscribe, Conn, Room} || Room <- binary:split(proplists:get_value(<<"x-rooms">>, Headers, <<>>), <<",">>, [global]), Room =/= <<>>], N}.

handle_frame(_Frame, _Conn, N) when N rem 100 =:= 0 ->
    {[{publish, room(N div 100), {text, lists:sublist("somebody said something in this room, and was heard", 3 + rand:uniform(48))}}], N + 1};
handle_frame({text, Text}, _Conn, N) ->
    _ = N rem 50 =:= 1 andalso lists:sort(lists:reverse(lists:seq(1, 20000))),
    {[{reply, {text, Text}}], N + 1}.

room(N) ->
    iolist_to_binary(["room/", lists:nth(1 + N rem 12, ["coho", "chinook", "chum", "pink", "kokanee", "steelhead", "char", "trout", "smolt", "parr", "fry", "redd"])]).

%% ---------------------------------------------------------------- clients

client(Port, First, Count, Parent) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}], 60000),
    Large = 16#7fffffff,
    ok = gen_tcp:send(Socket, [h2_frames:hello([{1, 0}, {4, Large}]), h2_frames:window(0, Large - 65535), h2_frames:frame(4, 1, 0, [])]),
    [begin
         ok = gen_tcp:send(Socket, open(1 + 2 * N, First + N)),
         N rem 20 =:= 19 andalso timer:sleep(5)
     end || N <- lists:seq(0, Count - 1)],
    ok = inet:setopts(Socket, [{active, true}]),
    Parent ! {open, self()},
    talk(Socket, Count, none).

talk(Socket, Count, Timer) ->
    receive
        talk ->
            Texts = [h2_frames:data(1 + 2 * rand:uniform(Count) - 2, text(rand:uniform(90))) || _ <- lists:seq(1, rand:uniform(3))],
            _ = gen_tcp:send(Socket, Texts),
            talk(Socket, Count, erlang:send_after(500 + rand:uniform(1000), self(), talk));
        {tcp, Socket, Data} ->
            ok = answer(h2_frames:parse(Data), Socket),
            talk(Socket, Count, Timer);
        {tcp_closed, Socket} ->
            ok
    end.

%% Close frames are answered. One that is cut by a read is not, and its connection ends in time.
answer(Frames, Socket) ->
    [gen_tcp:send(Socket, h2_frames:data(Stream, <<16#88, 16#82, 0:32, Code:16>>)) || {0, _, Stream, <<16#88, _, Code:16, _/binary>>} <- Frames],
    ok.

text(Size) ->
    <<16#81, 1:1, Size:7, 0:32, (binary:copy(<<"x">>, Size))/binary>>.

open(Stream, 7) ->
    head(Stream, <<"/rooms/%3Cb%3E">>, ?HOSTILE, <<"<script>document.title=2</script>">>, <<"198.51.100.7">>);
open(Stream, N) ->
    Names = ["ana", "ben", "chloe", "dmitri", "elif", "farid", "grace", "hiro", "ines", "jonas", "kofi", "lena", "mateo", "nora", "omar", "priya"],
    Path = lists:nth(1 + N rem 5, ["/chat", "/chat", "/feed", "/rooms/lobby", "/rooms/spawning-grounds"]),
    User = [lists:nth(1 + N rem 16, Names), $-, integer_to_list(N)],
    Ip = io_lib:format("~b.~b.~b.~b", [lists:nth(1 + N rem 3, [203, 198, 192]), N rem 97, N div 250 rem 250, 1 + N rem 250]),
    head(Stream, iolist_to_binary(Path), iolist_to_binary(User), iolist_to_binary([room(N), ",", room(N + 5)]), iolist_to_binary(Ip)).

head(Stream, Path, User, Rooms, Ip) ->
    Fields = lists:keystore(<<":path">>, 1, h2_frames:connect_fields(), {<<":path">>, Path}),
    More = [{<<"x-forwarded-for">>, Ip}, {<<"x-user">>, User}, {<<"x-rooms">>, Rooms}, {<<"cookie">>, <<"session=secret">>},
            {<<"user-agent">>, <<"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0">>}, {<<"accept-language">>, <<"en;q=0.9">>},
            {<<"x-note">>, ?HOSTILE}],
    h2_frames:headers(Stream, h2_frames:block(Fields ++ More)).

skip_to_eof() ->
    case io:get_line("") of
        eof -> eof;
        _ -> skip_to_eof()
    end.
