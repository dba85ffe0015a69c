%% What is no WebSocket handshake, and near misses that are one.
-module(bad_requests).

-export([all/0]).
-export([good/0]).
-export([head/3]).
-export([padded/1]).
-export([with_headers/1]).
-export([old_clients/0]).

-define(KEY, "dGhlIHNhbXBsZSBub25jZQ==").

good() ->
    head("GET", "/", headers()).

headers() ->
    [{"Host", "localhost"}, {"Upgrade", "websocket"}, {"Connection", "Upgrade"},
     {"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", ?KEY}].

head(Method, Target, Headers) ->
    head(Method, Target, "HTTP/1.1", Headers).

head(Method, Target, Version, Headers) ->
    iolist_to_binary([Method, " ", Target, " ", Version, "\r\n",
                      [[Name, ": ", Value, "\r\n"] || {Name, Value} <- Headers], "\r\n"]).

%% A good handshake whose head has this many bytes.
padded(Size) ->
    Empty = head("GET", "/", headers() ++ [{"X-Padding", ""}]),
    head("GET", "/", headers() ++ [{"X-Padding", lists:duplicate(Size - byte_size(Empty), $x)}]).

%% A good handshake with this many headers.
with_headers(Count) ->
    More = [{"X-" ++ integer_to_list(N), "1"} || N <- lists:seq(1, Count - length(headers()))],
    head("GET", "/", headers() ++ More).

with(Name, Value) -> head("GET", "/", lists:keystore(Name, 1, headers(), {Name, Value})).
without(Name) -> head("GET", "/", lists:keydelete(Name, 1, headers())).
and_also(Name, Value) -> head("GET", "/", headers() ++ [{Name, Value}]).
target(Target) -> head("GET", Target, headers()).
method(Method) -> head(Method, "/", headers()).
version(Version) -> head("GET", "/", Version, headers()).

%% A good handshake with raw bytes as its last header line.
line(Line) ->
    Good = good(),
    Size = byte_size(Good) - 2,
    iolist_to_binary([binary:part(Good, 0, Size), Line, "\r\n"]).

%% {Title, Bytes, Status}.
all() ->
    methods() ++ versions() ++ keys() ++ hosts() ++ upgrades() ++ websocket_versions() ++ lines()
        ++ targets() ++ bodies() ++ others()
        ++ [{Title, Bytes, 426} || {Title, Bytes} <- old_clients()].

methods() ->
    [{["method ", M], method(M), 405} || M <- ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH",
                                               "TRACE", "get", "Get", "GETT", "PRI"]]
        ++ [{["method ", M], method(M), 400} || M <- ["", "G@T", "G\0T", "GE T", "G\tT", "\377"]].

versions() ->
    [{["version ", V], version(V), 505} || V <- ["HTTP/2.0", "HTTP/0.9", "HTTP/9.9"]]
        ++ [{"version HTTP/1.0", version("HTTP/1.0"), 426}]
        ++ [{["version ", V], version(V), 400} || V <- ["", "http/1.1", "FTP/1.1", "HTTPS/1.1", "HTCPCP/1.0"]]
        ++ [{["version ", V], version(V), 101} || V <- ["HTTP/1.2", "HTTP/1.9"]]
        ++ [{"space behind the version", version("HTTP/1.1 "), any}].

keys() ->
    [{"no key", without("Sec-WebSocket-Key"), 400},
     {"two keys", and_also("Sec-WebSocket-Key", ?KEY), 400},
     {"two keys, other case", and_also("SEC-WEBSOCKET-KEY", ?KEY), 400},
     {"key with white space around", with("Sec-WebSocket-Key", " \t" ?KEY " \t"), 101}]
        ++ [{["key ", K], with("Sec-WebSocket-Key", K), 400}
            || K <- ["", "YQ==", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=",
                     "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZTE=", "dGhlIHNhbXBsZSBub25jZTEy",
                     "dGhlIHNhbXBsZSBub25j-_==", "dGhlIHNhbXBs ZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ===",
                     "================", ?KEY "," ?KEY, "dGhlIHNhbXBsZSBub25j\303\244=="]].

hosts() ->
    [{"no host", without("Host"), 400},
     {"two hosts", and_also("Host", "localhost"), 400},
     {"two hosts, other case", and_also("HOST", "other"), 400}]
        ++ [{["host ", H], with("Host", H), 400}
            || H <- ["a b", "a/b", "user@a", "a,b", "a?b", "a#b", "a\\b", "<a>", "a\303\244"]]
        ++ [{["host ", H], with("Host", H), 101}
            || H <- ["", "a", "a:80", "127.0.0.1:8080", "[::1]", "[::1]:80", "a.example.", "xn--bcher-kva.example"]].

upgrades() ->
    [{"no upgrade", without("Upgrade"), 426},
     {"no connection", without("Connection"), 400}]
        ++ [{["upgrade ", U], with("Upgrade", U), 426} || U <- ["", "h2c", "websockets", "websocket/13", "web socket"]]
        ++ [{["upgrade ", U], with("Upgrade", U), 101} || U <- ["WebSocket", "WEBSOCKET", "h2c, websocket", ",websocket,"]]
        ++ [{["connection ", C], with("Connection", C), 400} || C <- ["", "close", "keep-alive", "upgraded", "up grade"]]
        ++ [{["connection ", C], with("Connection", C), 101} || C <- ["upgrade", "keep-alive, Upgrade", "UPGRADE,"]].

websocket_versions() ->
    [{"no version", without("Sec-WebSocket-Version"), 426},
     {"two versions", and_also("Sec-WebSocket-Version", "13"), 400},
     {"two different versions", and_also("Sec-WebSocket-Version", "8"), 400}]
        ++ [{["version ", V], with("Sec-WebSocket-Version", V), 426}
            || V <- ["", "0", "7", "8", "12", "14", "013", "13.0", "+13", "13, 8", "255", "thirteen"]].

lines() ->
    [{"folded header", line("X-A: a\r\n b\r\n"), 400},
     {"folded with a tab", line("X-A: a\r\n\tb\r\n"), 400},
     {"fold in the first header", <<"GET / HTTP/1.1\r\n Host: a\r\n\r\n">>, 400},
     {"space before the colon", line("X-A : a\r\n"), 400},
     {"tab before the colon", line("X-A\t: a\r\n"), 400},
     {"no colon", line("X-A\r\n"), 400},
     {"no name", line(": a\r\n"), 400},
     {"space in a name", line("X A: a\r\n"), 400},
     {"name beyond ASCII", line("X-\303\244: a\r\n"), 400},
     {"value beyond ASCII", line("X-A: \303\244\377\r\n"), 101},
     {"empty value", line("X-A:\r\n"), 101},
     {"NUL in a value", line("X-A: a\0b\r\n"), 400},
     {"NUL in a name", line("X-\0A: b\r\n"), 400},
     {"DEL in a value", line("X-A: a\177\r\n"), 400},
     {"escape in a value", line("X-A: a\e[31m\r\n"), 400},
     {"CR in a value", line("X-A: a\rb\r\n"), 400},
     {"LF ends a line", line("X-A: a\n"), 400},
     {"LF within a value", line("X-A: a\nHost: b\r\n"), 400},
     {"CR ends a line", line("X-A: a\r"), 400},
     {"CR CR LF", line("X-A: a\r\r\n"), 400},
     {"LF everywhere", binary:replace(good(), <<"\r\n">>, <<"\n">>, [global]), 400},
     {"two origins", head("GET", "/", headers() ++ [{"Origin", "http://a"}, {"Origin", "http://b"}]), 400},
     {"a subprotocol that is no token", and_also("Sec-WebSocket-Protocol", "a b"), 400},
     {"empty line before", <<"\r\n", (good())/binary>>, 101},
     {"two empty lines before", <<"\r\n\r\n", (good())/binary>>, 400},
     {"white space before", <<" ", (good())/binary>>, 400}].

targets() ->
    [{["target ", T], target(T), 101}
     || T <- ["/?", "/a?b?c", "//a", "/../..", "/%00%ff", "/%zz", "http://localhost/", "http://localhost",
              "https://localhost/a?b", "http://[::1]:80/"]]
        ++ [{["target ", T], target(T), 400}
            || T <- ["", "*", "a", "localhost:80", "#", "/#a", "/a b", "/\303\244", "/\0", "/\177", "?a",
                     "://a/", "\\a", "ws://localhost/a?b", "http://", "http://a@b/"]].

bodies() ->
    [{"no body", and_also("Content-Length", "0"), 101},
     {"a body", <<(and_also("Content-Length", "5"))/binary, "abcde">>, 400},
     {"a body that never comes", and_also("Content-Length", "5"), 400},
     {"chunked", <<(and_also("Transfer-Encoding", "chunked"))/binary, "0\r\n\r\n">>, 400},
     {"chunked in disguise", and_also("Transfer-Encoding", "xchunked"), 400},
     {"identity", and_also("Transfer-Encoding", "identity"), 400},
     {"two codings", head("GET", "/", headers() ++ [{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "x"}]), 400},
     {"two lengths", head("GET", "/", headers() ++ [{"Content-Length", "0"}, {"Content-Length", "0"}]), 400},
     {"length and coding", head("GET", "/", headers() ++ [{"Content-Length", "0"}, {"Transfer-Encoding", "chunked"}]), 400}]
        ++ [{["content-length ", L], and_also("Content-Length", L), 400}
            || L <- ["", "+0", "-0", "-1", "0x0", "0, 0", "0 0", "0.0", "99999999999999999999999"]].

others() ->
    [{"HTTP/0.9", <<"GET /\r\n\r\n">>, 400},
     {"HTTP/2 preface", <<"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n">>, any},
     {"TLS 1.3 hello", <<16#16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, 0:256>>, 400},
     {"SSL 2 hello", <<16#80, 16#2e, 1, 3, 1, 0:352>>, any},
     {"PROXY v1", <<"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", (good())/binary>>, 400},
     {"PROXY v2", <<"\r\n\r\n\0\r\nQUIT\n", 16#21, 16#11, 12:16, 0:96, (good())/binary>>, 400},
     {"SSH", <<"SSH-2.0-OpenSSH_9.2\r\n\r\n">>, 400},
     {"SIP", <<"OPTIONS sip:a@b SIP/2.0\r\n\r\n">>, 400},
     {"RTSP", <<"DESCRIBE rtsp://a/b RTSP/1.0\r\n\r\n">>, 400},
     {"SMTP", <<"EHLO a\r\n\r\n">>, 400},
     {"Redis", <<"*1\r\n$4\r\nPING\r\n">>, silence},
     {"a frame", <<16#81, 16#81, 0:32, "a">>, 400},
     {"a NUL", <<0>>, 400},
     {"a line feed", <<"\n">>, 400},
     {"two requests", <<(method("POST"))/binary, (good())/binary>>, 405}].

%% Clients of drafts: each is told what to use.
old_clients() ->
    Draft = fun(Version) ->
        head("GET", "/", [{"Host", "a"}, {"Upgrade", "websocket"}, {"Connection", "Upgrade"},
                          {"Sec-WebSocket-Version", Version}, {"Sec-WebSocket-Key", ?KEY},
                          {"Sec-WebSocket-Origin", "http://a"}])
    end,
    Draft76 = head("GET", "/demo", [{"Host", "example.com"}, {"Connection", "Upgrade"},
                                    {"Sec-WebSocket-Key2", "12998 5 Y3 1  .P00"}, {"Upgrade", "WebSocket"},
                                    {"Sec-WebSocket-Key1", "4 @1  46546xW%0l 1 5"}, {"Origin", "http://example.com"}]),
    Draft75 = head("GET", "/demo", [{"Upgrade", "WebSocket"}, {"Connection", "Upgrade"}, {"Host", "example.com"},
                                    {"Origin", "http://example.com"}, {"WebSocket-Protocol", "sample"}]),
    [{"hixie 75", Draft75}, {"hixie 76", <<Draft76/binary, "^n:ds[4U">>},
     {"hybi 4", Draft("4")}, {"hybi 7", Draft("7")}, {"hybi 8", Draft("8")}].
