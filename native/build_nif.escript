#!/usr/bin/env escript
%% -*- erlang -*-
%%! +sbtu +A0
%% Puts the native library into priv/, where sockeye_nif loads it from, and sockeye-engine beside it, the same engine for a
%% process of its own. What cargo has built goes there without its
%% symbols, which are four fifths of it; with them it stays in cargo's folder, to read a crash by.
%%
%% rebar3 and mix run this before they compile the Erlang sources, with the folder
%% of this application as the working directory. Environment:
%%   SOCKEYE_NIF_PATH     a library that is built already: it is copied as it is, cargo is not needed
%%   SOCKEYE_ENGINE_PATH  the same for the executable
%%   CARGO_TARGET_DIR     where cargo keeps its files (as always with cargo)
-mode(compile).

-define(RUST_MIN, {1, 91}).
-define(RUST_MIN_TEXT, "1.91").

main(_Args) ->
    try
        Given = [{Package, given(Variable)} || {Package, Variable} <- packages()],
        ok = build([Package || {Package, none} <- Given]),
        lists:foreach(fun install/1, Given)
    catch
        throw:{say, Sentence} ->
            io:format(standard_error, "sockeye: ~ts~n", [Sentence]),
            halt(1)
    end.

%% What is built, and the variable that names one that is built already. Without Unix sockets there is no
%% process of its own, and who has a library may have no cargo.
packages() ->
    Library = {"sockeye-nif", "SOCKEYE_NIF_PATH"},
    Engine = {"sockeye-port", "SOCKEYE_ENGINE_PATH"},
    case os:type() of
        {win32, _} -> [Library];
        _ ->
            case {given("SOCKEYE_NIF_PATH"), given("SOCKEYE_ENGINE_PATH")} of
                {{path, _}, none} -> [Library];
                _ -> [Library, Engine]
            end
    end.

given(Variable) ->
    case os:getenv(Variable, "") of
        "" ->
            none;
        Path ->
            filelib:is_regular(Path) orelse say("~s is ~ts, and there is no such file.", [Variable, Path]),
            {path, Path}
    end.

install({Package, {path, Path}}) ->
    install(Path, place(Package));
install({Package, none}) ->
    install(stripped(artifact(Package, target_dir())), place(Package)).

place("sockeye-nif") -> filename:join("priv", "sockeye_nif" ++ load_nif_suffix());
place("sockeye-port") -> filename:join("priv", "sockeye-engine").

%% ---------------------------------------------------------------- cargo

build([]) ->
    ok;
build(Packages) ->
    Cargo = cargo(),
    Named = lists:append([["--package", Package] || Package <- Packages]),
    case run(Cargo, ["build", "--release", "--locked", "--target-dir", target_dir() | Named]) of
        0 -> ok;
        Status -> say(failed(Status), [])
    end.

%% The first that is new enough. A fresh rustup is there before the shell's PATH knows of it, and beside a cargo of the
%% system that is too old.
cargo() ->
    case cargo(os:find_executable("cargo"), []) of
        {ok, Cargo} ->
            Cargo;
        OnPath ->
            Bin = filename:join(cargo_home(), "bin"),
            case cargo(os:find_executable("cargo", Bin), OnPath) of
                {ok, Cargo} ->
                    %% Its rustc is beside it.
                    true = os:putenv("PATH", Bin ++ path_separator() ++ os:getenv("PATH", "")),
                    Cargo;
                Found ->
                    say("the native library needs Rust " ?RUST_MIN_TEXT " or newer and ~ts; install it from "
                        "https://rustup.rs (or run rustup update), or set SOCKEYE_NIF_PATH to a library built elsewhere.",
                        [lacks(lists:reverse(Found))])
            end
    end.

%% One that is too old, or does not run, joins those that were found before.
cargo(false, Others) -> Others;
cargo(Cargo, Others) ->
    case version(Cargo) of
        {ok, Version} when Version >= ?RUST_MIN -> {ok, Cargo};
        Other -> [Other | Others]
    end.

lacks([]) -> "there is no cargo here";
lacks([{ok, {Major, Minor}} | _]) -> io_lib:format("cargo here is ~b.~b", [Major, Minor]);
lacks([{error, Said} | _]) -> io_lib:format("cargo does not run (~ts)", [Said]).

cargo_home() ->
    case os:getenv("CARGO_HOME", "") of
        "" -> filename:join(os:getenv("HOME", "/"), ".cargo");
        Home -> Home
    end.

path_separator() ->
    case os:type() of
        {win32, _} -> ";";
        _ -> ":"
    end.

version(Cargo) ->
    Out = output(Cargo, ["--version"]),
    case re:run(Out, "^cargo (\\d+)\\.(\\d+)", [multiline, {capture, all_but_first, list}]) of
        {match, [Major, Minor]} -> {ok, {list_to_integer(Major), list_to_integer(Minor)}};
        nomatch -> {error, string:trim(hd(string:split(Out, "\n")))}
    end.

failed(Status) ->
    case os:find_executable("cc") =:= false andalso os:find_executable("gcc") =:= false of
        true ->
            "the native library needs a C linker and there is no cc here; install gcc and the C library's headers "
            "(Debian: apt-get install gcc libc6-dev).";
        false ->
            "cargo could not build the native library (status " ++ integer_to_list(Status) ++ "); its message is above."
    end.

%% `rebar3 upgrade` deletes the folder of a dependency: then cargo's files live in
%% the user's own _build, one for all profiles.
target_dir() ->
    {ok, Here} = file:get_cwd(),
    case {os:getenv("CARGO_TARGET_DIR", ""), os:getenv("REBAR_BARE_COMPILER_OUTPUT_DIR", "")} of
        {"", ""} ->
            case without_dot(os:getenv("REBAR_ROOT_DIR", Here)) of
                Here -> filename:join(Here, "target");
                _User -> beside_profiles(os:getenv("REBAR_BUILD_DIR", Here), Here)
            end;
        {"", MixOut} ->
            %% mix: _build/<env>/lib/sockeye
            beside_profiles(filename:dirname(filename:dirname(filename:absname(MixOut))), Here);
        {Set, _} ->
            filename:absname(Set)
    end.

%% Some versions of rebar3 say "/the/folder/.".
without_dot(Folder) ->
    case lists:reverse(filename:split(Folder)) of
        ["." | Above = [_ | _]] -> filename:join(lists:reverse(Above));
        _ -> Folder
    end.

beside_profiles(Here, Here) -> filename:join(Here, "target");
beside_profiles(Profile, _) -> filename:join(filename:dirname(Profile), "sockeye_cargo").

artifact(Package, Target) ->
    Dirs = [Target] ++ [filename:join(Target, T) || T <- [os:getenv("CARGO_BUILD_TARGET", "")], T =/= ""],
    Paths = [filename:join([D, "release", cargo_name(Package)]) || D <- lists:reverse(Dirs)],
    case [P || P <- Paths, filelib:is_regular(P)] of
        [Path | _] -> Path;
        [] -> say("cargo said it built the native library, but it is not at ~ts.", [hd(Paths)])
    end.

cargo_name("sockeye-port") ->
    "sockeye-engine";
cargo_name("sockeye-nif") ->
    case os:type() of
        {unix, darwin} -> "libsockeye_nif.dylib";
        {win32, _} -> "sockeye_nif.dll";
        _ -> "libsockeye_nif.so"
    end.

%% erlang:load_nif/2 wants .so on macOS too.
load_nif_suffix() ->
    case os:type() of
        {win32, _} -> ".dll";
        _ -> ".so"
    end.

%% ---------------------------------------------------------------- symbols

%% A copy beside the library, without what only a debugger reads. Where there is no strip, all of it is shipped. A copy
%% that has the time of the library is one of this library.
stripped(Library) ->
    Copy = filename:rootname(Library) ++ ".stripped" ++ filename:extension(Library),
    Time = filelib:last_modified(Library),
    case filelib:last_modified(Copy) of
        Time -> Copy;
        _ -> strip(os:find_executable("strip"), Library, Copy, Time)
    end.

strip(false, Library, _, _) ->
    Library;
strip(Strip, Library, Copy, Time) ->
    Temporary = Copy ++ "." ++ os:getpid() ++ ".new",
    Port = open(Strip, strip_args() ++ ["-o", Temporary, Library], []),
    case collect_status(Port, []) of
        {0, _} ->
            ok_or_say(file:change_time(Temporary, Time), Temporary),
            ok_or_say(file:rename(Temporary, Copy), Copy),
            Copy;
        {_, Said} ->
            _ = file:delete(Temporary),
            io:format(standard_error, "sockeye: the native library keeps its symbols, since strip failed: ~ts~n",
                      [string:trim(Said)]),
            Library
    end.

%% Apple's strip refuses to take away what others look for; -x leaves that.
strip_args() ->
    case os:type() of
        {unix, darwin} -> ["-x"];
        _ -> ["--strip-all"]
    end.

%% ---------------------------------------------------------------- priv

%% Never in place: a running node has the old file mapped and would crash.
install(From, To) ->
    New = read(From),
    case file:read_file(To) of
        {ok, New} ->
            ok;
        _ ->
            Temporary = To ++ "." ++ os:getpid() ++ ".new",
            ok_or_say(filelib:ensure_dir(To), To),
            ok_or_say(file:write_file(Temporary, New), Temporary),
            _ = file:change_mode(Temporary, 8#755),
            ok_or_say(file:rename(Temporary, To), To)
    end.

read(Path) ->
    case file:read_file(Path) of
        {ok, Bytes} -> Bytes;
        {error, Why} -> say("cannot read ~ts: ~ts.", [Path, file:format_error(Why)])
    end.

ok_or_say(ok, _) -> ok;
ok_or_say({error, Why}, Path) -> say("cannot write ~ts: ~ts.", [Path, file:format_error(Why)]).

%% ---------------------------------------------------------------- running

%% What cargo says is shown as it comes; its closing line is not, so that a build
%% with nothing to do is silent.
run(Executable, Args) ->
    lines(open(Executable, Args, [{line, 4096}])).

lines(Port) ->
    receive
        {Port, {data, {_, "    Finished" ++ _}}} -> lines(Port);
        {Port, {data, {eol, Line}}} -> io:put_chars([Line, $\n]), lines(Port);
        {Port, {data, {noeol, Part}}} -> io:put_chars(Part), lines(Port);
        {Port, {exit_status, Status}} -> Status
    end.

output(Executable, Args) ->
    {_, Said} = collect_status(open(Executable, Args, []), []),
    Said.

collect_status(Port, Acc) ->
    receive
        {Port, {data, Data}} -> collect_status(Port, [Acc | Data]);
        {Port, {exit_status, Status}} -> {Status, lists:flatten(Acc)}
    end.

open(Executable, Args, Options) ->
    open_port({spawn_executable, Executable}, [{args, Args}, exit_status, stderr_to_stdout, hide | Options]).

-spec say(string(), [term()]) -> no_return().
say(Format, Args) ->
    throw({say, io_lib:format(Format, Args)}).
