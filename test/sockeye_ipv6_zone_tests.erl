%% IPv6 addresses that need an interface: those of servers, and those in URLs.
-module(sockeye_ipv6_zone_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2]).

%% A server on an address of one network, and a client that finds it there.
one_network_test_() ->
    case link_local() of
        none ->
            test_support:left_out("an address of one network", "no interface has one");
        {Name, Address, Number} ->
            [{lists:concat([Title, " with ", Zone]), fun() -> Test(Address, Zone) end}
             || Zone <- [Name, integer_to_list(Number)], {Title, Test} <- [{"a server", fun reached/2}, {"the Host header", fun host/2},
                                                                        {"a redirect", fun redirected/2}]]
    end.

reached(Address, Zone) ->
    Text = inet:ntoa(Address),
    [with_server(#{ip => Ip, format => raw}, fun(Port, Server) ->
         ?assertMatch({ok, #{ip := Address, port := Port}}, sockeye:info(Server)),
         {ok, Conn} = sockeye_client:connect(url(Text, Zone, Port)),
         ?assertMatch({ok, #{peer := {Address, Port}}}, sockeye:info(Conn)),
         receive {sockeye, There, {open, #{peer := {Peer, _}}}} when There =/= Conn -> ?assertEqual(Address, Peer) end,
         %% Without the zone nobody knows where that is.
         ?assertMatch({error, Why} when is_atom(Why), sockeye_client:connect(["ws://[", Text, "]:", integer_to_list(Port)])),
         ok = sockeye_client:close(Conn)
     end) || Ip <- [Text ++ "%" ++ Zone, list_to_binary([Text, "%", Zone])]].

%% The zone is for this machine only.
host(Address, Zone) ->
    Text = inet:ntoa(Address),
    with_server(#{ip => Text ++ "%" ++ Zone, format => raw}, fun(Port, _) ->
        [begin
             {ok, Conn} = sockeye_client:connect(url(Text, Zone, Port), Options),
             receive {sockeye, There, {open, #{headers := [{<<"host">>, Host} | _]}}} when There =/= Conn ->
                 ?assertEqual(iolist_to_binary(Expected), Host)
             end,
             ok = sockeye_client:close(Conn)
         end || {Options, Expected} <- [{#{}, ["[", Text, "]:", integer_to_list(Port)]}, {#{host => "a.example"}, "a.example"}]]
    end).

%% A server that names its own address, as it was asked for, is found again.
redirected(Address, Zone) ->
    Text = inet:ntoa(Address),
    with_server(#{ip => Text ++ "%" ++ Zone, format => raw}, fun(Port, _) ->
        There = liar_of(fun(S) ->
            Head = raw_server:head(S),
            {match, [Host]} = re:run(Head, "host: ([^\r]*)", [caseless, {capture, all_but_first, binary}]),
            [Own, _] = binary:split(Host, <<"]:">>),
            raw_server:say(S, ["HTTP/1.1 302 x\r\nLocation: http://", Own, "]:", integer_to_list(Port), "/ws\r\nContent-Length: 0\r\n\r\n"]),
            raw_server:await_end(S)
        end, Address, Zone),
        {ok, Conn} = sockeye_client:connect(url(Text, Zone, There), #{max_redirects => 1}),
        ?assertMatch({ok, #{peer := {Address, Port}, path := <<"/ws">>}}, sockeye:info(Conn)),
        ok = sockeye_client:close(Conn)
    end).

%% A port of this address, where a script answers one client.
liar_of(Script, Address, Zone) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        {ok, Listener} = gen_tcp:listen(0, [inet6, binary, {active, false}, {ifaddr, #{family => inet6, addr => Address, port => 0,
                                                                                       scope_id => number(Zone)}}]),
        {ok, Port} = inet:port(Listener),
        Self ! {self(), Port},
        {ok, Socket} = gen_tcp:accept(Listener),
        Script(Socket)
    end),
    receive {Pid, Port} -> Port end.

number(Zone) ->
    try list_to_integer(Zone)
    catch error:badarg ->
            {ok, Number} = net:if_name2index(Zone),
            Number
    end.

%% An interface that is not there is an error with a name.
no_such_interface_test_() ->
    [test_support:if_ipv6({"of a server", fun() ->
         [?assertEqual({Zone, {error, enodev}}, {Zone, sockeye:start_link(#{port => 0, ip => "fe80::1%" ++ Zone})})
          || Zone <- ["nosuchzone0", "no-such.zone_1~"]]
     end}),
     test_support:if_ipv6({"of a URL", fun() ->
         [?assertEqual({Zone, {error, enodev}}, {Zone, sockeye_client:connect("ws://[fe80::1%25" ++ Zone ++ "]:9/")})
          || Zone <- ["nosuchzone0", "no-such.zone_1~", "%6eosuchzone"]]
     end}),
     test_support:if_ipv6({"of a proxy", fun() ->
         ?assertEqual({error, enodev}, sockeye_client:connect("ws://a/", #{proxy => "http://[fe80::1%25nosuchzone]:9"}))
     end})].

%% What can be no zone is told as such.
bad_zones_test_() ->
    [?_assertMatch({error, {bad_url, <<"expected %25 and the name of an interface", _/binary>>}}, sockeye_client:connect(Url))
     || Url <- ["ws://[fe80::1%eth0]/", "ws://[fe80::1%]/", "ws://[fe80::1%25]/", "wss://[fe80::1%25%25]/", "ws://[fe80::1%25a:b]/",
                "ws://[fe80::1%25a%2fb]/"]]
    ++ [?_assertMatch({error, {bad_url, _}}, sockeye_client:connect(Url))
        || Url <- ["ws://fe80::1%25eth0/", "ws://a%25eth0/", "ws://[1.2.3.4%25eth0]/", "ws://[fe80::1%25a%2]/", "ws://[fe80::1%25a%0a]/"]]
    ++ [?_assertMatch({error, {bad_option, ip, <<"expected any, loopback", _/binary>>}}, sockeye:start_link(#{port => 0, ip => Ip}))
        || Ip <- ["fe80::1%", "%eth0", "1.2.3.4%eth0", "localhost%eth0", "fe80::1%a%b", "fe80::1%a/b", "fe80::1%a b",
                  <<"fe80::1%a]">>]]
    %% Who is trusted is an address, wherever it is.
    ++ [?_assertMatch({error, {bad_option, trusted_proxies, _}}, sockeye:start_link(#{port => 0, trusted_proxies => ["fe80::1%eth0"]}))].

%% A proxy gets the address without the zone: it has other interfaces.
a_proxy_does_not_see_it_test_() ->
    [{Scheme, fun() ->
        Self = self(),
        raw_server:with(fun(Socket) -> Self ! {asked, Asked(Socket)} end, fun(Port) ->
            Proxy = [Scheme, "://127.0.0.1:", integer_to_list(Port)],
            _ = sockeye_client:connect("ws://[fe80::1%25eth0]:81/", #{proxy => Proxy}),
            receive {asked, Got} -> ?assertEqual(Expected, Got) end
        end)
     end} || {Scheme, Asked, Expected} <-
        [{"http", fun raw_server:head/1, <<"CONNECT [fe80::1]:81 HTTP/1.1\r\nHost: [fe80::1]:81\r\n\r\n">>},
         {"socks5", fun socks/1, <<5, 1, 0, 4, 16#fe80:16, 0:96, 1:16, 81:16>>}]].

socks(Socket) ->
    {ok, <<5, 1, 0>>} = gen_tcp:recv(Socket, 3, 60000),
    raw_server:say(Socket, <<5, 0>>),
    {ok, Asked} = gen_tcp:recv(Socket, 22, 60000),
    Asked.

url(Text, Zone, Port) ->
    ["ws://[", Text, "%25", Zone, "]:", integer_to_list(Port), "/"].

%% An address of one network that this machine has, with the name and number of its interface.
link_local() ->
    {ok, Interfaces} = inet:getifaddrs(),
    Found = [{Name, Address, Number} || {Name, Facts} <- Interfaces, {addr, {16#fe80, _, _, _, _, _, _, _} = Address} <- Facts,
                                        {ok, Number} <- [net:if_name2index(Name)]],
    case Found of
        [One | _] -> One;
        [] -> none
    end.
