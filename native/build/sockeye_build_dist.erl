%% Makes the files that others take instead of building: a folder with them, and native/prebuilt.config, which names them.
%%
%% The same sources, compiler and linker make the same bytes in any folder: no path of the machine gets into them. On x86_64 Linux with glibc
%% those for musl are made too, where its compiler and Rust's own library for it are there.
-module(sockeye_build_dist).

-export([make/3]).

-define(MANIFEST, "native/prebuilt.config").
%% What a file may need at most: erlang/guide/install.md names systems that have it.
-define(GLIBC_MOST, "2.34").
-define(GNU, "x86_64-unknown-linux-gnu").
-define(MUSL, "x86_64-unknown-linux-musl").
-define(PACKAGES, ["sockeye-nif", "sockeye-port"]).

%% `Given' is built already, the rest is built by cargo. `Digests' are those of the sources as they are shipped.
-spec make(Out :: file:filename(), Given :: [{Package :: string(), binary()}], Digests :: [string()]) -> ok.
make(Out, Given, Digests) ->
    Target = sockeye_build_prebuilt:target(),
    Here = [described(Package, Bytes, Target) || {Package, Bytes} <- Given ++ built(?PACKAGES -- packages(Given), Target)],
    Files = Here ++ [described(Package, Bytes, Other) || Other <- others(Given, Target), {Package, Bytes} <- built(?PACKAGES, Other)],
    lists:foreach(fun({Name, _, Bytes}) -> sockeye_build:write(filename:join(Out, Name), Bytes, 8#755) end, Files),
    sockeye_build:write(?MANIFEST, manifest([{Name, Facts} || {Name, Facts, _} <- Files], Digests), 8#644),
    io:put_chars([[maps:get(sha256, Facts), "  ", filename:join(Out, Name), $\n] || {Name, Facts, _} <- Files]).

packages(Files) ->
    [Package || {Package, _} <- Files].

%% What else can be built here. Who gives files or names a target wants no more.
others([], ?GNU) ->
    case {sockeye_build:variable("CARGO_BUILD_TARGET"), os:find_executable("musl-gcc"), filelib:is_regular(unwinder())} of
        {none, Gcc, true} when Gcc =/= false ->
            [?MUSL];
        {none, _, _} ->
            sockeye_build:tell("no files for " ?MUSL ": they need musl-gcc (Debian: apt-get install musl-tools) and rustup target add " ?MUSL ".", []),
            [];
        _ ->
            []
    end;
others(_, _) ->
    [].

built([], _) ->
    [];
built(Packages, Target) ->
    {ok, Here} = file:get_cwd(),
    Prefixes = [{Here, "sockeye"}, {sockeye_build_cargo:home(), "cargo"}],
    {Rust, Linker} = for_target(Target),
    C = ["'-ffile-prefix-map=" ++ From ++ "=" ++ To ++ "'" || {From, To} <- Prefixes],
    %% Folders may have spaces in their names.
    Env = [{"CARGO_ENCODED_RUSTFLAGS", lists:join($\x1f, Rust ++ ["--remap-path-prefix=" ++ From ++ "=" ++ To || {From, To} <- Prefixes])},
           {"CFLAGS", lists:join($\s, C)}, {"CC_SHELL_ESCAPED_FLAGS", "1"} | Linker],
    How = #{target => Target, target_dir => filename:join([Here, "target", "dist"]),
            env => [{Name, lists:flatten(Value)} || {Name, Value} <- Env]},
    [{Package, sockeye_build:read(Path)} || {Package, Path} <- sockeye_build_cargo:build(Packages, How)].

%% Flags instead of those in .cargo/config.toml, which has what musl needs.
for_target(?MUSL = Target) ->
    case sockeye_build_prebuilt:target(erlang:system_info(system_architecture)) of
        Target ->
            {["-Ctarget-feature=-crt-static"], []};
        _ ->
            %% The compiler's libgcc_s is one of glibc. Rust's own unwinder is found under its name. Cargo's flags are a part of the names
            %% of symbols, so there is no path of this machine among them: the linker runs in this folder.
            Unwinder = filename:join(["target", "dist", "unwinder", "libgcc_s.a"]),
            sockeye_build:write(Unwinder, sockeye_build:read(unwinder()), 8#644),
            {["-Ctarget-feature=-crt-static", "-Clink-arg=-L" ++ filename:dirname(Unwinder)],
             [{"CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER", "musl-gcc"}]}
    end;
for_target(Target) ->
    {["-Ctarget-feature=-crt-static" || lists:suffix("-musl", Target)], []}.

unwinder() ->
    _ = sockeye_build_cargo:cargo(),
    Sysroot = case os:find_executable("rustc") of
                  false -> "";
                  Rustc -> string:trim(sockeye_build:output(Rustc, ["--print", "sysroot"]))
              end,
    filename:join([Sysroot, "lib", "rustlib", ?MUSL, "lib", "self-contained", "libunwind.a"]).

%% ---------------------------------------------------------------- what a file is

described(Package, Bytes, Target) ->
    Facts = maps:merge(#{package => Package, target => Target, size => byte_size(Bytes),
                         sha256 => sockeye_build:sha256(Bytes)},
                       maps:from_list(nif(Package) ++ glibc(Package, Bytes))),
    {name(Package, Target, Facts), Facts, Bytes}.

name("sockeye-nif", Target, #{nif := Nif}) ->
    "sockeye_nif-" ++ sockeye_build:version() ++ "-nif-" ++ Nif ++ "-" ++ Target ++ extension(Target);
name("sockeye-port", Target, _) ->
    "sockeye-engine-" ++ sockeye_build:version() ++ "-" ++ Target.

extension(Target) ->
    case string:find(Target, "-windows-") of
        nomatch -> ".so";
        _ -> ".dll"
    end.

nif("sockeye-nif") ->
    {match, [Major, Minor]} = re:run(sockeye_build:read("Cargo.toml"), "\"nif_version_(\\d+)_(\\d+)\"",
                                     [{capture, all_but_first, list}]),
    [{nif, Major ++ "." ++ Minor}];
nif(_) ->
    [].

%% The names of the versions that the loader asks for stand in the file as they are.
glibc(Package, Bytes) ->
    case re:run(Bytes, "\\0GLIBC_([0-9.]+)(?=\\0)", [global, {capture, all_but_first, list}]) of
        nomatch ->
            [];
        {match, Found} ->
            {Newest, Name} = lists:max([{sockeye_build_prebuilt:version_of(Version), Version} || [Version] <- Found]),
            Newest =< sockeye_build_prebuilt:version_of(?GLIBC_MOST) orelse
                sockeye_build:say("~ts needs glibc ~ts, and " ?GLIBC_MOST " is promised: build it on an older system.", [Package, Name]),
            [{glibc, Name}]
    end.

%% ---------------------------------------------------------------- the manifest

manifest(Files, Digests) ->
    ["%% Libraries and executables that were built before, and the sources they are of. Written by `make dist'.\n",
     term({version, sockeye_build:version()}),
     [term(Url) || {url, _} = Url <- sockeye_build_prebuilt:manifest()],
     term({sources, Digests}),
     [term({file, Name, Facts}) || {Name, Facts} <- Files]].

term(Term) ->
    io_lib:format("~p.~n", [Term]).
