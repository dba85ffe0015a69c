#!/usr/bin/env escript
%% -*- erlang -*-
%%! +sbtu +A0
%% Puts the native library into priv/, where sockeye_nif loads it from, and sockeye-engine beside it, the same engine for a
%% process of its own. The first of these ways that is there:
%%
%%   1. a file that a variable names;
%%   2. files that were built from these sources before, as native/prebuilt.config has them (sockeye_build_prebuilt);
%%   3. cargo (sockeye_build_cargo). What it has built is put there without its symbols, which are four fifths of it;
%%      with them it stays in cargo's folder, to read a crash by.
%%
%% rebar3 and mix run this before they compile the Erlang sources, with the folder
%% of this application as the working directory. Environment:
%%   SOCKEYE_NIF_PATH     a library that is built already: it is copied as it is
%%   SOCKEYE_ENGINE_PATH  the same for the executable
%%   SOCKEYE_PREBUILT     a folder or a URL: where the files of native/prebuilt.config are
%%   SOCKEYE_BUILD        source or prebuilt: the third way only, or the second only
%%   CARGO_TARGET_DIR     where cargo keeps its files (as always with cargo)
%%
%% With an argument:
%%   prebuilt             the first two ways only, and silent where none is named: status 1
%%   dist FOLDER          makes the files for others, and native/prebuilt.config
%%   hex FOLDER           makes the package for hex.pm
%%   release              whether this tree can be released
-mode(compile).

main(Args) ->
    try
        part(sockeye_build),
        run(Args)
    catch
        throw:{say, Sentence} ->
            sockeye_build:tell("~ts", [Sentence]),
            halt(1)
    end.

run([]) ->
    install(given() ++ built(sockeye_build:variable("SOCKEYE_BUILD"), missing()));
run(["prebuilt"]) ->
    case prebuilt(missing()) of
        {ok, Files} -> install(given() ++ Files);
        {error, Why} -> sockeye_build:say("~ts.", [Why]);
        none -> halt(1)
    end;
run(["dist", Out]) ->
    [Dist, Hex, Sources | _] = [part(Module) || Module <- [sockeye_build_dist, sockeye_build_hex, sockeye_build_sources,
                                                          sockeye_build_prebuilt, sockeye_build_cargo]],
    Staged = filename:join(Out, "sources"),
    Hex:stage(Staged),
    Dist:make(Out, given(), [Sources:digest("."), Sources:digest(Staged)]),
    ok = file:del_dir_r(Staged);
run(["hex", Out]) ->
    [Hex | _] = [part(Module) || Module <- [sockeye_build_hex, sockeye_build_sources, sockeye_build_cargo]],
    Folder = filename:join(Out, "sockeye-" ++ sockeye_build:version()),
    Hex:stage(Folder),
    Hex:tarball(Folder, Folder ++ ".tar");
run(["release"]) ->
    [Release | _] = [part(Module) || Module <- [sockeye_build_release, sockeye_build_prebuilt, sockeye_build_sources]],
    Wrong = Release:check(),
    [sockeye_build:tell("~ts.", [Said]) || Said <- Wrong],
    Wrong =:= [] orelse halt(1);
run(Args) ->
    sockeye_build:say("native/build_nif.escript knows no ~ts.", [lists:join(" ", Args)]).

%% The modules of the build, compiled when they are needed: nothing is compiled yet when this runs.
part(Module) ->
    File = filename:join([filename:dirname(escript:script_name()), "build", Module]),
    {ok, Module, Code} = compile:file(File, [binary, report]),
    {module, Module} = code:load_binary(Module, File, Code),
    Module.

%% ---------------------------------------------------------------- ways

built(_, []) ->
    [];
built("source", Missing) ->
    cargo(Missing);
built("prebuilt", Missing) ->
    case prebuilt(Missing) of
        {ok, Files} -> Files;
        {error, Why} -> sockeye_build:say("~ts, and SOCKEYE_BUILD=prebuilt allows no other way.", [Why]);
        none -> sockeye_build:say("SOCKEYE_BUILD is prebuilt, and neither SOCKEYE_PREBUILT nor native/prebuilt.config "
                                  "says where built files are.", [])
    end;
built(none, Missing) ->
    case prebuilt(Missing) of
        {ok, Files} ->
            Files;
        {error, Why} ->
            sockeye_build:tell("~ts; the next way is cargo.", [Why]),
            cargo(Missing);
        none ->
            cargo(Missing)
    end;
built(Other, _) ->
    sockeye_build:say("SOCKEYE_BUILD is ~ts, and can be source or prebuilt.", [Other]).

prebuilt([]) ->
    {ok, []};
prebuilt(Missing) ->
    Prebuilt = part(sockeye_build_prebuilt),
    case Prebuilt:place() of
        none ->
            none;
        Place ->
            part(sockeye_build_sources),
            part(sockeye_build_fetch),
            try {ok, Prebuilt:take(Missing, Place, fun there/1)}
            catch throw:{not_taken, Why} -> {error, Why}
            end
    end.

cargo(Packages) ->
    Cargo = part(sockeye_build_cargo),
    [{Package, sockeye_build:read(Path)} || {Package, Path} <- Cargo:build(Packages)].

%% What a variable names.
given() ->
    [{Package, sockeye_build:read(Path)} || {Package, Path} <- packages(), Path =/= none].

missing() ->
    [Package || {Package, none} <- packages()].

%% What is built, and the file that is built already. Without Unix sockets there is no
%% process of its own, and who has a library may have no cargo.
packages() ->
    Library = {"sockeye-nif", file_in("SOCKEYE_NIF_PATH")},
    Engine = {"sockeye-port", file_in("SOCKEYE_ENGINE_PATH")},
    case {os:type(), Library, Engine} of
        {{win32, _}, _, _} -> [Library];
        {_, {_, Path}, {_, none}} when Path =/= none -> [Library];
        _ -> [Library, Engine]
    end.

file_in(Variable) ->
    Path = sockeye_build:variable(Variable),
    Path =:= none orelse filelib:is_regular(Path) orelse
        sockeye_build:say("~s is ~ts, and there is no such file.", [Variable, Path]),
    Path.

%% ---------------------------------------------------------------- priv

install(Files) ->
    [sockeye_build:write(in_priv(Package), Bytes, 8#755) || {Package, Bytes} <- Files].

there(Package) ->
    case file:read_file(in_priv(Package)) of
        {ok, Bytes} -> Bytes;
        {error, _} -> <<>>
    end.

in_priv("sockeye-nif") -> filename:join("priv", "sockeye_nif" ++ load_nif_suffix());
in_priv("sockeye-port") -> filename:join("priv", "sockeye-engine").

%% erlang:load_nif/2 wants .so on macOS too.
load_nif_suffix() ->
    case os:type() of
        {win32, _} -> ".dll";
        _ -> ".so"
    end.
