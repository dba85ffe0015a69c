%% A fault in a module of ours while a test runs: calls of one of its functions, of its own too, go to a fun, which gets the
%% function as it was and the arguments.
-module(planted).

-export([with/5]).
-export([plant/4]).
-export([take_out/1]).

with(Module, Function, Arity, Fault, Test) ->
    try
        ok = plant(Module, Function, Arity, Fault),
        Test()
    after
        take_out(Module)
    end.

plant(Module, Function, Arity, Fault) ->
    {Module, Beam, File} = code:get_object_code(Module),
    {ok, {Module, [{abstract_code, {raw_abstract_v1, Forms}}]}} = beam_lib:chunks(Beam, [abstract_code]),
    {ok, Module, Changed} = compile:forms(lists:append([changed(Form, Module, Function, Arity) || Form <- Forms]), [nowarn_unused_function]),
    ok = persistent_term:put({?MODULE, Module}, Fault),
    load(Module, File, Changed),
    ok.

take_out(Module) ->
    {Module, Beam, File} = code:get_object_code(Module),
    load(Module, File, Beam),
    persistent_term:erase({?MODULE, Module}),
    ok.

load(Module, File, Beam) ->
    _ = code:purge(Module),
    {module, Module} = code:load_binary(Module, File, Beam),
    %% Nobody goes on in the other code.
    _ = code:purge(Module).

changed({function, Line, Function, Arity, Clauses}, Module, Function, Arity) ->
    Args = lists:join($,, ["A" ++ integer_to_list(N) || N <- lists:seq(1, Arity)]),
    Text = io_lib:format("~p(~s) -> (persistent_term:get({~p, ~p}))(fun 'as it was'/~b, [~s]).", [Function, Args, ?MODULE, Module, Arity, Args]),
    {ok, Tokens, _} = erl_scan:string(lists:flatten(Text)),
    {ok, Form} = erl_parse:parse_form(Tokens),
    [Form, {function, Line, 'as it was', Arity, Clauses}];
changed({attribute, _, spec, {{Function, Arity}, _}}, _Module, Function, Arity) ->
    [];
changed(Form, _Module, _Function, _Arity) ->
    [Form].
