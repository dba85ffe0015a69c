%% What the parts of the build share: a sentence that ends it, files, and what other programs say.
-module(sockeye_build).

-export([say/2, tell/2]).
-export([read/1, write/3]).
-export([output/2, output/3, status/2]).
-export([variable/1, version/0, sha256/1]).

%% Ends the build with a sentence.
-spec say(string(), [term()]) -> no_return().
say(Format, Args) ->
    throw({say, io_lib:format(Format, Args)}).

-spec tell(string(), [term()]) -> ok.
tell(Format, Args) ->
    io:format(standard_error, "sockeye: " ++ Format ++ "~n", Args).

%% ---------------------------------------------------------------- files

-spec read(file:filename()) -> binary().
read(Path) ->
    case file:read_file(Path) of
        {ok, Bytes} -> Bytes;
        {error, Why} -> say("cannot read ~ts: ~ts.", [Path, file:format_error(Why)])
    end.

%% All of it or nothing, and never in place: a running node has the old file mapped and would crash.
-spec write(file:filename(), iodata(), Mode :: non_neg_integer()) -> ok.
write(Path, Content, Mode) ->
    New = iolist_to_binary(Content),
    case file:read_file(Path) of
        {ok, New} ->
            ok;
        _ ->
            Temporary = Path ++ "." ++ os:getpid() ++ ".new",
            written(filelib:ensure_dir(Path), Path),
            written(file:write_file(Temporary, New), Temporary),
            _ = file:change_mode(Temporary, Mode),
            written(file:rename(Temporary, Path), Path)
    end.

written(ok, _) -> ok;
written({error, Why}, Path) -> say("cannot write ~ts: ~ts.", [Path, file:format_error(Why)]).

%% ---------------------------------------------------------------- programs

-spec output(file:filename(), [string()]) -> string().
output(Executable, Args) ->
    {_, Said} = output(Executable, Args, []),
    Said.

-spec output(file:filename(), [string()], list()) -> {Status :: integer(), string()}.
output(Executable, Args, Options) ->
    collect(open(Executable, Args, Options), []).

collect(Port, Acc) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Acc | Data]);
        {Port, {exit_status, Status}} -> {Status, lists:flatten(Acc)}
    end.

%% What cargo says is shown as it comes; its closing line is not, so that a build
%% with nothing to do is silent.
-spec status({file:filename(), [string()]}, list()) -> integer().
status({Executable, Args}, Options) ->
    lines(open(Executable, Args, [{line, 4096} | Options])).

lines(Port) ->
    receive
        {Port, {data, {_, "    Finished" ++ _}}} -> lines(Port);
        {Port, {data, {eol, Line}}} -> io:put_chars([Line, $\n]), lines(Port);
        {Port, {data, {noeol, Part}}} -> io:put_chars(Part), lines(Port);
        {Port, {exit_status, Status}} -> Status
    end.

open(Executable, Args, Options) ->
    open_port({spawn_executable, Executable}, [{args, Args}, exit_status, stderr_to_stdout, hide | Options]).

%% ---------------------------------------------------------------- facts

%% One that is set to nothing is not set.
-spec variable(string()) -> string() | none.
variable(Name) ->
    case os:getenv(Name, "") of
        "" -> none;
        Value -> Value
    end.

%% Of the application, which is that of the crates.
-spec version() -> string().
version() ->
    {ok, [{application, sockeye, Keys}]} = file:consult("erlang/sockeye.app.src"),
    proplists:get_value(vsn, Keys).

-spec sha256(iodata()) -> string().
sha256(Bytes) ->
    [hd(io_lib:format("~.16b", [Nibble])) || <<Nibble:4>> <= crypto:hash(sha256, Bytes)].
