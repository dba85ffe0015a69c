#!/usr/bin/env escript
%% -*- erlang -*-
%%! +sbtu +A0
%% Puts the native library into priv/, where sockeye_nif loads it from.
%%
%% rebar3 and mix run this before they compile the Erlang sources, with the folder
%% of this application as the working directory. Environment:
%%   SOCKEYE_NIF_PATH   a library that is built already: it is copied, cargo is not needed
%%   CARGO_TARGET_DIR   where cargo keeps its files (as always with cargo)
-mode(compile).

-define(RUST_MIN, {1, 91}).
-define(RUST_MIN_TEXT, "1.91").

main(_Args) ->
    try
        Built = library(),
        install(Built, filename:join("priv", "sockeye_nif" ++ load_nif_suffix()))
    catch
        throw:{say, Sentence} ->
            io:format(standard_error, "sockeye: ~ts~n", [Sentence]),
            halt(1)
    end.

library() ->
    case os:getenv("SOCKEYE_NIF_PATH", "") of
        "" ->
            build();
        Path ->
            filelib:is_regular(Path) orelse
                say("SOCKEYE_NIF_PATH is ~ts, and there is no such file.", [Path]),
            Path
    end.

%% ---------------------------------------------------------------- cargo

build() ->
    Cargo = cargo(),
    check_version(Cargo),
    Target = target_dir(),
    Args = ["build", "--release", "--locked", "--package", "sockeye-nif", "--target-dir", Target],
    case run(Cargo, Args) of
        0 -> artifact(Target);
        Status -> say(failed(Status), [])
    end.

cargo() ->
    case os:find_executable("cargo") of
        false ->
            %% A fresh rustup is there before the shell's PATH knows of it.
            Bin = filename:join(cargo_home(), "bin"),
            case os:find_executable("cargo", Bin) of
                false ->
                    say("the native library needs Rust " ?RUST_MIN_TEXT " or newer and there is no cargo here; "
                        "install it from https://rustup.rs, or set SOCKEYE_NIF_PATH to a library built elsewhere.", []);
                Found ->
                    true = os:putenv("PATH", Bin ++ path_separator() ++ os:getenv("PATH", "")),
                    Found
            end;
        Found ->
            Found
    end.

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

check_version(Cargo) ->
    Out = output(Cargo, ["--version"]),
    case re:run(Out, "^cargo (\\d+)\\.(\\d+)", [multiline, {capture, all_but_first, list}]) of
        {match, [Major, Minor]} ->
            {list_to_integer(Major), list_to_integer(Minor)} >= ?RUST_MIN orelse
                say("the native library needs Rust " ?RUST_MIN_TEXT " or newer and cargo here is ~ts.~ts; "
                    "install a newer one from https://rustup.rs, or set SOCKEYE_NIF_PATH to a library built elsewhere.",
                    [Major, Minor]);
        nomatch ->
            say("cargo does not run (~ts); install Rust " ?RUST_MIN_TEXT " or newer from https://rustup.rs.",
                [string:trim(Out)])
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
            case os:getenv("REBAR_ROOT_DIR", Here) of
                Here -> filename:join(Here, "target");
                _User -> beside_profiles(os:getenv("REBAR_BUILD_DIR", Here), Here)
            end;
        {"", MixOut} ->
            %% mix: _build/<env>/lib/sockeye
            beside_profiles(filename:dirname(filename:dirname(filename:absname(MixOut))), Here);
        {Set, _} ->
            filename:absname(Set)
    end.

beside_profiles(Here, Here) -> filename:join(Here, "target");
beside_profiles(Profile, _) -> filename:join(filename:dirname(Profile), "sockeye_cargo").

artifact(Target) ->
    Dirs = [Target] ++ [filename:join(Target, T) || T <- [os:getenv("CARGO_BUILD_TARGET", "")], T =/= ""],
    Paths = [filename:join([D, "release", cargo_name()]) || D <- lists:reverse(Dirs)],
    case [P || P <- Paths, filelib:is_regular(P)] of
        [Path | _] -> Path;
        [] -> say("cargo said it built the native library, but it is not at ~ts.", [hd(Paths)])
    end.

cargo_name() ->
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
        {error, Why} -> say("can not read ~ts: ~ts.", [Path, file:format_error(Why)])
    end.

ok_or_say(ok, _) -> ok;
ok_or_say({error, Why}, Path) -> say("can not write ~ts: ~ts.", [Path, file:format_error(Why)]).

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
    collect(open(Executable, Args, []), []).

collect(Port, Acc) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Acc | Data]);
        {Port, {exit_status, _}} -> lists:flatten(Acc)
    end.

open(Executable, Args, Options) ->
    open_port({spawn_executable, Executable}, [{args, Args}, exit_status, stderr_to_stdout, hide | Options]).

-spec say(string(), [term()]) -> no_return().
say(Format, Args) ->
    throw({say, io_lib:format(Format, Args)}).
