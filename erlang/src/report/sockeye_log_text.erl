%% @private
%% The sentence of an event, and below it, for a crash, what it takes to find the cause.
-module(sockeye_log_text).

-export([format/2]).
-export([cut/2]).
-export([address/1]).

%% Characters of a value in a sentence, and of one on lines of its own.
-define(SHORT, 200).
-define(LONG, 1024).
%% What runs of somebody else's behind the pages of a dashboard.
-define(AUTH, "the function auth of dashboard").

%% For `logger': the key `report_cb' of our events.
-spec format(logger:report(), logger:report_cb_config()) -> unicode:chardata().
format(Report, Config) ->
    Lines = [[sentence(Report), more(Report)] | details(Report)],
    case Config of
        #{single_line := true} -> lists:join("; ", [one_line(Line) || Line <- Lines]);
        _ -> lists:join("\n    ", Lines)
    end.

-spec one_line(iodata()) -> unicode:chardata().
one_line(Line) ->
    re:replace(Line, "\\s*\n\\s*", " ", [global, unicode, {return, list}]).

%% The text of a term, and not too much of it.
-spec cut(term(), pos_integer()) -> binary().
cut(Term, Most) ->
    Text = unicode:characters_to_binary(sockeye_shown:text(Term, Most)),
    case string:length(Text) > Most of
        true -> <<(unicode:characters_to_binary(string:slice(Text, 0, Most)))/binary, "...">>;
        false -> Text
    end.

-spec sentence(map()) -> unicode:chardata().
sentence(#{what := server_started, address := _} = R) ->
    [who(R), " listens", over(R), for(R), url(R), dashboard(R)];
sentence(#{what := server_started} = R) ->
    [who(R), " takes connections that others bring", for(R), dashboard(R)];
sentence(#{what := What, reason := Reason} = R) when What =:= server_stopped; What =:= client_stopped ->
    [who(R), " has stopped", why(Reason)];
sentence(#{what := server_stop_timeout, timeout := Time} = R) ->
    [who(R), " stops, although the engine did not report within ", ms(Time), " that its connections are closed"];
sentence(#{what := accept_error, reason := Reason} = R) ->
    [who(R), " could not accept a connection: ", text(Reason)];
sentence(#{what := no_descriptor, max_descriptor := Most} = R) ->
    [who(R), " refuses connections, to keep the descriptors from ", integer_to_list(Most), " on for the rest of the node"];
sentence(#{what := upstream_failed, upstream := Upstream, reason := Reason} = R) ->
    [who(R), ": the web server behind at ", text(Upstream), " ", text(Reason)];
sentence(#{what := upstream_answers, upstream := Upstream} = R) ->
    [who(R), ": the web server behind at ", text(Upstream), " answers again"];
sentence(#{what := no_process} = R) ->
    [who(R), " could not start a process: the node has as many as it may have. New connections are closed with 1011, requests "
     "to accept and to functions of http get 503, and handlers are started again later"];
sentence(#{what := no_owner, handler := Name} = R) ->
    [who(R), " sent 1011, no owner,", conn(R), ", since no process is registered as ", short(Name), "; so it does with all that come until one is. ",
     "A module of callbacks is given as {", short(Name), ", Arg}"];
sentence(#{what := worker_not_started, reason := Reason} = R) ->
    [who(R), " sent 1011", conn(R), ", since no process could be started for it: ", short(Reason)];
sentence(#{what := owner_idle, owner := Owner, messages := Left} = R) ->
    ["Sockeye: the process ", short(Owner), " takes none of its messages, and ", integer_to_list(Left), " wait in its mailbox", conn(R),
     "; it is to receive {sockeye, Conn, Event}, or a handler is to be given"];
sentence(#{what := certificate_expired, date := Date} = R) ->
    [who(R), ": ", certificate(R), " expired on ", date(Date)];
sentence(#{what := certificate_not_yet_valid, date := Date} = R) ->
    [who(R), ": ", certificate(R), " is not valid before ", date(Date)];
sentence(#{what := panic, message := Message}) ->
    ["Sockeye engine: a panic ended a connection with 1011: ", text(Message)];
sentence(#{what := panic_in_call, message := Message}) ->
    ["Sockeye: a panic in the native library, and the calling process got the error nif_panicked: ", text(Message)];
sentence(#{what := accept_crashed} = R) ->
    [who(R), " answered 500", request(R), ": ", callback(R), " crashed"];
sentence(#{what := http_crashed} = R) ->
    [who(R), " answered 500", request(R), ": ", callback(R), " crashed"];
sentence(#{what := http_stream_crashed} = R) ->
    [who(R), " broke off the answer", request(R), ": ", callback(R), " crashed"];
sentence(#{what := What, timeout := Time} = R) when What =:= accept_timeout; What =:= http_timeout ->
    [who(R), " answered 503", request(R), ": ", callback(R), " took longer than ", ms(Time)];
sentence(#{what := What, why := Why} = R) when What =:= bad_accept_return; What =:= bad_http_return ->
    [who(R), " answered 500", request(R), ": what ", callback(R), " returned is wrong: ", text(Why)];
%% What a callback returned, as `sockeye_callback' and `sockeye_worker' tell it.
sentence(#{what := handler_crashed, crash := {exit, {bad_return_value, _}, []}} = R) ->
    [who(R), ": ", callback(R), " crashed", conn(R), ": it returned none of ", returns(R)];
sentence(#{what := handler_crashed} = R) ->
    [who(R), ": ", callback(R), " crashed", conn(R)];
sentence(#{what := handler_stopped, stop := Reason} = R) ->
    [who(R), ": ", callback(R), " stopped", conn(R), ": ", long(Reason)];
sentence(#{what := handler_killed, reason := Reason} = R) ->
    [who(R), ": a process of ", atom(maps:get(module, R)), " was ended by exit/2, a link or its max_heap_size, and its connections are closed: ", long(Reason)];
sentence(#{what := handler_stop_timeout, count := Count} = R) ->
    [who(R), " killed ", case Count of 1 -> "the process"; _ -> [integer_to_list(Count), " processes"] end, " of ",
     atom(maps:get(module, R)), ", which had not ended 5 s after its connections were closed"];
sentence(#{what := bad_command, command := Command, reason := {_, Why}, count := Count} = R) ->
    [who(R), ": ", callback(R), " returned a wrong command", conn(R), ": ", text(Why), ", in ", text(Command),
     others(Count)];
sentence(#{what := command_failed, command := Command, reason := Reason, count := Count} = R) ->
    [who(R), ": a command of ", callback(R), " failed", conn(R), ": ", failure(Reason), ", for ", text(Command),
     others(Count)];
sentence(#{what := dashboard_closed, watcher := {Watcher, From}} = R) ->
    [who(R), ": a connection is closed from the dashboard", conn(R), ", by ", text(Watcher), " at ", address(From)];
sentence(#{what := dashboard_active, watcher := {Watcher, From}, active := Active} = R) ->
    [who(R), ": active is set to ", short(Active), " from the dashboard", conn(R), ", by ", text(Watcher), " at ", address(From)];
sentence(#{what := unexpected_message, message := Message} = R) ->
    [who(R), ": ", atom(maps:get(module, R)), " has no handle_info/2 for the message ", short(Message)];
sentence(#{what := kept_frame_lost, reason := Reason} = R) ->
    [who(R), " lost a frame that it had kept: ", short(Reason)];
sentence(#{what := client_stop_timeout, timeout := Time} = R) ->
    [who(R), " stops, although the engine did not report within ", ms(Time), " that its connection is closed"];
sentence(#{what := client_up} = R) ->
    [who(R), " is connected"];
sentence(#{what := client_down, reason := Reason} = R) ->
    [who(R), " is not connected, and will try again: ", short(Reason)];
sentence(#{what := engine_lost, how := How, pause := Pause, lines := Lines}) ->
    ["Sockeye engine: its process ", lost(How), "; all connections are closed with 1006, and it is started again ",
     case Pause of
         0 -> "at once";
         _ -> ["in ", ms(Pause)]
     end,
     case Lines of
         [] -> [];
         _ -> ["; its last words: ", text(iolist_to_binary(lists:join(" / ", Lines)))]
     end];
sentence(#{what := delivery_killed, owner := Owner, reason := Reason, count := Count}) ->
    ["Sockeye engine: the process that brings ", pid_to_list(Owner), " its messages was ended by exit/2 or its max_heap_size: ", long(Reason),
     "; connections of that process are closed with 1011: ", integer_to_list(Count)];
sentence(#{what := engine_not_started, reason := {sockeye_port, _, Why}, pause := Pause}) ->
    ["Sockeye engine: ", text(Why), "; it is tried again in ", ms(Pause)];
sentence(#{what := engine_said, line := Line}) ->
    ["Sockeye engine says: ", text(Line)];
sentence(#{what := frame, direction := Direction, opcode := Opcode, size := Size} = R) ->
    [who(R), conn(R), case Direction of in -> " got "; out -> " sends " end, short(Opcode), ", ", integer_to_list(Size), " bytes",
     [", compressed" || map_get(compressed, R)], [", not the last of its message" || not map_get(fin, R)],
     [[": ", short(Payload)] || #{payload := Payload} <- [R]]];
sentence(#{what := not_listening, reason := Reason} = R) ->
    [who(R), " does not listen since the engine has been started again, and tries again each second: ", short(Reason)];
sentence(#{what := What} = R) ->
    [who(R), ": ", atom(What), " ", short(maps:without([what, server, client, name, address, url, part], R))];
sentence(R) ->
    short(R).

%% An atom is what the code matches on; the sentence of a tuple says more than the tuple.
-spec failure(sockeye_handler:failure()) -> unicode:chardata().
failure(Reason) when is_tuple(Reason) -> text(sockeye_reasons:string(Reason));
failure(Reason) -> short(Reason).

-spec returns(map()) -> unicode:chardata().
returns(#{callback := {init, 1}}) ->
    "{ok, State} and {stop, Reason}";
returns(#{callback := {handle_call, 3}}) ->
    ["{reply, Reply, [Command], State}, {reply, Reply, [Command], State, hibernate}, ", returns(#{})];
returns(_R) ->
    "{[Command], State}, {[Command], State, hibernate} and {stop, Reason, State}".

-spec lost(term()) -> unicode:chardata().
lost({exit_status, Status}) when Status > 128 -> ["was killed by signal ", integer_to_list(Status - 128)];
lost({exit_status, Status}) -> ["has ended with status ", integer_to_list(Status)];
lost({protocol, Why}) -> ["was killed, since it said what makes no sense: ", text(Why)];
lost({silent, 1}) -> "was killed, since it did not answer for a second";
lost({silent, Seconds}) -> ["was killed, since it did not answer for ", integer_to_list(Seconds), " seconds"];
lost(closed) -> "was killed, since it has closed its socket";
lost({socket, Reason}) -> ["was killed, since its socket failed: ", short(Reason)].

%% The server or the client, by its name if it has one, and where it is.
-spec who(map()) -> unicode:chardata().
who(#{part := dashboard} = R) ->
    ["The dashboard of ", who(maps:remove(part, R))];
who(#{client := Pid} = R) ->
    ["Sockeye client ", name(Pid, R), case R of
                                          #{url := Url} -> [" of ", text(Url)];
                                          _ -> []
                                      end];
who(#{server := Pid} = R) ->
    ["Sockeye server ", name(Pid, R), case R of
                                          #{address := Address} -> [" on ", address(Address)];
                                          _ -> []
                                      end];
who(_R) ->
    "Sockeye".

-spec name(pid(), map()) -> unicode:chardata().
name(_Pid, #{name := Name}) -> atom(Name);
name(Pid, _R) -> pid_to_list(Pid).

-spec address(term()) -> unicode:chardata().
address({local, <<0, Name/binary>>}) -> ["the abstract socket ", text(Name)];
address({local, <<>>}) -> "a Unix socket";
address({local, Path}) -> ["the Unix socket ", text(Path)];
address({Ip, Port}) when tuple_size(Ip) =:= 8 -> [$[, inet:ntoa(Ip), "]:", integer_to_list(Port)];
address({Ip, Port}) when tuple_size(Ip) =:= 4 -> [inet:ntoa(Ip), $:, integer_to_list(Port)];
address(Other) -> short(Other).

-spec url(map()) -> unicode:chardata().
url(#{url := Url}) -> [": ", Url];
url(_R) -> "".

-spec dashboard(map()) -> unicode:chardata().
dashboard(#{dashboard := Where}) -> [", dashboard: ", text(Where)];
dashboard(_R) -> "".

-spec over(map()) -> unicode:chardata().
over(#{tls := true}) -> " with TLS";
over(_R) -> "".

-spec for(map()) -> unicode:chardata().
for(#{handler := Handler} = R) -> [", frames go to ", short(Handler), [" (not running)" || #{running := false} <- [R]]];
for(_R) -> "".

-spec why(term()) -> unicode:chardata().
why(Reason) when Reason =:= normal; Reason =:= shutdown -> "";
why({shutdown, _}) -> "";
why(Reason) -> [": ", long(Reason)].

-spec conn(map()) -> unicode:chardata().
conn(#{conn := {sockeye_conn, Number}} = R) ->
    [" on connection ", short(Number), from(R), path(R)];
conn(_R) ->
    "".

-spec request(map()) -> unicode:chardata().
request(R) ->
    [" to a request", from(R), path(R)].

-spec from(map()) -> unicode:chardata().
from(#{peer := Peer}) -> [" from ", address(Peer)];
from(_R) -> "".

-spec path(map()) -> unicode:chardata().
path(#{path := Path}) -> [", path ", text(Path)];
path(_R) -> "".

-spec callback(map()) -> unicode:chardata().
callback(#{module := sockeye_dashboard_live, callback := {accept, 2}}) ->
    ?AUTH;
callback(#{module := Module, callback := {Function, Arity}}) ->
    [atom(Function), $/, integer_to_list(Arity), " of ", atom(Module)];
callback(#{callback := Fun}) when is_function(Fun) ->
    case erlang:fun_info(Fun, module) of
        {module, sockeye_dashboard} -> ?AUTH;
        _ -> ["the function ", short(Fun)]
    end;
callback(#{module := Module}) ->
    ["a process of ", atom(Module)];
callback(_R) ->
    "a function".

-spec more(map()) -> unicode:chardata().
more(#{suppressed := Count}) -> [" (and ", integer_to_list(Count), " more since the last one)"];
more(_R) -> "".

-spec certificate(map()) -> unicode:chardata().
certificate(#{place := 0, names := [Name | Names], source := Source}) ->
    ["the certificate of ", text(Name), others(1 + length(Names)), " (", text(Source), ")"];
certificate(#{place := 0, source := Source}) ->
    ["the certificate in ", text(Source)];
certificate(#{place := Place, source := Source}) ->
    ["certificate ", integer_to_list(Place + 1), " of the chain in ", text(Source)].

%% In UTC.
-spec date(calendar:datetime()) -> unicode:chardata().
date({{Year, Month, Day}, {Hour, Minute, Second}}) ->
    io_lib:format("~4..0w-~2..0w-~2..0w ~2..0w:~2..0w:~2..0w UTC", [Year, Month, Day, Hour, Minute, Second]).

%% Lines below the sentence.
-spec details(map()) -> [unicode:chardata()].
details(#{crash := {Class, Reason, Stack}} = R) -> [exception(Class, Reason, Stack) | values(R)];
details(#{crash := {exit, Reason}} = R) -> [["a process linked to it ended: ", long(Reason)] | values(R)];
details(R) -> values(R).

-spec values(map()) -> [unicode:chardata()].
values(R) ->
    [[atom(Key), ": ", case Value of
                           _ when is_binary(Value) -> Value;
                           _ -> long(Value)
                       end]
     || Key <- [frame, message, state], #{Key := Value} <- [R]].

-spec exception(error | exit | throw, term(), list()) -> unicode:chardata().
exception(Class, Reason, Stack) ->
    Options = #{column => 5,
                stack_trim_fun => fun(Module, _, _) -> is_ours(Module) end,
                format_fun => fun(Term, Indent) ->
                                      io_lib:format("~*.0tp", [Indent, sockeye_shown:part(Term, ?LONG)], [{chars_limit, ?LONG}])
                              end},
    %% It must not fail in a report of a failure.
    try erl_error:format_exception(Class, Reason, Stack, Options)
    catch _:_ -> long({Class, Reason, Stack})
    end.

-spec is_ours(module()) -> boolean().
is_ours(Module) ->
    lists:member(Module, [sockeye_worker, sockeye_callback, sockeye_commands, sockeye_gate, sockeye_dashboard_auth, sockeye_dashboard_page,
                           sockeye_dashboard_live, gen_server, proc_lib]).

%% Of the same kind.
-spec others(pos_integer()) -> unicode:chardata().
others(1) -> "";
others(Count) -> [", and ", integer_to_list(Count - 1), " more"].

-spec ms(pos_integer()) -> unicode:chardata().
ms(Time) ->
    [integer_to_list(Time), " ms"].

-spec short(term()) -> unicode:chardata().
short(Term) -> cut(Term, ?SHORT).

-spec long(term()) -> unicode:chardata().
long(Term) -> cut(Term, ?LONG).

-spec atom(atom()) -> unicode:chardata().
atom(Atom) -> sockeye_shown:atom(Atom).

%% Bytes from outside, as they are if they are text without control characters.
-spec text(iodata()) -> unicode:chardata().
text(Bytes) ->
    try unicode:characters_to_list(iolist_to_binary(Bytes)) of
        Text when is_list(Text) ->
            case lists:all(fun(C) -> C >= 32 andalso not (C >= 127 andalso C < 160) end, Text)
                andalso length(Text) =< ?LONG of
                true -> Text;
                false -> long(Bytes)
            end;
        _ -> long(Bytes)
    catch
        error:_ -> long(Bytes)
    end.
