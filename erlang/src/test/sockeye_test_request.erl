%% @private
%% The request of a client in a test of a handler.
-module(sockeye_test_request).

-export([full/1]).
-export([wrong/1]).
-export([is_proper/1]).
-export([is_iodata/1]).

%% With all that `accept' gets.
-spec full(map()) -> map().
full(Request) ->
    [Path | Query] = string:split(iolist_to_binary(maps:get(path, Request, "/")), "?"),
    Port = 1024 + erlang:unique_integer([positive]) rem 60000,
    Default = #{peer => {{127, 0, 0, 1}, Port}, local => {{127, 0, 0, 1}, 0}, tls => undefined, http_version => {1, 1}},
    (maps:merge(Default, Request))#{
        method => <<"GET">>, path => Path, query => iolist_to_binary(Query),
        headers => [{string:lowercase(iolist_to_binary(Name)), iolist_to_binary(Value)} || {Name, Value} <- maps:get(headers, Request, [])],
        subprotocols => [iolist_to_binary(Name) || Name <- maps:get(subprotocols, Request, [])]}.

%% What is wrong with a request. An accept/2 would crash of it, or the test itself.
-spec wrong(term()) -> none | binary().
wrong(Request) when is_map(Request) ->
    case [Key || {Key, Value} <- lists:sort(maps:to_list(Request)), not is_of_request(Key, Value)] of
        [] -> none;
        [Key | _] -> sockeye_shown:format("~0tp => ~ts is not of a request", [Key, sockeye_shown:short(maps:get(Key, Request))])
    end;
wrong(Other) ->
    sockeye_args:wrong(options, Other).

-spec is_of_request(term(), term()) -> boolean().
is_of_request(path, V) -> is_iodata(V);
is_of_request(headers, V) -> is_proper(V) andalso lists:all(fun({Name, Value}) -> is_iodata(Name) andalso is_iodata(Value); (_) -> false end, V);
is_of_request(subprotocols, V) -> is_proper(V) andalso lists:all(fun is_iodata/1, V);
is_of_request(End, {local, Path}) when End =:= peer; End =:= local -> is_binary(Path);
is_of_request(End, {Ip, Port}) when End =:= peer; End =:= local -> inet:is_ip_address(Ip) andalso is_integer(Port);
is_of_request(tls, V) -> V =:= undefined orelse is_map(V);
is_of_request(http_version, V) -> V =:= {1, 1} orelse V =:= {2, 0} orelse V =:= {1, 0};
is_of_request(_Key, _V) -> false.

-spec is_proper(term()) -> boolean().
is_proper(V) ->
    try length(V) of _ -> true
    catch error:badarg -> false
    end.

-spec is_iodata(term()) -> boolean().
is_iodata(V) -> sockeye_args:wrong(iodata, V) =:= none.
