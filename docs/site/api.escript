#!/usr/bin/env escript
%% -*- erlang -*-
%% Pages of the public modules: what h(sockeye) shows in a shell (doc/chunks), as Markdown in the folder that is given.
-mode(compile).

main([Folder]) ->
    Modules = lists:sort([filename:basename(File, ".erl") || File <- filelib:wildcard("erlang/src/*.erl")]),
    Chunks = [{Module, chunk(Module)} || Module <- Modules],
    Headings = maps:from_list([{Module, [heading(Id) || {Id, _, _, _, _} <- shown(Chunk)]} || {Module, Chunk} <- Chunks]),
    ok = filelib:ensure_dir(filename:join(Folder, "x")),
    [ok = file:write_file(filename:join(Folder, Module ++ ".md"), unicode:characters_to_binary(page(Module, Chunk, Headings)))
     || {Module, Chunk} <- Chunks].

chunk(Module) ->
    {ok, Bytes} = file:read_file(filename:join("doc/chunks", Module ++ ".chunk")),
    binary_to_term(Bytes).

%% What has words of its own, or says that it is the same as another: callbacks, functions, types.
shown({docs_v1, _, _, _, _, _, Docs}) ->
    [Doc || Kind <- [callback, function, type], {{K, _, _}, _, _, Words, _} = Doc <- Docs, K =:= Kind, Words =/= hidden].

page(Module, {docs_v1, _, _, _, About, _, _} = Chunk, Headings) ->
    ["# ", Module, "\n\n", words(About, {Module, Headings}),
     [["\n## ", heading(Id), "\n\n", code("erlang", signature(Id, Names, Meta)), words(Words, {Module, Headings})]
      || {Id, _, Names, Words, Meta} <- shown(Chunk)]].

heading({function, F, A}) -> lists:flatten(io_lib:format("~ts/~b", [F, A]));
heading({callback, F, A}) -> lists:flatten(io_lib:format("callback ~ts/~b", [F, A]));
heading({type, T, _}) -> lists:flatten(io_lib:format("type ~ts()", [T])).

signature(_, _, #{signature := Forms}) -> lists:join("\n", [string:trim(erl_pp:form(Form)) || Form <- Forms]);
signature(_, Names, _) -> lists:join("\n", Names).

words(#{<<"en">> := Blocks}, Here) -> blocks(Blocks, Here);
words(_, _) -> "".

%% Words that stand beside blocks are a paragraph.
blocks(Nodes, Here) ->
    case lists:splitwith(fun is_inline/1, Nodes) of
        {[], []} -> [];
        {[], [Block | Rest]} -> [block(Block, Here), "\n" | blocks(Rest, Here)];
        {Inline, Rest} -> [paragraph(Inline, Here), "\n" | blocks(Rest, Here)]
    end.

is_inline({Name, _, _}) -> lists:member(Name, [a, code, em, i, strong, b, br]);
is_inline(_) -> true.

block({pre, _, Content}, _Here) -> code("erlang", unindented(plain(Content)));
block({ul, _, Items}, Here) -> [item("- ", Item, Here) || Item <- Items];
block({ol, _, Items}, Here) -> [item("1. ", Item, Here) || Item <- Items];
block({dl, _, Items}, Here) -> [item("- ", Item, Here) || {dd, _, _} = Item <- Items];
block({H, _, Content}, Here) when H =:= h1; H =:= h2; H =:= h3; H =:= h4; H =:= h5 -> ["**", inline(Content, Here), "**\n"];
block({_, _, Content}, Here) -> blocks(Content, Here).

item(Mark, {_, _, Content}, Here) ->
    [First | Rest] = string:split(string:trim(unicode:characters_to_list(blocks(Content, Here))), "\n", all),
    [Mark, First, "\n", [[lists:duplicate(length(Mark), $\s), Line, "\n"] || Line <- Rest]].

paragraph(Nodes, Here) ->
    case string:trim(unicode:characters_to_list(inline(Nodes, Here))) of
        "" -> "";
        Text -> [Text, "\n"]
    end.

inline(Nodes, Here) when is_list(Nodes) -> [inline(Node, Here) || Node <- Nodes];
inline({code, _, Content}, _Here) -> ["`", string:replace(plain(Content), "\n", " ", all), "`"];
inline({a, Attributes, Content}, Here) -> link(proplists:get_value(href, Attributes, <<>>), Content, Here);
inline({Name, _, Content}, Here) when Name =:= em; Name =:= i -> ["*", inline(Content, Here), "*"];
inline({Name, _, Content}, Here) when Name =:= strong; Name =:= b -> ["**", inline(Content, Here), "**"];
inline({_, _, Content}, Here) -> inline(Content, Here);
inline(Text, _Here) -> re:replace(Text, "[*_<>\\[\\]\\\\]", "\\\\&", [global, unicode, {return, list}]).

%% `#setopts/2', `sockeye_json#type/0', `sockeye_json'; to what has no page, no link.
link(<<"http", _/binary>> = Url, Content, Here) ->
    ["[", inline(Content, Here), "](", Url, ")"];
link(Href, Content, {Module, Headings} = Here) ->
    {Page, Names} = case string:split(unicode:characters_to_list(Href), "#") of
                        ["", Name] -> {Module, names(Name)};
                        [M, Name] -> {lists:last(string:split(M, ":")), names(Name)};
                        [M] -> {lists:last(string:split(M, ":")), []}
                    end,
    case {Headings, Names} of
        {#{Page := _}, []} ->
            ["[", inline(Content, Here), "](", Page, ".md)"];
        {#{Page := There}, _} ->
            case [N || N <- Names, lists:member(N, There)] of
                [Heading | _] -> ["[", inline(Content, Here), "](", Page, ".md#", slug(Heading), ")"];
                [] -> inline(Content, Here)
            end;
        _ ->
            inline(Content, Here)
    end.

names(Name) ->
    [Name, "callback " ++ Name, "type " ++ hd(string:split(Name, "/")) ++ "()"].

slug(Heading) ->
    string:replace(re:replace(string:lowercase(Heading), "[^\\w -]", "", [global, {return, list}]), " ", "-", all).

code(_Language, []) -> "";
code(Language, Text) -> ["```", Language, "\n", Text, "\n```\n\n"].

plain({_, _, Content}) -> plain(Content);
plain(Nodes) when is_list(Nodes) -> lists:append([plain(Node) || Node <- Nodes]);
plain(Text) -> unicode:characters_to_list(Text).

unindented(Text) ->
    Lines = string:split(string:trim(Text, both, "\n"), "\n", all),
    Indent = lists:min([length(Line) - length(string:trim(Line, leading, " ")) || Line <- Lines, string:trim(Line) =/= ""]),
    lists:join("\n", [lists:nthtail(min(Indent, length(Line)), Line) || Line <- Lines]).
