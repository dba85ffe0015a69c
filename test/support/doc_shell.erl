%% A shell of OTP with a reader who types: what it prints for each line.
-module(doc_shell).

-export([start/0]).
-export([stop/1]).
-export([type/2]).
-export([same/2]).

-define(TIMEOUT, 60000).

start() ->
    Terminal = spawn_link(fun() -> terminal(#{input => [], reads => none, printed => [], typist => none}) end),
    Old = group_leader(),
    true = group_leader(Terminal, self()),
    Shell = try shell:start(true) after group_leader(Old, self()) end,
    %% The banner is no answer to anything.
    _ = type({Terminal, Shell}, ""),
    {Terminal, Shell}.

stop({Terminal, Shell}) ->
    Monitor = monitor(process, Shell),
    exit(Shell, kill),
    receive {'DOWN', Monitor, process, Shell, _} -> ok end,
    unlink(Terminal),
    exit(Terminal, kill),
    ok.

%% Types a line and waits for the next prompt.
type({Terminal, _}, Line) ->
    Ref = monitor(process, Terminal),
    Terminal ! {type, {self(), Ref}, Line},
    receive
        {Ref, Printed} -> demonitor(Ref, [flush]), Printed;
        {'DOWN', Ref, process, _, Why} -> error({no_shell, Why})
    after ?TIMEOUT ->
        error({no_prompt_after, Line})
    end.

terminal(#{input := Input} = State) ->
    receive
        {type, Typist, Line} ->
            feed(State#{input := Input ++ Line, printed := [], typist := Typist});
        {io_request, From, As, Request} ->
            request(Request, From, As, State)
    end.

request({get_until, _, _, Module, Function, Args}, From, As, State) ->
    feed(State#{reads := {From, As, Module, Function, Args, []}});
request({requests, Requests}, From, As, State) ->
    terminal(reply(From, As, ok, lists:foldl(fun print/2, State, Requests)));
request(Request, From, As, State) when element(1, Request) =:= put_chars ->
    terminal(reply(From, As, ok, print(Request, State)));
request({setopts, _}, From, As, State) ->
    terminal(reply(From, As, ok, State));
request(getopts, From, As, State) ->
    terminal(reply(From, As, [{encoding, unicode}, {echo, true}, {binary, false}], State));
request({get_geometry, columns}, From, As, State) ->
    terminal(reply(From, As, 80, State));
request(_, From, As, State) ->
    terminal(reply(From, As, {error, enotsup}, State)).

print({put_chars, Encoding, Module, Function, Args}, State) ->
    print({put_chars, Encoding, apply(Module, Function, Args)}, State);
print({put_chars, Encoding, Chars}, #{printed := Printed} = State) ->
    State#{printed := [Printed | unicode:characters_to_list(Chars, Encoding)]};
print({put_chars, Chars}, State) ->
    print({put_chars, latin1, Chars}, State).

reply(From, As, Reply, State) ->
    From ! {io_reply, As, Reply},
    State.

%% The shell reads what was typed; when it wants more than that, it is at its prompt.
feed(#{reads := none} = State) ->
    terminal(State);
feed(#{reads := {From, As, Module, Function, Args, So}, input := Input} = State) ->
    case apply(Module, Function, [So, Input | Args]) of
        {done, Result, Rest} ->
            terminal(reply(From, As, Result, State#{reads := none, input := Rest}));
        {more, More} ->
            terminal(at_prompt(State#{reads := {From, As, Module, Function, Args, More}, input := []}))
    end.

at_prompt(#{typist := {Pid, Ref}, printed := Printed} = State) ->
    Pid ! {Ref, lists:flatten(Printed)},
    State#{typist := none};
at_prompt(State) ->
    State.

%% Whether a page shows what was printed. What no two runs have in common may differ: pids, references, numbers
%% of connections, and the order of keys in a map. Three dots stand for anything.
same(Shown, Printed) ->
    A = common(Shown),
    B = common(Printed),
    case {term(A), term(B)} of
        {{ok, This}, {ok, That}} -> fits(This, That) orelse like(A, B);
        _ -> like(A, B)
    end.

fits('...', _) ->
    true;
fits(#{'...' := _} = Shown, Printed) when is_map(Printed) ->
    Rest = maps:remove('...', Shown),
    fits(Rest, maps:with(maps:keys(Rest), Printed));
fits(Shown, Printed) when is_map(Shown), is_map(Printed) ->
    lists:sort(maps:keys(Shown)) =:= lists:sort(maps:keys(Printed))
        andalso lists:all(fun({Key, Value}) -> fits(Value, maps:get(Key, Printed)) end, maps:to_list(Shown));
fits(Shown, Printed) when is_tuple(Shown), is_tuple(Printed) ->
    fits(tuple_to_list(Shown), tuple_to_list(Printed));
fits([A | As], [B | Bs]) ->
    fits(A, B) andalso fits(As, Bs);
fits(Shown, Printed) ->
    Shown =:= Printed.

common(Text) ->
    lists:foldl(fun({What, Instead}, T) -> re:replace(T, What, Instead, [global, unicode, {return, list}]) end,
                Text,
                [{"<\\d+\\.\\d+\\.\\d+>", "'a pid'"},
                 {"#(Ref|Port|Fun)<[^>]*>", "'a \\1'"},
                 {"\\{sockeye_conn,\\d+\\}", "{sockeye_conn,1}"}]).

term(Text) ->
    case erl_scan:string(Text ++ ".") of
        {ok, Tokens, _} -> erl_parse:parse_term(dots(Tokens, []));
        _ -> none
    end.

%% Three dots as a term: the atom, and in a map a key of that name. `Open': the brackets around.
dots([{'#', _} = Sharp, {'{', _} = Brace | Rest], Open) -> [Sharp, Brace | dots(Rest, [map | Open])];
dots([{'...', At} | Rest], [map | _] = Open) -> [{atom, At, '...'}, {'=>', At}, {atom, At, '...'} | dots(Rest, Open)];
dots([{'...', At} | Rest], Open) -> [{atom, At, '...'} | dots(Rest, Open)];
dots([{Sign, _} = Token | Rest], Open) when Sign =:= '{'; Sign =:= '['; Sign =:= '<<'; Sign =:= '(' -> [Token | dots(Rest, [Sign | Open])];
dots([{Sign, _} = Token | Rest], [_ | Open]) when Sign =:= '}'; Sign =:= ']'; Sign =:= '>>'; Sign =:= ')' -> [Token | dots(Rest, Open)];
dots([Token | Rest], Open) -> [Token | dots(Rest, Open)];
dots([], _) -> [].

like(Shown, Printed) ->
    Parts = [["\\Q", Part, "\\E"] || Part <- string:split(squeezed(Shown), "...", all)],
    re:run(squeezed(Printed), ["^", lists:join(".*", Parts), "$"], [unicode, dotall, {capture, none}]) =:= match.

squeezed(Text) ->
    re:replace(Text, "\\s+", "", [global, unicode, {return, list}]).
