%% Takes a library or executable that was built before.
%%
%% native/prebuilt.config, which is checked in, names the files and what they are: `{sources, Digests}', the sources they were
%% built from (sockeye_build_sources), `{file, Name, Facts}' each, and, where there is one, `{url, Url}' of the folder
%% that has them. SOCKEYE_PREBUILT names another folder or URL. A file is taken if it was built from these sources
%% and for this system, and has the size and SHA-256 that are written there, whoever it came from.
-module(sockeye_build_prebuilt).

-export([place/0, take/3]).
-export([manifest/0, target/0, target/1, fits_nif/2, fits_glibc/2, version_of/1]).

-define(MANIFEST, "native/prebuilt.config").

-type place() :: {folder, file:filename()} | {url, string()}.
-type package() :: string().

-spec place() -> place() | none.
place() ->
    case sockeye_build:variable("SOCKEYE_PREBUILT") of
        none -> proplists:lookup(url, manifest());
        Named ->
            case string:find(Named, "://") of
                nomatch -> {folder, Named};
                _ -> {url, Named}
            end
    end.

-spec manifest() -> [tuple()].
manifest() ->
    case file:consult(?MANIFEST) of
        {ok, Terms} -> Terms;
        {error, Why} -> sockeye_build:say("cannot read " ?MANIFEST ": ~ts.", [file:format_error(Why)])
    end.

%% All of them. `There' is what is in a package's place already. What stands in the way is thrown as `{not_taken, Why}'.
-spec take([package()], place(), There :: fun((package()) -> binary())) -> [{package(), binary()}].
take(Packages, Place, There) ->
    code:ensure_loaded(crypto) =:= {module, crypto} orelse
        not_taken("no built file is taken: this Erlang has no crypto (Debian: apt-get install erlang-crypto)", []),
    Manifest = manifest(),
    is_of_these_sources(Manifest),
    Chosen = [{Package, chosen(Package, Manifest)} || Package <- Packages],
    [{Package, taken(File, Place, There(Package))} || {Package, File} <- Chosen].

taken({Name, Facts}, Place, There) ->
    case is_it(There, Facts) of
        true -> There;
        false -> checked(Name, fetched(Name, Facts, Place), Facts)
    end.

-spec not_taken(string(), [term()]) -> no_return().
not_taken(Format, Args) ->
    throw({not_taken, io_lib:format(Format, Args)}).

-spec not_taken(string(), string(), [term()]) -> no_return().
not_taken(Name, Format, Args) ->
    not_taken("the built file ~ts is not taken: " ++ Format, [Name | Args]).

%% ---------------------------------------------------------------- whether it fits

is_of_these_sources(Manifest) ->
    lists:member(sockeye_build_sources:digest("."), proplists:get_value(sources, Manifest, [])) orelse
        not_taken("no built file is taken: those in " ?MANIFEST " are of other Rust sources than these", []).

chosen(Package, Manifest) ->
    Target = target(),
    Files = [{Name, Facts} || {file, Name, #{package := P, target := T} = Facts} <- Manifest, P =:= Package, T =:= Target],
    case Files of
        [] ->
            not_taken("no built file is taken: " ?MANIFEST " has no ~ts for ~ts", [Package, Target]);
        [{Name, Facts} | _] ->
            nif_fits(Name, Facts),
            libc_fits(Name, Facts),
            {Name, Facts}
    end.

%% What cargo would build for, as rustc spells it.
-spec target() -> string().
target() ->
    case sockeye_build:variable("CARGO_BUILD_TARGET") of
        none -> target(erlang:system_info(system_architecture));
        Target -> Target
    end.

-spec target(string()) -> string().
target(Architecture) ->
    [Cpu | _] = string:split(Architecture, "-"),
    Kind = [Triple || {Part, Triple} <- [{"-linux-gnu", "unknown-linux-gnu"}, {"-linux-musl", "unknown-linux-musl"},
                                         {"-apple-darwin", "apple-darwin"}],
                      string:find(Architecture, Part) =/= nomatch],
    case {Cpu, Kind} of
        {"win32", _} -> "x86_64-pc-windows-msvc";
        {"arm64", [Triple]} -> "aarch64-" ++ Triple;
        {_, [Triple]} -> Cpu ++ "-" ++ Triple;
        _ -> Architecture
    end.

nif_fits(Name, #{nif := Nif}) ->
    Here = erlang:system_info(nif_version),
    fits_nif(Nif, Here) orelse
        not_taken(Name, "it needs NIF version ~ts, and Erlang here has ~ts", [Nif, Here]);
nif_fits(_, _) ->
    true.

%% The VM loads those of its major version that are not newer.
-spec fits_nif(string(), string()) -> boolean().
fits_nif(Nif, Here) ->
    {[Major, Minor], [HereMajor, HereMinor]} = {version_of(Nif), version_of(Here)},
    Major =:= HereMajor andalso Minor =< HereMinor.

libc_fits(Name, #{glibc := Needed}) ->
    case glibc() of
        none ->
            not_taken(Name, "it needs glibc ~ts, and getconf does not say which is here", [Needed]);
        Here ->
            fits_glibc(Needed, Here) orelse
                not_taken(Name, "it needs glibc ~ts, and here is ~ts", [Needed, Here])
    end;
libc_fits(_, _) ->
    true.

-spec fits_glibc(string(), string()) -> boolean().
fits_glibc(Needed, Here) ->
    version_of(Needed) =< version_of(Here).

glibc() ->
    case os:find_executable("getconf") of
        false ->
            none;
        Getconf ->
            case string:lexemes(sockeye_build:output(Getconf, ["GNU_LIBC_VERSION"]), " \n") of
                ["glibc", Version] -> Version;
                _ -> none
            end
    end.

-spec version_of(string()) -> [integer()].
version_of(Text) ->
    [list_to_integer(Part) || Part <- string:lexemes(Text, ".")].

%% ---------------------------------------------------------------- the file

fetched(Name, _, {folder, Folder}) ->
    Path = filename:join(Folder, Name),
    case file:read_file(Path) of
        {ok, Bytes} -> Bytes;
        {error, Why} -> not_taken(Name, "cannot read ~ts: ~ts", [Path, file:format_error(Why)])
    end;
fetched(Name, #{size := Size}, {url, Url}) ->
    case sockeye_build_fetch:get(string:trim(Url, trailing, "/") ++ "/" ++ Name, Size) of
        {ok, Bytes} -> Bytes;
        {error, Why} -> not_taken(Name, "~ts", [Why])
    end.

checked(Name, Bytes, Facts = #{sha256 := Wanted, size := Size}) ->
    case is_it(Bytes, Facts) of
        true -> Bytes;
        false when byte_size(Bytes) =/= Size ->
            not_taken(Name, "it has ~b bytes, and " ?MANIFEST " says ~b", [byte_size(Bytes), Size]);
        false ->
            not_taken(Name, "its SHA-256 is ~ts, and " ?MANIFEST " says ~ts", [sockeye_build:sha256(Bytes), Wanted])
    end.

is_it(Bytes, #{sha256 := Wanted, size := Size}) ->
    byte_size(Bytes) =:= Size andalso sockeye_build:sha256(Bytes) =:= Wanted.
