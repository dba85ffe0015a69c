%% @private
%% Finds the file of the native library, and raises an error where there is none.
-module(sockeye_library).

-export([candidates/0]).
-export([not_loaded/1]).

-spec candidates() -> [file:filename_all()].
candidates() ->
    case {os:getenv("SOCKEYE_NIF_PATH"), application:get_env(sockeye, nif_path)} of
        {Path, _} when is_list(Path), Path =/= "" -> [without_extension(Path)];
        {_, {ok, Path}} -> [without_extension(Path)];
        {_, undefined} -> lists:usort([filename:join(Dir, "sockeye_nif") || Dir <- priv_dirs()])
    end.

%% `erlang:load_nif/2' adds the extension itself.
-spec without_extension(file:filename_all()) -> file:filename_all().
without_extension(Path) ->
    case filename:extension(Path) of
        Ext when Ext =:= ".so"; Ext =:= ".dll"; Ext =:= <<".so">>; Ext =:= <<".dll">> ->
            filename:rootname(Path);
        _ ->
            Path
    end.

%% The application is not in the code path under that name everywhere (scripts
%% that use -pa), so the folder beside our own ebin is looked at too.
-spec priv_dirs() -> [file:filename_all()].
priv_dirs() ->
    Beside = case code:which(?MODULE) of
                 File when is_list(File) ->
                     [filename:join(filename:dirname(filename:dirname(File)), "priv")];
                 _ ->
                     []
             end,
    case code:priv_dir(sockeye) of
        {error, bad_name} -> Beside;
        Dir -> [Dir | Beside]
    end.

%% What a call raises then.
-spec not_loaded([term()]) -> term().
not_loaded(Errors) ->
    %% It has refused to serve these modules, or lacks a function.
    IsAnother = lists:keymember(load, 2, Errors) orelse lists:keymember(missing, 1, Errors),
    {sockeye_nif, Errors,
     case IsAnother of
         true -> "The native library of sockeye is of another version than its Erlang modules: build it again with `rebar3 compile' "
                 "(needs cargo), or name one of this version in SOCKEYE_NIF_PATH.";
         false -> "The native library of sockeye is not loaded: build it with `rebar3 compile' "
                  "(needs cargo), or name a built one in SOCKEYE_NIF_PATH."
     end}.
