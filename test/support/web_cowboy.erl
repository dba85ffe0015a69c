%% cowboy as the web server behind Sockeye, in a node of its own that has it in its path: says `READY Port', and ends with its
%% standard input.
-module(web_cowboy).

-export([main/0]).
-export([init/2, websocket_handle/2, websocket_info/2]).

main() ->
    {ok, _} = application:ensure_all_started(cowboy),
    Dispatch = cowboy_router:compile([{'_', [{"/socket", ?MODULE, socket}, {'_', ?MODULE, page}]}]),
    {ok, _} = cowboy:start_clear(?MODULE, #{socket_opts => [{ip, {127, 0, 0, 1}}, {port, 0}]}, #{env => #{dispatch => Dispatch}}),
    io:format("READY ~b~n", [ranch:get_port(?MODULE)]),
    _ = io:get_line(""),
    erlang:halt(0, [{flush, false}]).

init(Req, socket) -> {cowboy_websocket, Req, socket};
init(Req, page) -> {ok, page(cowboy_req:path(Req), Req), page}.

page(<<"/echo">>, Req) ->
    {Body, Read} = body(Req, <<>>),
    cowboy_req:reply(200, #{}, Body, Read);
page(<<"/chunks">>, Req) ->
    Begun = cowboy_req:stream_reply(200, Req),
    [ok = cowboy_req:stream_body(Piece, nofin, Begun) || Piece <- ["one ", "two "]],
    ok = cowboy_req:stream_body("three", fin, Begun),
    Begun;
page(<<"/events">>, Req) ->
    Begun = cowboy_req:stream_reply(200, #{<<"content-type">> => <<"text/event-stream">>}, Req),
    true = register(events, self()),
    ok = cowboy_req:stream_body("data: one\n\n", nofin, Begun),
    receive go -> ok = cowboy_req:stream_body("data: two\n\n", fin, Begun) end,
    Begun;
page(<<"/go">>, Req) ->
    events ! go,
    cowboy_req:reply(200, #{}, <<"gone\n">>, Req);
page(<<"/port">>, Req) ->
    {_, Port} = cowboy_req:peer(Req),
    cowboy_req:reply(200, #{}, integer_to_binary(Port), Req);
page(<<"/who">>, Req) ->
    Fields = [cowboy_req:header(Name, Req) || Name <- [<<"host">>, <<"x-forwarded-for">>, <<"x-forwarded-proto">>]],
    cowboy_req:reply(200, #{}, lists:join(" ", Fields), Req);
page(_, Req) ->
    cowboy_req:reply(200, #{}, <<"hello\n">>, Req).

body(Req, Before) ->
    case cowboy_req:read_body(Req) of
        {ok, Last, Read} -> {<<Before/binary, Last/binary>>, Read};
        {more, More, Read} -> body(Read, <<Before/binary, More/binary>>)
    end.

websocket_handle({text, <<"close">>}, State) -> {[{close, 4001, <<"as you wish">>}], State};
websocket_handle({Type, _} = Frame, State) when Type =:= text; Type =:= binary -> {[Frame], State};
websocket_handle(_, State) -> {[], State}.

websocket_info(_, State) -> {[], State}.
