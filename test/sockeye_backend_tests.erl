%% The one place through which everything calls the engine.
-module(sockeye_backend_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% What calls the library itself would call nothing where the engine is a process of its own.
nobody_else_calls_the_library_test() ->
    ?assertEqual([], [{M, F} || M <- modules() -- [sockeye_nif, sockeye_backend, sockeye_pure], {sockeye_nif, F, _} <- imports(M)]).

%% The same for what is there for a process of its own: only what is its counterpart in the VM.
few_call_the_port_test() ->
    Own = [sockeye_backend, sockeye_pure, sockeye_port, sockeye_port_batch, sockeye_port_delivery, sockeye_port_flow, sockeye_port_grants, sockeye_port_pieces,
           sockeye_port_descriptors, sockeye_port_gc, sockeye_link, sockeye_link_writer, sockeye_port_restore, sockeye_port_call],
    ?assertEqual([sockeye_descriptors, sockeye_server, sockeye_worker],
                 lists:usort([M || M <- modules() -- Own, {Called, _, _} <- imports(M), lists:member(Called, Own -- [sockeye_backend, sockeye_pure])])).

imports(Module) ->
    {ok, {Module, [{imports, Imports}]}} = beam_lib:chunks(code:which(Module), [imports]),
    Imports.

modules() ->
    _ = application:load(sockeye),
    {ok, Modules} = application:get_key(sockeye, modules),
    Modules.

%% A call that one of them does not have would fail only there.
each_has_all_functions_test_() ->
    [{atom_to_list(Module),
      fun() ->
              {module, Module} = code:ensure_loaded(Module),
              ?assertEqual([], [{F, A} || Behaviour <- [sockeye_backend, sockeye_pure], {F, A} <- Behaviour:behaviour_info(callbacks),
                                          not erlang:function_exported(Module, F, A)])
      end} || Module <- [sockeye_nif, sockeye_port]].

%% One that the VM does not know would be taken for nonsense.
atoms_of_the_engine_test() ->
    {ok, Source} = file:read_file(filename:join(test_support:root(), "native/seam/src/atoms.rs")),
    {match, [List]} = re:run(Source, "^atoms! \\{(.*?)^\\}", [multiline, dotall, {capture, all_but_first, binary}]),
    {match, Found} = re:run(List, "(\\w+)(?: = \"([^\"]+)\")?", [global, {capture, all_but_first, binary}]),
    Names = [lists:last(Name) || Name <- Found],
    ?assert(length(Names) > 100),
    ?assertEqual(lists:sort(Names), lists:sort([atom_to_binary(Atom) || Atom <- sockeye_wire:atoms()])).
