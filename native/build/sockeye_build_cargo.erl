%% Builds the native library and the executable with cargo, and takes their symbols away.
-module(sockeye_build_cargo).

-export([build/1, build/2, cargo/0, home/0]).

-import(sockeye_build, [say/2, variable/1]).

-define(RUST_MIN, {1, 91}).
-define(RUST_MIN_TEXT, "1.91").

%% Where the files of these packages are, without symbols.
-spec build([Package]) -> [{Package, file:filename()}] when Package :: string().
build(Packages) ->
    build(Packages, #{}).

%% For a release, from the sources in `folder' into `target_dir', for the triple `target', with `env' besides.
-spec build([Package], map()) -> [{Package, file:filename()}] when Package :: string().
build(Packages, How) ->
    Cargo = cargo(),
    Dir = maps:get(target_dir, How, target_dir()),
    Target = maps:get(target, How, variable("CARGO_BUILD_TARGET")),
    Args = ["build", "--release", "--locked", "--target-dir", Dir] ++
        [Arg || #{target := T} <- [How], Arg <- ["--target", T]] ++
        [Arg || Package <- Packages, Arg <- ["--package", Package]],
    case sockeye_build:status({Cargo, Args}, [{env, maps:get(env, How, [])}] ++ [{cd, F} || #{folder := F} <- [How]]) of
        0 -> [{Package, stripped(artifact(Package, Dir, Target))} || Package <- Packages];
        Status -> say(failed(Status), [])
    end.

%% The first that is new enough. A fresh rustup is there before the shell's PATH knows of it, and beside a cargo of the
%% system that is too old.
-spec cargo() -> file:filename().
cargo() ->
    case cargo(os:find_executable("cargo"), []) of
        {ok, Cargo} ->
            Cargo;
        OnPath ->
            Bin = filename:join(home(), "bin"),
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

-spec home() -> file:filename().
home() ->
    case variable("CARGO_HOME") of
        none -> filename:join(os:getenv("HOME", "/"), ".cargo");
        Home -> Home
    end.

path_separator() ->
    case os:type() of
        {win32, _} -> ";";
        _ -> ":"
    end.

version(Cargo) ->
    Out = sockeye_build:output(Cargo, ["--version"]),
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

%% `rebar3 upgrade' deletes the folder of a dependency: then cargo's files live in
%% the user's own _build, one for all profiles.
target_dir() ->
    {ok, Here} = file:get_cwd(),
    case {variable("CARGO_TARGET_DIR"), variable("REBAR_BARE_COMPILER_OUTPUT_DIR")} of
        {none, none} ->
            case without_dot(os:getenv("REBAR_ROOT_DIR", Here)) of
                Here -> filename:join(Here, "target");
                _User -> beside_profiles(os:getenv("REBAR_BUILD_DIR", Here), Here)
            end;
        {none, MixOut} ->
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

artifact(Package, Dir, Target) ->
    Dirs = [filename:join(Dir, Target) || Target =/= none] ++ [Dir],
    Paths = [filename:join([D, "release", artifact_name(Package)]) || D <- Dirs],
    case [P || P <- Paths, filelib:is_regular(P)] of
        [Path | _] -> Path;
        [] -> say("cargo said it built the native library, but it is not at ~ts.", [hd(Paths)])
    end.

artifact_name("sockeye-port") ->
    "sockeye-engine";
artifact_name("sockeye-nif") ->
    case os:type() of
        {unix, darwin} -> "libsockeye_nif.dylib";
        {win32, _} -> "sockeye_nif.dll";
        _ -> "libsockeye_nif.so"
    end.

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
    case sockeye_build:output(Strip, strip_args() ++ ["-o", Temporary, Library], []) of
        {0, _} ->
            moved(file:change_time(Temporary, Time), Temporary),
            moved(file:rename(Temporary, Copy), Copy),
            Copy;
        {_, Said} ->
            _ = file:delete(Temporary),
            sockeye_build:tell("the native library keeps its symbols, since strip failed: ~ts", [string:trim(Said)]),
            Library
    end.

moved(ok, _) -> ok;
moved({error, Why}, Path) -> say("cannot write ~ts: ~ts.", [Path, file:format_error(Why)]).

%% Apple's strip refuses to take away what others look for; -x leaves that.
strip_args() ->
    case os:type() of
        {unix, darwin} -> ["-x"];
        _ -> ["--strip-all"]
    end.
