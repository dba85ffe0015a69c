%% Any JSON text, cut into fragments anywhere, comes out of each way as the term that it was made from.
%%
%% `json_property:run(#{seed => Seed, texts => N})' or `#{seconds => S}': so many texts for each way.
-module(json_property).

-export([run/1]).
-export([text/1]).

run(Options) ->
    Seed = maps:get(seed, Options, erlang:unique_integer([positive])),
    Ways = json_ways:all(),
    Share = maps:get(seconds, Options, 0) * 1000 div length(Ways),
    Done = [json_ways:with(Way, fun(Take) ->
                _ = rand:seed(exsss, Seed),
                texts(Take, {Seed, Way}, limit(Options, Share), 0)
            end) || Way <- Ways],
    {ok, #{seed => Seed, texts => lists:sum(Done)}}.

limit(#{texts := N}, _) -> fun(Done) -> Done < N end;
limit(_, Share) ->
    End = erlang:monotonic_time(millisecond) + Share,
    fun(_) -> erlang:monotonic_time(millisecond) < End end.

texts(Take, At, Goes, Done) ->
    case Goes(Done) of
        false -> Done;
        true ->
            Term = term(rand:uniform(20)),
            Text = iolist_to_binary(text(Term)),
            Cuts = cuts(byte_size(Text)),
            case Take(Text, Cuts) of
                Term -> texts(Take, At, Goes, Done + 1);
                Other -> error({another_term, At, [{text, Text}, {cuts, Cuts}, {term, Other}]})
            end
    end.

%% Mostly small; now and then wide, which is where the VM changes its kind of map.
term(1) -> wide(lists:nth(rand:uniform(6), [32, 33, 128, 129, 300, 3000]));
term(2) -> [wide(rand:uniform(140)) || _ <- lists:seq(1, rand:uniform(20))];
term(3) -> deep(rand:uniform(200));
term(4) -> rand:uniform(1 bsl rand:uniform(4000)) - (1 bsl 60);
term(5) -> binary:copy(<<"long ">>, rand:uniform(60000));
term(_) -> json_terms:term(rand:uniform(3)).

wide(N) -> maps:from_list([{integer_to_binary(I), I} || I <- lists:seq(1, N)]).

deep(0) -> #{};
deep(N) when N rem 2 =:= 0 -> [deep(N - 1)];
deep(N) -> #{<<"d">> => deep(N - 1)}.

%% Up to five places, in order, anywhere.
cuts(Size) ->
    lists:usort([rand:uniform(Size + 1) - 1 || _ <- lists:seq(1, rand:uniform(6) - 1)]).

%% A text of this term, with spaces and escapes as they come: written here, not by what is tested.
text(null) -> "null";
text(true) -> "true";
text(false) -> "false";
text(N) when is_integer(N) -> integer_to_list(N);
text(F) when is_float(F) -> float_to_binary(F, [{scientific, 17}]);
text(B) when is_binary(B) -> string(B);
text(L) when is_list(L) -> ["[", space(), lists:join([space(), ",", space()], [text(T) || T <- L]), space(), "]"];
text(M) when is_map(M) ->
    %% In an order of its own, and some keys twice: the last counts.
    Pairs = shuffled(maps:to_list(M)),
    Twice = [{K, 0} || {K, _} <- lists:sublist(Pairs, rand:uniform(3) - 1)],
    Members = [[string(K), space(), ":", space(), text(V)] || {K, V} <- Twice ++ Pairs],
    ["{", space(), lists:join([",", space()], Members), space(), "}"].

shuffled(List) ->
    [X || {_, X} <- lists:sort([{rand:uniform(), X} || X <- List])].

space() -> lists:nth(rand:uniform(8), ["", "", "", "", "", " ", "\n", "\t\r "]).

string(B) ->
    ["\"", [char(C, rand:uniform(20)) || <<C/utf8>> <= B], "\""].

char($", _) -> "\\\"";
char($\\, _) -> "\\\\";
char($\n, 1) -> "\\n";
char(C, N) when C < 32; N =:= 2, C < 16#10000 -> io_lib:format("\\u~4.16.0b", [C]);
char(C, 2) ->
    <<High:16, Low:16>> = <<C/utf16>>,
    io_lib:format("\\u~4.16.0b\\u~4.16.0B", [High, Low]);
char(C, _) -> <<C/utf8>>.
