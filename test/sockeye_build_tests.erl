%% What a built file needs, and what is here. How a build takes files, test/install/prebuilt tries.
-module(sockeye_build_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

fits_test_() ->
    {setup, fun load/0, fun unload/1,
     [[?_assertEqual({Here, Fits}, {Here, sockeye_build_prebuilt:fits_nif("2.15", Here)})
       || {Here, Fits} <- [{"2.14", false}, {"2.15", true}, {"2.16", true}, {"2.100", true}, {"1.16", false}, {"3.15", false}]],
      [?_assertEqual({Here, Fits}, {Here, sockeye_build_prebuilt:fits_glibc("2.34", Here)})
       || {Here, Fits} <- [{"2.33", false}, {"2.34", true}, {"2.35", true}, {"2.4", false}, {"2.100", true}, {"2.33.9", false}, {"2.34.1", true},
                           {"1.99", false}, {"3.0", true}]],
      [?_assertEqual(Target, sockeye_build_prebuilt:target(Architecture))
       || {Architecture, Target} <- [{"x86_64-pc-linux-gnu", "x86_64-unknown-linux-gnu"},
                                     {"x86_64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"},
                                     {"x86_64-alpine-linux-musl", "x86_64-unknown-linux-musl"},
                                     {"x86_64-pc-linux-musl", "x86_64-unknown-linux-musl"},
                                     {"aarch64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"},
                                     {"aarch64-apple-darwin22.1.0", "aarch64-apple-darwin"},
                                     {"arm64-apple-darwin23.2.0", "aarch64-apple-darwin"},
                                     {"x86_64-apple-darwin19.6.0", "x86_64-apple-darwin"},
                                     {"win32", "x86_64-pc-windows-msvc"},
                                     %% No file is named for these.
                                     {"amd64-unknown-freebsd13.1", "amd64-unknown-freebsd13.1"}]],
      %% What is promised is what the guide says.
      fun() ->
          {match, [Most]} = re:run(text("native/build/sockeye_build_dist.erl"), "GLIBC_MOST, \"([0-9.]+)\"", [{capture, all_but_first, list}]),
          ?assertMatch({match, _}, re:run(text("erlang/guide/install.md"), ["glibc ", Most, " at most"]))
      end]}.

text(File) ->
    {ok, Text} = file:read_file(filename:join(test_support:root(), File)),
    Text.

%% They are no modules of the application: the build compiles them when it runs.
load() ->
    [begin
         {ok, Module, Code} = compile:file(filename:join([test_support:root(), "native/build", Module]), [binary, return_errors]),
         {module, Module} = code:load_binary(Module, "", Code),
         Module
     end || Module <- [sockeye_build, sockeye_build_prebuilt]].

unload(Modules) ->
    [{true, false} = {code:delete(Module), code:purge(Module)} || Module <- Modules].
