%% Makes the files that others take instead of building: a folder with them, and native/prebuilt.config, which names them.
%%
%% The same sources, compiler and linker make the same bytes in any folder: no path of the machine gets into them.
-module(sockeye_build_dist).

-export([make/3]).

-define(MANIFEST, "native/prebuilt.config").
%% What a file may need at most: erlang/guide/install.md names systems that have it.
-define(GLIBC_MOST, "2.34").

%% `Given' is built already, the rest is built by cargo. `Digests' are those of the sources as they are shipped.
-spec make(Out :: file:filename(), Given :: [{Package :: string(), binary()}], Digests :: [string()]) -> ok.
make(Out, Given, Digests) ->
    Target = sockeye_build_prebuilt:target(),
    Files = [described(Package, Bytes, Target) || {Package, Bytes} <- Given ++ built(["sockeye-nif", "sockeye-port"] -- packages(Given), Target)],
    lists:foreach(fun({Name, _, Bytes}) -> sockeye_build:write(filename:join(Out, Name), Bytes, 8#755) end, Files),
    sockeye_build:write(?MANIFEST, manifest([{Name, Facts} || {Name, Facts, _} <- Files], Digests), 8#644),
    io:put_chars([[maps:get(sha256, Facts), "  ", filename:join(Out, Name), $\n] || {Name, Facts, _} <- Files]).

packages(Files) ->
    [Package || {Package, _} <- Files].

built([], _) ->
    [];
built(Packages, Target) ->
    {ok, Here} = file:get_cwd(),
    Prefixes = [{Here, "sockeye"}, {sockeye_build_cargo:home(), "cargo"}],
    %% Instead of those in .cargo/config.toml, which has what musl needs.
    Rust = ["-Ctarget-feature=-crt-static" || lists:suffix("-musl", Target)] ++
        ["--remap-path-prefix=" ++ From ++ "=" ++ To || {From, To} <- Prefixes],
    C = ["'-ffile-prefix-map=" ++ From ++ "=" ++ To ++ "'" || {From, To} <- Prefixes],
    %% Folders may have spaces in their names.
    Env = [{"CARGO_ENCODED_RUSTFLAGS", lists:join($\x1f, Rust)}, {"CFLAGS", lists:join($\s, C)}, {"CC_SHELL_ESCAPED_FLAGS", "1"}],
    How = #{target => Target, target_dir => filename:join([Here, "target", "dist"]),
            env => [{Name, lists:flatten(Value)} || {Name, Value} <- Env]},
    [{Package, sockeye_build:read(Path)} || {Package, Path} <- sockeye_build_cargo:build(Packages, How)].

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
