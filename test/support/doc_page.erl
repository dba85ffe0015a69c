%% The pages of the documents, and the code blocks of each in order.
-module(doc_page).

-export([pages/0]).
-export([others/0]).
-export([all/0]).
-export([wildcards/1]).
-export([page/1]).
-export([blocks/1]).
-export([entries/1]).

-export_type([block/0]).

%% `name' is what stands behind the language in the opening line: the file that the block is.
-type block() :: #{line := pos_integer(), language := string(), name := string(), text := string()}.

%% Pages whose code blocks are run.
-spec pages() -> [string()].
pages() ->
    ["README.md" | wildcards(["erlang/guide/*.md", "erlang/guide/production/*.md", "examples/*/README.md", "bench/README.md"])].

%% Pages for those who work on Sockeye.
-spec others() -> [string()].
others() ->
    wildcards(["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "bench/NUMBERS.md", "bench/SCALE.md", "docs/*.md", "docs/decisions/*.md"]).

%% Every page of the repository that is ours.
-spec all() -> [string()].
all() ->
    lists:usort(wildcards(["*.md", "docs/**/*.md", "erlang/**/*.md", "examples/**/*.md", "bench/*.md", "test/**/*.md", "native/*/*.md"])).

%% Names of files, from the top of the tree.
-spec wildcards([string()]) -> [string()].
wildcards(Patterns) ->
    [lists:nthtail(length(test_support:root()) + 1, File)
     || Pattern <- Patterns, File <- filelib:wildcard(filename:join(test_support:root(), Pattern))].

-spec page(string()) -> string().
page(Page) ->
    {ok, Text} = file:read_file(filename:join(test_support:root(), Page)),
    unicode:characters_to_list(Text).

-spec blocks(string()) -> [block()].
blocks(Text) ->
    outside(lists:zip(numbers(Text), lines(Text))).

outside([{N, "```" ++ Info} | Rest]) ->
    {Inside, After} = lists:splitwith(fun({_, Line}) -> Line =/= "```" end, Rest),
    case After of
        [_ | Others] -> [block(N, Info, Inside) | outside(Others)];
        [] -> error({block_without_end, N})
    end;
outside([_ | Rest]) ->
    outside(Rest);
outside([]) ->
    [].

block(N, Info, Lines) ->
    {Language, Name} = case string:split(Info, " ") of
                           [Language1, Name1] -> {Language1, Name1};
                           [Language1] -> {Language1, ""}
                       end,
    #{line => N, language => Language, name => Name,
      text => lists:flatten([[Line, $\n] || {_, Line} <- Lines])}.

%% What is typed into a shell, and what the page says that it prints.
-spec entries(string()) -> [{Number :: pos_integer(), Expression :: string(), Printed :: string()}].
entries(Text) ->
    entries_of(lines(Text)).

entries_of([]) ->
    [];
entries_of([Line | Rest]) ->
    case prompt(Line) of
        {N, First} ->
            {Expression, Others} = expression(First, Rest),
            {Printed, Next} = lists:splitwith(fun(L) -> prompt(L) =:= none end, Others),
            [{N, Expression, lists:flatten(lists:join($\n, Printed))} | entries_of(Next)];
        none ->
            error({no_prompt, Line})
    end.

%% An expression goes on until its full stop.
expression(Text, Rest) ->
    case erl_scan:tokens([], Text ++ "\n", 1) of
        {done, _, _} -> {Text, Rest};
        {more, _} when Rest =/= [] -> expression(Text ++ "\n" ++ hd(Rest), tl(Rest));
        {more, _} -> error({no_full_stop, Text})
    end.

prompt(Line) ->
    case re:run(Line, "^(\\d+)> (.*)$", [{capture, all_but_first, list}, unicode]) of
        {match, [N, Expression]} -> {list_to_integer(N), Expression};
        nomatch -> none
    end.

lines(Text) ->
    case lists:reverse(string:split(Text, "\n", all)) of
        ["" | Lines] -> lists:reverse(Lines);
        Lines -> lists:reverse(Lines)
    end.

numbers(Text) ->
    lists:seq(1, length(lines(Text))).
