%% @private
%% Who may see the dashboard. Pure, but for the function of the option `auth'.
-module(sockeye_dashboard_auth).

-export([check/1]).
-export([page/2]).
-export([token/2]).
-export([socket/2]).
-export([subprotocol/0]).
-export([is_equal/2]).

-export_type([auth/0]).

-type auth() :: loopback | {token, Hidden :: fun(() -> binary())} | fun((sockeye_handler:request()) -> term()).
-type verdict() :: {ok, Who :: binary()} | {error, sockeye:http_answer()}.

-define(SUBPROTOCOL, <<"sockeye-dashboard">>).
%% Shorter ones can be guessed.
-define(SHORTEST_TOKEN, 16).
-define(LONGEST_TOKEN, 256).
%% What is written to the log of a name that a function gave.
-define(LONGEST_NAME, 128).

%% The value of the option. What is wrong is not shown: it may be what should have been a token.
-spec check(term()) -> {ok, auth()} | {error, binary()}.
check(loopback) ->
    {ok, loopback};
check(Fun) when is_function(Fun, 1) ->
    {ok, Fun};
%% A supervisor writes the options of a child to the log, and of a function nothing but its name.
check({token, Fun}) when is_function(Fun, 0) ->
    case sockeye_secret:value(Fun) of
        {ok, Token} -> hidden(Token);
        {crashed, Class} -> {error, sockeye_shown:format("the function of the token crashed (~s)", [Class])}
    end;
check({token, Token}) ->
    hidden(Token);
check(_) ->
    {error, expected()}.

-spec hidden(term()) -> {ok, auth()} | {error, binary()}.
hidden(Token) ->
    try iolist_to_binary(Token) of
        Bin ->
            case {is_visible(Bin), byte_size(Bin)} of
                {true, Size} when Size >= ?SHORTEST_TOKEN, Size =< ?LONGEST_TOKEN -> {ok, {token, sockeye_secret:hide(Bin)}};
                {true, Size} -> {error, sockeye_shown:format("~ts, got ~b characters", [expected(), Size])};
                {false, Size} -> {error, sockeye_shown:format("~ts, got ~b characters, not all of them visible ASCII", [expected(), Size])}
            end
    catch
        error:badarg -> {error, sockeye_shown:format("~ts, got no text", [expected()])}
    end.

-spec expected() -> binary().
expected() ->
    <<"expected loopback, a function of one argument, or {token, Text} with 16 to 256 visible ASCII characters, or with a function that returns them">>.

-spec is_visible(binary()) -> boolean().
is_visible(Bin) ->
    lists:all(fun(C) -> C > $\s andalso C < 127 end, binary_to_list(Bin)).

%% Whether a request gets the page. With a token everybody gets it: it has nothing in it but the question for the token.
-spec page(auth(), sockeye_handler:request()) -> verdict().
page({token, _}, _Request) -> {ok, <<"token">>};
page(Auth, Request) -> asked(Auth, Request).

%% Whether the token in the header `Authorization' is right, where one is needed.
-spec token(auth(), sockeye_handler:request()) -> verdict().
token({token, Hidden}, #{headers := Headers}) ->
    case proplists:get_value(<<"authorization">>, Headers) of
        <<"Bearer ", Token/binary>> -> right_token(is_equal(Token, Hidden()));
        _ -> right_token(false)
    end;
token(Auth, Request) ->
    asked(Auth, Request).

%% Whether a request gets a WebSocket. Pages cannot set headers there, but for the list of subprotocols: the token is one of them.
-spec socket(auth(), sockeye_handler:request()) -> verdict().
socket({token, Hidden}, #{subprotocols := Offered}) ->
    right_token(lists:any(fun(Name) -> is_token(Name, Hidden()) end, Offered));
socket(Auth, Request) ->
    asked(Auth, Request).

%% What a page offers beside the token.
-spec subprotocol() -> binary().
subprotocol() -> ?SUBPROTOCOL.

%% In hexadecimal digits, since a token may have characters that a name of a subprotocol has not.
-spec is_token(binary(), binary()) -> boolean().
is_token(<<"token.", Hex/binary>>, Token) ->
    is_equal(Hex, << <<(hex(Byte bsr 4)), (hex(Byte band 15))>> || <<Byte>> <= Token >>);
is_token(_, _Token) ->
    false.

-spec hex(0..15) -> byte().
hex(N) when N < 10 -> $0 + N;
hex(N) -> $a + N - 10.

-spec right_token(boolean()) -> verdict().
right_token(true) -> {ok, <<"token">>};
right_token(false) -> {error, {401, [{"WWW-Authenticate", "Bearer"}], "The token is missing or wrong.\n"}}.

%% Takes the same time wherever the first difference is.
-spec is_equal(binary(), binary()) -> boolean().
is_equal(One, Other) when byte_size(One) =:= byte_size(Other) ->
    Pairs = lists:zip(binary_to_list(One), binary_to_list(Other)),
    lists:foldl(fun({A, B}, Difference) -> Difference bor (A bxor B) end, 0, Pairs) =:= 0;
is_equal(_, _) ->
    false.

-spec asked(auth(), sockeye_handler:request()) -> verdict().
asked(loopback, Request) ->
    case foreign(Request) of
        none ->
            {ok, <<"loopback">>};
        Why ->
            {error, refused(["Without the option auth, the dashboard is for a browser on this machine only: ", Why, ".\nFrom elsewhere, "
                             "ssh -L PORT:localhost:PORT HOST brings it to your own machine; or set auth.\n"])}
    end;
asked(Fun, Request) ->
    case Fun(Request) of
        true -> {ok, <<"auth">>};
        {ok, Who} -> {ok, name(Who)};
        {Status, _, _} = Answer when is_integer(Status), Status >= 300 -> {error, Answer};
        %% Whatever else it is, it is no yes.
        _ -> {error, refused("The dashboard is not for you.\n")}
    end.

-spec refused(iodata()) -> sockeye:http_answer().
refused(Why) -> {403, [], Why}.

-spec name(term()) -> binary().
name(Who) ->
    Text = unicode:characters_to_binary(io_lib:format("~tp", [Who])),
    string:slice(case is_binary(Who) andalso unicode:characters_to_binary(Who) of
                     Who -> Who;
                     _ -> Text
                 end, 0, ?LONGEST_NAME).

%% From this machine, and brought by nobody else; and the browser was sent to a name of this machine: a page of another site may have
%% its own name lead to 127.0.0.1, and is refused by that.
-spec foreign(sockeye_handler:request()) -> none | iodata().
foreign(#{peer := {local, _}}) ->
    "the request comes through a Unix socket";
foreign(#{peer := {Ip, _Port}, headers := Headers}) ->
    Host = proplists:get_value(<<"host">>, Headers, <<>>),
    case {is_loopback(Ip), [Name || {Name, _} <- Headers, is_of_proxy(Name)]} of
        {false, _} -> ["the request comes from ", inet:ntoa(Ip), ", which is no loopback address"];
        {true, [Name | _]} -> ["the header ", Name, " says that a proxy has passed the request on"];
        {true, []} -> case is_local_name(Host) of
                          true -> none;
                          false -> "the header Host names neither localhost nor a loopback address"
                      end
    end.

-spec is_loopback(term()) -> boolean().
is_loopback({127, _, _, _}) -> true;
is_loopback({0, 0, 0, 0, 0, 0, 0, 1}) -> true;
is_loopback({0, 0, 0, 0, 0, 16#ffff, High, _}) -> High bsr 8 =:= 127;
is_loopback(_) -> false.

-spec is_of_proxy(binary()) -> boolean().
is_of_proxy(<<"x-forwarded", _/binary>>) -> true;
is_of_proxy(Name) ->
    lists:member(Name, [<<"forwarded">>, <<"via">>, <<"x-real-ip">>, <<"x-client-ip">>, <<"x-cluster-client-ip">>,
                        <<"true-client-ip">>, <<"cf-connecting-ip">>, <<"x-original-forwarded-for">>]).

-spec is_local_name(binary()) -> boolean().
is_local_name(Host) ->
    Name = binary_to_list(re:replace(string:lowercase(Host), ":[0-9]*$", "", [{return, binary}])),
    Name =:= "localhost" orelse
        case inet:parse_strict_address(string:trim(Name, both, "[]")) of
            {ok, Ip} -> is_loopback(Ip);
            {error, _} -> false
        end.
