#!/usr/bin/env escript
%% -*- erlang -*-
%%! +sbtu +A0
%% Writes doc/chunks, which h(sockeye) reads in the shell, when a source is newer.
%%
%% Runs after each compile, so that those who depend on us have the manual too. It is
%% never a reason for a build to fail: without edoc there are just no chunks.
-mode(compile).

main(_Args) ->
    Sources = filelib:wildcard("erlang/src/*.erl"),
    Newest = lists:max([filelib:last_modified(F) || F <- Sources]),
    Dir = filename:join(application_dir(), "doc"),
    case Newest > filelib:last_modified(filename:join([Dir, "chunks", "sockeye.chunk"])) of
        true -> catch write(Sources, Dir);
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
    ]).

quiet() ->
    receive
        {io_request, From, ReplyAs, _} ->
            From ! {io_reply, ReplyAs, ok},
            quiet()
    end.
