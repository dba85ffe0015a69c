#!/usr/bin/env escript
%% -*- erlang -*-
%%! +sbtu +A0
%% Writes doc/chunks, which h(sockeye) and hcb(sockeye_handler) read in the shell, when
%% a source is newer.
%%
%% Runs after each compile, so that those who depend on us have the manual too. It is
%% never a reason for a build to fail: without edoc there are just no chunks.
-mode(compile).

-include_lib("xmerl/include/xmerl.hrl").

main(_Args) ->
    %% Those below are private.
    Sources = filelib:wildcard("erlang/src/*.erl"),
    Newest = lists:max([filelib:last_modified(F) || F <- [escript:script_name() | Sources]]),
    Dir = filename:join(application_dir(), "doc"),
    case Newest > filelib:last_modified(filename:join([Dir, "chunks", "sockeye.chunk"])) of
        true -> try write(Sources, Dir) catch _:_ -> none end;
        false -> ok
    end.

%% Beside the ebin that is loaded: mix has it away from the sources.
application_dir() ->
    case os:getenv("REBAR_BARE_COMPILER_OUTPUT_DIR", "") of
        "" -> ".";
        Dir -> Dir
    end.

write(Sources, Dir) ->
    %% What edoc has to say about a comment is for our own lint, not for a user's build.
    group_leader(spawn_link(fun quiet/0), self()),
    edoc:files(Sources, [
        {dir, Dir},
        {preprocess, true},
        {doclet, edoc_doclet_chunks},
        {layout, edoc_layout_chunks}
    ]),
    lists:foreach(fun(Source) -> complete(Source, Dir) end, Sources).

quiet() ->
    receive
        {io_request, From, ReplyAs, _} ->
            From ! {io_reply, ReplyAs, ok},
            quiet()
    end.

%% edoc takes the words of a callback as they are, examples and all, and lists what is private.
complete(Source, Dir) ->
    File = filename:join([Dir, "chunks", filename:basename(Source, ".erl") ++ ".chunk"]),
    {ok, Chunk} = file:read_file(File),
    {docs_v1, Anno, Language, Format, Module, Meta, Docs} = binary_to_term(Chunk),
    {ok, Forms} = epp:parse_file(Source, []),
    Public = lists:append(
        [[{function, F, A} || {attribute, _, export, List} <- Forms, {F, A} <- List],
         [{type, T, A} || {attribute, _, export_type, List} <- Forms, {T, A} <- List]]),
    Comments = erl_comment_scan:file(Source),
    Ends = callback_ends(Forms),
    Kept = [case Doc of
                {{callback, _, _} = Id, Place, Names, _, More} ->
                    {Id, Place, Names, words(maps:get(Id, Ends), Comments), More};
                _ ->
                    Doc
            end || {Id, _, _, _, _} = Doc <- Docs,
                   element(1, Id) =:= callback orelse lists:member(Id, Public)],
    ok = file:write_file(File, term_to_binary({docs_v1, Anno, Language, Format, Module, Meta, Kept}, [compressed])).

%% The line before which the words of each callback stand: that of the next form.
callback_ends(Forms) ->
    Lines = [{Form, erl_anno:line(element(2, Form))} || Form <- Forms, element(1, Form) =/= error],
    maps:from_list(
        [{{callback, F, A}, {Line, lists:min([L || {_, L} <- Lines, L > Line] ++ [1000000])}}
         || {{attribute, _, callback, {{F, A}, _}}, Line} <- Lines]).

%% As for types: the comment below.
words({From, To}, Comments) ->
    case [Text || {Line, _, _, Text} <- Comments, Line > From, Line < To] of
        [] ->
            none;
        Found ->
            Lines = [string:trim(Line, leading, "%") || Text <- Found, Line <- Text],
            #{<<"en">> => blocks(chunk(edoc_wiki:parse_xml(links(lists:join("\n", Lines)), From)))}
    end.

%% A link cannot be followed here.
links(Text) ->
    re:replace(Text, "{@link +([^}]+)}", "`\\1'", [global, unicode, {return, list}]).

%% Words in a row are a paragraph, or an example would be part of them.
blocks([]) ->
    [];
blocks(Pieces) ->
    case lists:splitwith(fun is_inline/1, Pieces) of
        {[], [Block | Rest]} -> [Block | blocks(Rest)];
        {Inline, Rest} ->
            case [P || P <- Inline, P =/= <<" ">>] of
                [] -> blocks(Rest);
                _ -> [{p, [], Inline} | blocks(Rest)]
            end
    end.

is_inline({Name, _, _}) -> not lists:member(Name, [p, pre, ul, ol]);
is_inline(_Text) -> true.

chunk(Nodes) ->
    lists:append([piece(Node) || Node <- Nodes]).

piece(#xmlText{value = Value}) ->
    [unicode:characters_to_binary(re:replace(Value, "\\s+", " ", [global, unicode, {return, list}]))];
piece(#xmlElement{name = pre, content = Content}) ->
    [{pre, [], [unicode:characters_to_binary(string:trim([Value || #xmlText{value = Value} <- Content], both, "\n"))]}];
piece(#xmlElement{name = Name, content = Content}) ->
    case lists:member(shorthand(Name), [p, ul, ol, li, code, em, strong, b, i]) of
        true -> [{shorthand(Name), [], chunk(Content)}];
        false -> chunk(Content)
    end.

shorthand(tt) -> code;
shorthand(Name) -> Name.
