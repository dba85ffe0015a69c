%% The sources of the native library and the executable: what cargo reads to build them, and nothing else.
-module(sockeye_build_sources).

-export([files/0, crates/0, digest/1]).

%% The rest of the workspace is for tests.
-spec crates() -> [string()].
crates() ->
    ["native/" ++ Crate || Crate <- ["protocol", "etf", "json", "engine", "seam", "nif", "port"]].

-spec files() -> [file:filename()].
files() ->
    ["Cargo.toml", "Cargo.lock", ".cargo/config.toml"] ++
        lists:sort([File || Crate <- crates(), Pattern <- ["Cargo.toml", "build.rs", "src/**/*.rs"],
                            File <- filelib:wildcard(filename:join(Crate, Pattern)), not is_test(File)]).

is_test(File) ->
    lists:suffix("_tests.rs", File).

%% Two trees with the same one have the same library, whatever their version says.
-spec digest(file:filename()) -> string().
digest(Root) ->
    sockeye_build:sha256([[File, 0, sockeye_build:sha256(sockeye_build:read(filename:join(Root, File))), $\n]
                          || File <- files()]).
