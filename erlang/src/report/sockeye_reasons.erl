%% @private
%% The sentence of each reason that stands in an `{error, Reason}' of a public function: what has happened, and what can be done.
%%
%% A row for each is in the guide, `errors.md'. Where the reason has a sentence of its own, as `bad_option' has, that is it.
-module(sockeye_reasons).

-export([string/1]).

-import(sockeye_shown, [format/2, short/1]).

%% Of any term: one that is no reason of ours, or only looks like one, gets a sentence that says so.
-spec string(term()) -> string().
string(Reason) ->
    try unicode:characters_to_list(sentence(Reason)) of
        Text when is_list(Text) -> Text;
        _ -> unicode:characters_to_list(unknown(Reason))
    catch error:_ -> unicode:characters_to_list(unknown(Reason))
    end.

-spec sentence(term()) -> unicode:chardata().
sentence({error, Reason}) -> sentence(Reason);
sentence({bad_option, Key, Why}) -> format("option ~0tp: ~ts", [Key, Why]);
sentence({bad_url, Why}) -> format("the URL: ~ts", [Why]);
sentence({bad_socket, Why}) -> format("the socket: ~ts", [Why]);
sentence({bad_command, Why}) -> format("the command: ~ts", [Why]);
sentence({already_started, Pid}) -> ["the name is taken by ", short(Pid)];
sentence({too_low, Findings}) -> [too_low(Findings), "; check_host with print => true shows all"];
sentence({sockeye_port, _Path, Why}) -> format("the engine's process: ~ts", [Why]);
sentence({sockeye_nif, Errors, Why}) -> format("~ts Tried: ~ts", [Why, short(Errors)]);
sentence({not_json, {duplicate_key, Key}, Path}) -> format("at ~ts: two keys are ~ts in JSON", [Path, short(Key)]);
sentence({not_json, {struct, Module}, Path}) -> format("at ~ts: a struct of ~ts, which says nothing of its JSON: choose fields, or use the option encoder", [Path, short(Module)]);
sentence({not_json, Part, Path}) -> format("at ~ts: ~ts has no JSON form. Send another term, or use the option encoder", [Path, short(Part)]);
sentence({closed, Code, Reason}) -> closed(Code, Reason);
sentence({refused, Answer}) -> ["the server answered with ", status(Answer), " and not with 101"];
sentence({bad_handshake, What}) -> ["the answer to the handshake is none of a WebSocket server: ", breach(What)];
sentence({tls, {Fault, Text}}) -> format("no TLS: ~ts (~ts)", [fault(Fault), Text]);
sentence({proxy, What}) -> ["the proxy: ", proxy(What)];
sentence({redirect, What}) -> ["a redirect was not followed: ", redirect(What)];
sentence({status, Status, _Headers}) -> ["the server answered with ", short(Status), " and not with 101"];
sentence({bad_frame, Bytes}) -> ["no server may send a frame that begins with ", short(Bytes)];
sentence({bad_answer, Line}) -> ["the answer to the handshake is not HTTP: ", short(Line)];
sentence({after_close, Frame}) -> ["a frame came behind the Close frame: ", short(Frame)];
sentence([{_Conn, Why} | _] = Failed) when Why =:= closed; Why =:= busy -> format("~b of the connections did not get it: they are closed, or their queues are full", [length(Failed)]);
sentence({Kind, At}) when is_integer(At) -> json(Kind, At);
%% Of a codec: the answer to the request stands with it.
sentence({Why, Answer}) when is_atom(Why), is_binary(Answer) -> request(Why);
sentence(Reason) when is_atom(Reason) -> atom(Reason);
sentence(Reason) -> unknown(Reason).

%% For what is no reason of a public function, such as one that `init/1' of a handler gave.
-spec unknown(term()) -> unicode:chardata().
unknown(Reason) -> ["a reason that is not Sockeye's own: ", short(Reason)].

-spec atom(atom()) -> unicode:chardata().
atom(closed) -> "the connection is closed or closing, or its server has ended; to one who connects: the other end hung up before its answer was complete";
atom(busy) -> "the queue of the connection is full (send_queue_size): its other end reads too slowly. Nothing was sent; send less, or later";
atom(not_utf8) -> "a text is not UTF-8. Nothing was sent; send it as binary";
atom(streaming) -> "a message is being sent in pieces: its last piece must come before another message begins";
atom(not_streaming) -> "no message in pieces has been begun by this process: begin with first";
atom(not_found) -> "there is no such server or client: it has ended, or was never started";
atom(not_clustered) -> "scope => cluster was asked of a server that was started without it";
atom(timeout) -> "there was no answer in time";
atom(too_many_traces) -> "as many watch the connection as may: eight";
atom(too_many_subscriptions) -> "the connection has as many subscriptions as it may have (max_subscriptions)";
atom(not_present) -> "there is no such entry in the presence list: track it first";
atom(draining) -> "the server is draining already";
atom(down) -> "the client is not connected at the moment, and tries again: send later, or use send_when_down => keep";
atom(not_running) -> "the application sockeye is not running, or its engine is being started again: try again";
atom(system_limit) -> "the node has as many processes as it may have: raise +P";
atom(emfile) -> "no file descriptor is left: raise ulimit -n";
atom(eacces) -> "the system does not permit that: for a port below 1024, root or CAP_NET_BIND_SERVICE is needed";
atom(eaddrinuse) -> "the port, or the file of the Unix socket, is in use: stop who has it, or choose another";
atom(nxdomain) -> "there is no host of that name: look at the URL, and at the name server of this host";
atom(econnrefused) -> "nobody listens at that address and port";
atom(enoent) -> "there is no such file: the Unix socket";
atom(enodev) -> "there is no network interface of that name: the zone of the address";
atom(Reason) ->
    case inet:format_error(Reason) of
        "unknown POSIX error" ++ _ -> unknown(Reason);
        Text -> Text
    end.

-spec too_low(term()) -> unicode:chardata().
too_low([#{what := What, is := Is, needed := Needed, raise := How} | _]) ->
    format("~ts is ~ts and must be ~ts: ~ts", [short(What), short(Is), short(Needed), How]);
too_low(Findings) ->
    ["this host is too small: ", short(Findings)].

-spec closed(term(), term()) -> unicode:chardata().
closed(1006, _Reason) -> "the connection ended without a Close frame";
closed(1005, _Reason) -> "the connection was closed, without a code";
closed(Code, <<>>) -> ["the connection was closed with ", short(Code)];
closed(Code, Reason) -> format("the connection was closed with ~ts: ~ts", [short(Code), Reason]).

-spec status(term()) -> unicode:chardata().
status(#{status := Status, body := Body}) when is_binary(Body), Body =/= <<>> -> format("~ts (~ts)", [short(Status), string:trim(Body)]);
status(#{status := Status}) -> short(Status);
status(Answer) -> short(Answer).

-spec breach(term()) -> unicode:chardata().
breach(malformed) -> "it is not HTTP/1.1";
breach(too_large) -> "its head is too large, or too many interim answers came";
breach(upgrade) -> "it is without Upgrade: websocket";
breach(connection) -> "it is without Connection: Upgrade";
breach(accept) -> "its Sec-WebSocket-Accept is wrong";
breach(subprotocol) -> "it has a subprotocol that was not asked for";
breach(extension) -> "it has an extension that was not asked for";
breach(Other) -> unknown(Other).

-spec fault(term()) -> unicode:chardata().
fault(unknown_ca) -> "nobody who is trusted has signed the certificate: name its authority in cacertfile or cacerts";
fault(bad_host) -> "the certificate is for other hosts: look at the URL, or set server_name_indication";
fault(expired) -> "the certificate has expired";
fault(not_yet_valid) -> "the certificate is not valid yet: look at the clock of this host";
fault(revoked) -> "the certificate was revoked";
fault(pin) -> "the certificate is none of the option pin";
fault(bad_certificate) -> "the certificate is wrong";
fault(alert) -> "the server refused";
fault(not_tls) -> "the server does not speak TLS at this port";
fault(failure) -> "the handshake failed";
fault(Other) -> unknown(Other).

-spec proxy(term()) -> unicode:chardata().
proxy(denied) -> "it does not take this user and password";
proxy(not_allowed) -> "its rules forbid this host";
proxy(ehostunreach) -> "it could not reach the host";
proxy(econnrefused) -> "nobody listens there, or behind it";
proxy(failure) -> "it failed, and says no more";
proxy(malformed) -> "it speaks neither HTTP nor SOCKS 5";
proxy({refused, Answer}) -> ["it answered with ", status(Answer), " and not with 200"];
proxy(Other) -> unknown(Other).

-spec redirect(term()) -> unicode:chardata().
redirect(too_many) -> "there were more than max_redirects";
redirect(insecure) -> "it leads from wss to ws, or to another host with a client certificate";
redirect(bad_location) -> "its header Location is missing or wrong";
redirect(Other) -> unknown(Other).

-spec json(term(), non_neg_integer()) -> unicode:chardata().
json(Kind, At) ->
    case what(Kind) of
        none -> unknown({Kind, At});
        What -> format("at byte ~b: ~ts", [At, What])
    end.

-spec what(term()) -> string() | none.
what(syntax) -> "this is not JSON";
what(eof) -> "the text ends inside a value";
what(depth) -> "more arrays and objects are open than max_depth";
what(number_range) -> "a number that is too large";
what(utf8) -> "this is not UTF-8";
what(trailing_data) -> "something follows the value";
what(too_large) -> "the text has 4 GiB or more";
what(_) -> none.

-spec request(term()) -> unicode:chardata().
request(malformed) -> "the request is not HTTP";
request(long_line) -> "the first line of the request is beyond max_header_size";
request(too_large) -> "the head of the request is beyond max_header_size or max_headers";
request(http_version) -> "the request is not HTTP/1.1";
request(method) -> "the request is not a GET";
request(draft_76) -> "the request is of the obsolete draft 76";
request(not_websocket) -> "the request is an ordinary one";
request(version) -> "the Sec-WebSocket-Version of the request is not 13";
request(connection) -> "the request is without Connection: Upgrade";
request(body) -> "the request has a body";
request(key) -> "the Sec-WebSocket-Key of the request is missing or wrong";
request(subprotocol) -> "the request offers a subprotocol that is not a token";
request(Other) -> unknown(Other).
