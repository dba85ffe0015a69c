%% What observers show of processes without a name, where OTP has labels; in older releases they have none.
-module(sockeye_label_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_handler/3]).

-define(TIMEOUT, 60000).

has_labels() -> erlang:function_exported(proc_lib, set_label, 1).

label(Pid) ->
    case {has_labels(), process_info(Pid, dictionary)} of
        {true, _} -> apply(proc_lib, function(get), [Pid]);
        {false, {dictionary, Words}} -> proplists:get_value('$process_label', Words, none);
        %% It has ended.
        {false, undefined} -> none
    end.

%% The expected one, or none.
is_labelled(Expected, Pid) ->
    ?assertEqual(case has_labels() of true -> Expected; false -> none end, label(Pid)).

handler(Self) ->
    #{init => fun() -> {ok, none} end,
      open => fun(Conn, _, S) -> Self ! {open, self(), Conn}, {[], S} end}.

a_process_per_connection_test() ->
    with_handler(handler(self()), #{processes => per_connection, accept => fun(_) -> {accept, #{}} end}, fun(Port, Server) ->
        {ok, Client} = sockeye_client:connect("ws://ann:secret@127.0.0.1:" ++ integer_to_list(Port) ++ "/x?token=secret"),
        receive {open, Handler, Conn} ->
            is_labelled({sockeye_handler, fun_handler, Conn}, Handler),
            is_labelled({sockeye_server, Port}, Server),
            %% Nothing of a URL that may be secret.
            [?assertEqual({Pid, nomatch}, {Pid, string:find(io_lib:format("~p", [label(Pid)]), "secret")})
             || Pid <- processes()],
            ok = sockeye_client:close(Client)
        after ?TIMEOUT -> error(not_open)
        end
    end).

one_process_test() ->
    with_handler(handler(self()), #{name => label_chat}, fun(Port, Server) ->
        {ok, _} = sockeye_client:connect("ws://127.0.0.1:" ++ integer_to_list(Port)),
        receive {open, Handler, _} -> is_labelled({sockeye_handler, fun_handler, {Server, 0}}, Handler) after ?TIMEOUT -> error(not_open) end,
        is_labelled({sockeye_server, label_chat}, Server)
    end).

a_client_test() ->
    with_handler(handler(self()), #{}, fun(Port, _) ->
        Url = "ws://127.0.0.1:" ++ integer_to_list(Port) ++ "/x",
        {ok, Client} = sockeye_client:start_link(Url, {fun_handler, (handler(self()))#{init => fun() -> {ok, none} end}}, #{}),
        is_labelled({sockeye_client, list_to_binary(Url)}, Client),
        ok = sockeye_client:stop(Client)
    end).

%% That of a handler stays.
its_own_test() ->
    Self = self(),
    Funs = (handler(Self))#{init => fun() -> _ = has_labels() andalso apply(proc_lib, function(set), [mine]), {ok, none} end},
    with_handler(Funs, #{}, fun(Port, _) ->
        {ok, _} = sockeye_client:connect("ws://127.0.0.1:" ++ integer_to_list(Port)),
        receive {open, Handler, _} -> is_labelled(mine, Handler) after ?TIMEOUT -> error(not_open) end
    end).

%% Older releases have none to be checked against.
function(Verb) -> list_to_atom(atom_to_list(Verb) ++ "_label").
