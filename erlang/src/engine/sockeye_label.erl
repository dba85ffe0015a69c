%% @private
%% What observers and crash reports show beside the pid of a process that has no name, where OTP knows labels (27 and later).
-module(sockeye_label).

-export([set/1]).

%% Of the calling process. Older releases have nothing that would show it.
-spec set(term()) -> ok.
set(Label) ->
    case erlang:function_exported(proc_lib, set_label, 1) of
        true -> call(proc_lib, set_label, Label);
        false -> ok
    end.

%% Not by its name: in older releases xref and dialyzer would find no such function.
-spec call(module(), atom(), term()) -> ok.
call(Module, Function, Label) ->
    Module:Function(Label).
