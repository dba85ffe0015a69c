%% Files of the pages about production, as they stand there, and programs that run them.
-module(recipe).

-export([page/1]).
-export([pages/0]).
-export([file/2]).
-export([changed/2]).
-export([compile/2]).
-export([run/2]).
-export([run/3]).
-export([said/1]).
-export([until/2]).
-export([until/1]).
-export([within/2]).
-export([stop/1]).
-export([signal/2]).

-export_type([running/0]).

-type running() :: {port(), Pid :: integer()}.

-define(TIMEOUT, 60000).

pages() ->
    doc_page:wildcards(["erlang/guide/production/*.md"]).

page(Page) ->
    doc_page:page("erlang/guide/production/" ++ Page).

%% The code block of a page that has this name.
file(Page, Name) ->
    case [Text || #{name := N, text := Text} <- doc_page:blocks(page(Page)), N =:= Name] of
        [Text] -> Text;
        _ -> error({no_such_file, Page, Name})
    end.

%% With other ports, paths and names: each stands in the text, or the test would say so of another text.
changed(Text, Changes) ->
    lists:foldl(fun({From, To}, T) ->
                    string:find(T, From) =/= nomatch orelse error({not_there, From}),
                    lists:flatten(string:replace(T, From, To, all))
                end, Text, Changes).

%% The modules of a page, as files in a folder.
compile(Page, Folder) ->
    Names = [Name || #{language := "erlang", name := "src/" ++ _ = Name} <- doc_page:blocks(page(Page)), filename:extension(Name) =:= ".erl"],
    [begin
         Source = filename:join(Folder, filename:basename(Name)),
         ok = file:write_file(Source, unicode:characters_to_binary(file(Page, Name))),
         {ok, Module, Beam, []} = compile:file(Source, [binary, return, debug_info]),
         ok = file:write_file(filename:join(Folder, atom_to_list(Module) ++ ".beam"), Beam),
         Module
     end || Name <- Names].

%% ---------------------------------------------------------------- programs

-spec run(string(), [string()]) -> running().
run(Program, Args) ->
    run(Program, Args, []).

run(Program, Args, Env) ->
    Port = open_port({spawn_executable, Program}, [{args, Args}, {env, Env}, exit_status, stderr_to_stdout, binary]),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    {Port, Pid}.

%% Its exit status, and what it has said.
said({Port, _}) ->
    said(Port, <<>>).

said(Port, Said) ->
    receive
        {Port, {data, More}} -> said(Port, <<Said/binary, More/binary>>);
        {Port, {exit_status, Status}} -> {Status, Said}
    after ?TIMEOUT -> error({still_running, Said})
    end.

%% Until a condition holds, for as long as the program runs.
until({Port, _} = Running, Holds) ->
    until(fun() ->
        receive
            {Port, {exit_status, Status}} ->
                {Port, Printed} = printed(Port, <<>>),
                %% EUnit cuts off what is long.
                io:format(user, "~ts~n", [Printed]),
                error({ended, Status, Printed})
        after 0 -> Holds()
        end
    end),
    Running.

printed(Port, Said) ->
    receive {Port, {data, More}} -> printed(Port, <<Said/binary, More/binary>>)
    after 0 -> {Port, Said}
    end.

until(Holds) ->
    within(?TIMEOUT, Holds) orelse error(never),
    ok.

%% Whether it comes to hold in so many milliseconds.
within(Time, Holds) ->
    within_until(erlang:monotonic_time(millisecond) + Time, Holds).

within_until(Deadline, Holds) ->
    case Holds() of
        true ->
            true;
        false ->
            %% Programs of others: they tell nobody.
            timer:sleep(20),
            erlang:monotonic_time(millisecond) < Deadline andalso within_until(Deadline, Holds)
    end.

signal({_, Pid}, Signal) ->
    _ = os:cmd("kill -" ++ Signal ++ " " ++ integer_to_list(Pid)),
    ok.

stop(Running) ->
    ok = signal(Running, "TERM"),
    said(Running).
