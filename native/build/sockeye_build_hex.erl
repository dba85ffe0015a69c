%% The package for hex.pm: a folder with what a build needs, and a tarball of it.
-module(sockeye_build_hex).

-export([stage/1, tarball/2, files/0]).

%% ---------------------------------------------------------------- the folder

%% What cargo's workspace has beside these crates is for tests, and is no more part of it here.
-spec stage(file:filename()) -> ok.
stage(Folder) ->
    _ = file:del_dir_r(Folder),
    lists:foreach(fun(File) -> sockeye_build:write(filename:join(Folder, File), shipped(File), 8#644) end, files()),
    prune(Folder),
    ok.

-spec files() -> [file:filename()].
files() ->
    lists:sort(sockeye_build_sources:files() ++
                   ["native/build/sockeye_build" ++ Part ++ ".erl" || Part <- ["", "_cargo", "_fetch", "_prebuilt", "_sources"]] ++
                   [File || Pattern <- ["erlang/src/**/*.{erl,hrl}", "erlang/elixir/**/*.ex"], File <- filelib:wildcard(Pattern)] ++
                   ["native/build_nif.escript", "native/prebuilt.config", "erlang/doc_chunks.escript", "erlang/sockeye.app.src",
                    "docs/monitoring/alerts.yml", "docs/monitoring/grafana.json",
                    "rebar.config", "mix.exs", "README.md", "CHANGELOG.md", "LICENSE"]).

shipped("Cargo.toml" = File) ->
    Members = lists:join(", ", [["\"", Crate, "\""] || Crate <- sockeye_build_sources:crates()]),
    re:replace(sockeye_build:read(File), "^members = .*$", ["members = [", Members, "]"], [multiline]);
shipped(File) ->
    sockeye_build:read(File).

%% cargo wants no package in its lock that it does not need. The others keep their versions.
prune(Folder) ->
    Cargo = sockeye_build_cargo:cargo(),
    Update = fun(More) -> sockeye_build:output(Cargo, ["update", "--workspace", "--quiet" | More], [{cd, Folder}]) end,
    lists:any(fun(More) -> element(1, Update(More)) =:= 0 end, [["--offline"], []]) orelse
        sockeye_build:say("cargo could not take what is for tests only out of Cargo.lock.", []),
    lines(filename:join(Folder, "Cargo.lock")) -- lines("Cargo.lock") =:= [] orelse
        sockeye_build:say("Cargo.lock is not the one of these crates: run cargo update --workspace.", []).

lines(File) ->
    string:split(sockeye_build:read(File), "\n", all).

%% ---------------------------------------------------------------- the tarball

%% The third version of hex.pm's format. The same files make the same bytes.
-spec tarball(Folder :: file:filename(), Tarball :: file:filename()) -> ok.
tarball(Folder, Tarball) ->
    Version = <<"3">>,
    Metadata = iolist_to_binary([io_lib:format("~tp.~n", [Fact]) || Fact <- metadata()]),
    Contents = zlib:gzip(tar(Folder, [{File, sockeye_build:read(filename:join(Folder, File))} || File <- files()])),
    Checksum = string:uppercase(sockeye_build:sha256([Version, Metadata, Contents])),
    Outer = [{"VERSION", Version}, {"CHECKSUM", list_to_binary(Checksum)},
             {"metadata.config", Metadata}, {"contents.tar.gz", Contents}],
    sockeye_build:write(Tarball, tar(Folder, Outer), 8#644).

metadata() ->
    {ok, [{application, sockeye, Keys}]} = file:consult("erlang/sockeye.app.src"),
    Text = fun(Key) -> unicode:characters_to_binary(proplists:get_value(Key, Keys)) end,
    [{<<"app">>, <<"sockeye">>},
     {<<"name">>, <<"sockeye">>},
     {<<"version">>, Text(vsn)},
     {<<"description">>, Text(description)},
     {<<"licenses">>, [list_to_binary(License) || License <- proplists:get_value(licenses, Keys)]},
     {<<"links">>, [{list_to_binary(Name), list_to_binary(Link)} || {Name, Link} <- proplists:get_value(links, Keys)]},
     {<<"files">>, [list_to_binary(File) || File <- files()]},
     {<<"requirements">>, []},
     {<<"build_tools">>, [<<"rebar3">>, <<"mix">>]},
     {<<"elixir">>, <<"~> 1.14">>}].

tar(Beside, Files) ->
    Temporary = Beside ++ "." ++ os:getpid() ++ ".new",
    {ok, Tar} = erl_tar:open(Temporary, [write]),
    [ok = added(Tar, File) || File <- Files],
    ok = erl_tar:close(Tar),
    Bytes = sockeye_build:read(Temporary),
    ok = file:delete(Temporary),
    Bytes.

%% mix takes a source of 1970 for one that is not there.
-define(YEAR_2000, 946684800).

added(Tar, {Name, Bytes}) ->
    erl_tar:add(Tar, Bytes, Name, [{atime, ?YEAR_2000}, {mtime, ?YEAR_2000}, {ctime, ?YEAR_2000}, {uid, 0}, {gid, 0}]).
