%% Requests of HTTP/1 at the edge of RFC 9110 and 9112: {Title, Bytes, Statuses, Then}, where Then is
%% `ends' if the connection ends with the answer, `goes_on' if another request may follow, and
%% `either' where the RFCs leave it open.
-module(bad_http).

-export([all/0]).
-export([routes/0]).
-export([with_upgrade/1]).

-define(UPGRADE, <<"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n">>).

%% What the requests are for. The function says which host was asked for, and what the body was.
routes() ->
    #{<<"/">> => {text, <<"hello">>},
      <<"/echo">> => fun(#{body := Body, headers := Headers}) ->
                         {200, [{"X-Host", proplists:get_value(<<"host">>, Headers, <<"none">>)}], Body}
                     end}.

all() -> hosts() ++ targets() ++ lines() ++ sizes() ++ codings() ++ chunks() ++ versions().

ask(Target) -> ask(Target, "Host: localhost\r\n").

ask(Target, Lines) -> iolist_to_binary(["GET ", Target, " HTTP/1.1\r\n", Lines, "\r\n"]).

post(Lines, Body) -> iolist_to_binary(["POST /echo HTTP/1.1\r\nHost: localhost\r\n", Lines, "\r\n\r\n", Body]).

hosts() ->
    [{["host ", H], ask("/", ["Host: ", H, "\r\n"]), [400], ends}
     || H <- ["localhost:port", "[zz]", "[zz]:1", "::1", "[::1", "[fe80::1%eth0]", "[fe80::1%25eth0]", "example.com:99999",
              "example.com:-1", "user@localhost", "a b", "a/b", "a,b", "a?b", "a#b", "%", "a%zz", "[::1]x"]]
        ++ [{["host ", H], ask("/", ["Host: ", H, "\r\n"]), [200], goes_on}
            || H <- ["", "a", "a:", "a:65535", "[::1]:80", "[::ffff:1.2.3.4]", "a%20b", "a.example."]]
        ++ [{"no host", ask("/", ""), [400], ends},
            {"two hosts", ask("/", "Host: a\r\nHost: b\r\n"), [400], ends},
            {"two hosts that are one", ask("/", "Host: a\r\nhost: a\r\n"), [400], ends}].

targets() ->
    [{["target ", T], ask(T), [400], ends}
     || T <- ["/#f", "/echo#fragment", "/echo?key=value#fragment", "http://localhost/echo#f", "http://localhost/echo?k=v#f",
              "bad://localhost/", "ftp://localhost/", "ws://localhost/", "http://", "http:///", "http://:80/", "http:/a",
              "http://user@localhost/", "http://user:secret@localhost/", "http://localhost:port/", "http://::1/", "*",
              "localhost:80", "echo", "?a", "/a b"]]
        ++ [{["target ", T], ask(T), [200], goes_on}
            || T <- ["http://localhost/", "HTTP://localhost", "https://[::1]:80/?x", "/?", "/?a?b"]]
        ++ [{"no host beside an absolute target", ask("http://localhost/", ""), [400], ends},
            {"a wrong host beside an absolute target", ask("http://localhost/", "Host: ::1\r\n"), [400], ends},
            {"connect", <<"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n">>, [501], ends},
            {"connect with a path", <<"CONNECT /echo HTTP/1.1\r\nHost: localhost\r\n\r\n">>, [501], ends}].

lines() ->
    Get = ask("/"),
    [{"one empty line before", <<"\r\n", Get/binary>>, [200], goes_on},
     {"two empty lines before", <<"\r\n\r\n", Get/binary>>, [400], ends},
     {"a line feed before", <<"\n", Get/binary>>, [400], ends},
     {"white space before", <<" ", Get/binary>>, [400], ends},
     {"LF ends a line", ask("/", "Host: localhost\r\nX: a\n"), [400], ends},
     {"LF everywhere", binary:replace(Get, <<"\r\n">>, <<"\n">>, [global]), [400], ends},
     {"CR alone", ask("/", "Host: localhost\r\nX: a\rb\r\n"), [400], ends},
     {"a folded line", ask("/", "Host: localhost\r\nX: a\r\n b\r\n"), [400], ends},
     {"a space before the colon", ask("/", "Host : localhost\r\n"), [400], ends},
     {"no colon", ask("/", "Host: localhost\r\nX\r\n"), [400], ends},
     {"no name", ask("/", "Host: localhost\r\n: a\r\n"), [400], ends},
     {"NUL", ask("/", "Host: localhost\r\nX: a\0b\r\n"), [400], ends},
     {"no version", <<"GET /\r\n\r\n">>, [400], ends}].

sizes() ->
    [{"a request line of 20000", ask(["/", lists:duplicate(20000, $a)]), [414], ends},
     {"a header of 20000", ask("/", ["Host: localhost\r\nX: ", lists:duplicate(20000, $a), "\r\n"]), [431], ends},
     {"100 headers", ask("/", ["Host: localhost\r\n", lists:duplicate(99, "X: y\r\n")]), [200], goes_on},
     {"101 headers", ask("/", ["Host: localhost\r\n", lists:duplicate(100, "X: y\r\n")]), [431], ends}].

codings() ->
    Body = "6\r\nHello \r\n5\r\nworld\r\n1\r\n!\r\n0\r\n\r\n",
    [{["coding ", C], post(["Transfer-Encoding: ", C], Body), [Status], ends}
     || {C, Status} <- [{"cow, chunked", 501}, {"unknown, chunked", 501}, {"gzip, chunked", 501}, {"gzip,deflate, chunked", 501},
                        {"chunked, chunked", 400}, {"chunked, gzip", 400}, {"chunked, identity", 400}, {"gzip", 400},
                        {"identity", 400}, {"", 400}, {"xchunked", 400}, {"chunked;x", 400},
                        {"chunked\r\nTransfer-Encoding: chunked", 400}, {"chunked\r\nContent-Length: 5", 400},
                        {"chunked\r\nContent-Length: 0", 400}]]
        ++ [{["coding ", C], post(["Transfer-Encoding: ", C], Body), [200], goes_on} || C <- ["chunked", "CHUNKED", ", chunked,"]]
        ++ [{["length ", L], post(["Content-Length: ", L], "hello"), [400], ends}
            || L <- ["", "+5", "-5", "5, 5", "5 5", "0x5", "5.0", "5\r\nContent-Length: 5", "99999999999999999999"]]
        ++ [{"length 5", post("Content-Length: 5", "hello"), [200], goes_on},
            {"chunked in 1.0", <<"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n">>, [400], ends}].

chunks() ->
    [{["chunks ", B], post("Transfer-Encoding: chunked", B), [400], ends}
     || B <- ["6\r\nHello \r\n5\r\nworld\r\n0\r\n\n", "0\n\r\n", "0\r\nX: y\n\r\n", "0\r\nX: y\r\n\n", "0\r\nX\r\n\r\n",
              "0\r\nX : y\r\n\r\n", "0\r\n X: y\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhelloX",
              "-1\r\n", "+1\r\n", "0x1\r\n", "g\r\n", " 1\r\n", ";\r\n", "\r\n", "fffffffffffffffff\r\n",
              ["1;", lists:duplicate(20000, $x), "\r\na\r\n0\r\n\r\n"],
              ["0\r\n", lists:duplicate(101, "X: y\r\n"), "\r\n"],
              ["0\r\nX: ", lists:duplicate(20000, $y), "\r\n\r\n"]]]
        ++ [{["chunks ", B], post("Transfer-Encoding: chunked", B), [200], goes_on}
            || B <- ["0\r\n\r\n", "0\r\nX: y\r\nZ:\r\n\r\n", "5;a=b\r\nhello\r\n0\r\n\r\n", "005\r\nhello\r\n00\r\n\r\n"]].

versions() ->
    [{["version ", V], iolist_to_binary(["GET / ", V, "\r\nHost: localhost\r\n\r\n"]), Statuses, Then}
     || {V, Statuses, Then} <- [{"HTTP/1.2", [200], goes_on}, {"HTTP/1.9", [200], goes_on}, {"HTTP/1.0", [200], ends},
                                {"HTTP/2.0", [505], ends}, {"HTTP/0.9", [505], ends}, {"http/1.1", [400], ends},
                                {"HTTP/1.10", [400], ends}, {"HTTPS/1.1", [400], ends}, {"HTTP/1.1 ", [400, 505], ends}]]
        ++ [{["HTTP/1.0 that asks for a WebSocket: ", Path],
             iolist_to_binary(["GET ", Path, " HTTP/1.0\r\nHost: localhost\r\n", ?UPGRADE, "\r\n"]), [Status], ends}
            || {Path, Status} <- [{"/", 200}, {"/echo", 200}, {"/nothing", 404}]].

%% The same request, as a handshake, where it has lines to put that in.
with_upgrade(Bytes) ->
    Get = binary:replace(Bytes, <<"POST /echo">>, <<"GET /">>),
    case re:run(Get, "^[^\r]* HTTPS?/[^\r\n]*\r\n", [caseless]) of
        {match, [{0, Length}]} ->
            <<Line:Length/binary, Lines/binary>> = Get,
            [<<Line/binary, (?UPGRADE)/binary, Lines/binary>>];
        nomatch ->
            []
    end.
