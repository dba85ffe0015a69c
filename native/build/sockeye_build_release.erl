%% Whether a tree can be released: what has to agree, agrees. Says all that does not, and changes nothing.
-module(sockeye_build_release).

-export([check/0]).

-import(sockeye_build, [read/1, version/0]).

%% What does not agree, a sentence each.
-spec check() -> [unicode:chardata()].
check() ->
    Version = version(),
    Manifest = sockeye_build_prebuilt:manifest(),
    [Said || {false, Said} <- versions(Version) ++ changelog(Version) ++ git(Version) ++ manifest(Version, Manifest)].

%% mix.exs takes the version from the .app.src, and `make dist' wants a Cargo.lock that is right.
versions(Version) ->
    [{is_plain(Version), ["the version in erlang/sockeye.app.src is ", Version, ", and should be MAJOR.MINOR.PATCH"]} |
     [{has(File, [Before, quoted(Version), After]), [File, " has another version than ", Version, ", that of erlang/sockeye.app.src"]}
      || {File, Before, After} <- [{"Cargo.toml", "^version = \"", "\"$"},
                                   {"README.md", "^Version ", "\\. "}]]].

quoted(Version) ->
    re:replace(Version, "\\.", "\\\\.", [global]).

changelog(Version) ->
    [{has("CHANGELOG.md", ["^## \\[", quoted(Version), "\\] - \\d{4}-\\d{2}-\\d{2}$"]),
      ["CHANGELOG.md has no heading: ## [", Version, "] - YEAR-MONTH-DAY"]},
     {not has("CHANGELOG.md", "^## \\[Unreleased\\]\\s+(?!## )\\S"),
      "CHANGELOG.md has lines below [Unreleased]"}].

%% The tag is what publishing begins with: it is not there, or on this commit.
git(Version) ->
    Tag = "v" ++ Version,
    Head = git_says(["rev-parse", "HEAD"]),
    [{git_says(["status", "--porcelain"]) =:= "", "the tree has changes that are not committed"},
     {lists:member(git_says(["rev-parse", "--quiet", "--verify", Tag ++ "^{commit}"]), ["", Head]),
      ["the tag ", Tag, " is on another commit"]}].

git_says(Args) ->
    case os:find_executable("git") of
        false -> sockeye_build:say("git is needed, and there is none here.", []);
        Git -> string:trim(sockeye_build:output(Git, Args))
    end.

manifest(Version, Manifest) ->
    File = "native/prebuilt.config",
    [{proplists:get_value(version, Manifest) =:= Version, [File, " is not of version ", Version, ": run make dist"]},
     {proplists:is_defined(url, Manifest), [File, " has no {url, Url} of the folder where the built files will be"]},
     {lists:member(sockeye_build_sources:digest("."), proplists:get_value(sources, Manifest, [])),
      [File, " is of other Rust sources than these: run make dist"]}] ++
        [{lists:any(fun({file, _, #{package := P, target := T}}) -> P =:= Package andalso T =:= Target; (_) -> false end, Manifest),
          [File, " has no ", Package, " for ", Target]}
         || Package <- ["sockeye-nif", "sockeye-port"], Target <- ["x86_64-unknown-linux-gnu"]].

is_plain(Version) ->
    re:run(Version, "^\\d+\\.\\d+\\.\\d+$", [{capture, none}]) =:= match.

has(File, Pattern) ->
    re:run(read(File), Pattern, [multiline, {capture, none}]) =:= match.
