%% @doc Runs a module that was written for Elixir's behaviour `WebSock', as Phoenix and Plug have it, unchanged.
%%
%% ```
%% -module(counter).
%% -export([init/1, handle_in/2, handle_info/2, terminate/2]).
%%
%% init(First) -> {ok, First}.
%% handle_in({_Text, [{opcode, text}]}, N) -> {push, {text, integer_to_binary(N)}, N + 1}.
%% handle_info(_Message, N) -> {ok, N}.
%% terminate(_Reason, _N) -> ok.
%% '''
%% Give it as the handler of a server, in Elixir as `handler: {:sockeye_websock, {Counter, 1}}':
%% ```
%% 1> {ok, Counter} = sockeye:start_link(#{port => 8080, handler => {sockeye_websock, {counter, 1}}}).
%% {ok,<0.105.0>}
%% 2> {ok, Client} = sockeye_client:connect("ws://127.0.0.1:8080/", #{format => raw}).
%% {ok,{sockeye_conn,536870913}}
%% 3> sockeye_client:send(Client, {text, <<"next">>}).
%% ok
%% 4> sockeye_client:recv(Client).
%% {ok,{text,<<"1">>}}
%% '''
%% Each connection has a process, and text comes as it is: `processes' is `per_connection' and `format' `raw', and no others may be
%% given. `control_frames' is `true' by default where the module has `handle_control/2'. No dependency on WebSock is needed. It is for
%% a server, not for a client.
%%
%% The argument of `init/1' is that of the handler, or what `accept' has kept as `state' for this connection: see the option `accept' and
%% {@link sockeye_handler:decision()}. `init/1' is called when the connection is open, and may push at once.
%%
%% All that a callback of WebSock may return is understood: `{ok, State}', `{push, Messages, State}', `{reply, Term, Messages, State}',
%% `{stop, Reason, State}', `{stop, Reason, CloseDetail, State}', `{stop, Reason, CloseDetail, Messages, State}', where `Messages' is one
%% or a list of `{text | binary | ping | pong, IoData | nil}', and `CloseDetail' a code or `{Code, Text | nil}'. Anything else is a crash.
%% Without a code, `normal' closes with 1000, `{shutdown, restart}' with 1012, and another reason with 1011. A code that RFC 6455 does not
%% allow becomes 1011, a text that it does not allow is left out. Nothing is called between a stop and `terminate/2'.
%%
%% `terminate/2' is called, once, when the connection has ended: with `normal' after a stop for this reason or a restart; `{error, Reason}'
%% after another stop, a crash, or the end of the transport without a Close frame (`closed'); `timeout' after `idle_timeout' or
%% `pong_timeout'; `shutdown' when the server stops, or drains; and `remote' when the connection was closed otherwise.
%% {@link gen_server:call/2} to the process comes to `handle_info/2' as the message that it is.
-module(sockeye_websock).
-behaviour(sockeye_handler).

-export([init/1]).
-export([handle_open/3]).
-export([handle_frame/3]).
-export([handle_close/4]).
-export([handle_call/3]).
-export([handle_info/2]).
-export([terminate/2]).
-export([options/1]).
-export([stopping/1]).
-export([own_state/1]).

-record(websock,
        {module :: module(),
         conn :: sockeye:conn(),
         state :: term(),
         has_control :: boolean(),
         %% Why it ends, once that is known, and whether the server does.
         why = open :: open | {stops, close_reason()} | {ended, close_reason()},
         stopping = false :: boolean()}).

-define(STOPPING, '$sockeye_websock_stopping').

-type close_reason() :: normal | remote | shutdown | timeout | {error, term()}.

%% @private Options of a server for such a module; those for which another value is wrong come first.
-spec options(module()) -> {Fixed :: map(), Defaults :: map()}.
options(Module) ->
    {#{processes => per_connection, format => raw},
     #{control_frames => erlang:function_exported(Module, handle_control, 2)}}.

%% @private The server of this process stops, and closes its connection.
-spec stopping(pid()) -> ok.
stopping(Pid) ->
    Pid ! ?STOPPING,
    ok.

%% @private The state of the module, where it is one.
-spec own_state(#websock{} | term()) -> term().
own_state(#websock{state = State}) -> State;
own_state(State) -> State.

%% @private
-spec init({module(), term()}) -> {ok, {module(), term()}}.
init({Module, Arg}) ->
    {ok, {Module, Arg}}.

%% @private
-spec handle_open(map(), sockeye:conn(), {module(), term()}) -> sockeye_handler:result().
handle_open(Info, Conn, {Module, Arg}) ->
    HasControl = erlang:function_exported(Module, handle_control, 2),
    First = #websock{module = Module, conn = Conn, state = undefined, has_control = HasControl},
    result(Module:init(maps:get(state, Info, Arg)), First).

%% @private
-spec handle_frame(sockeye_handler:in_frame(), sockeye:conn(), #websock{}) -> sockeye_handler:result().
handle_frame({Kind, Data}, _Conn, #websock{module = Module, state = State, why = open} = S) when Kind =:= text; Kind =:= binary ->
    result(Module:handle_in({Data, [{opcode, Kind}]}, State), S);
handle_frame({Kind, Data}, _Conn, #websock{module = Module, state = State, why = open, has_control = true} = S) ->
    result(Module:handle_control({Data, [{opcode, Kind}]}, State), S);
handle_frame(_Frame, _Conn, S) ->
    {[], S}.

%% @private
-spec handle_close(sockeye:close_code(), binary(), sockeye:conn(), #websock{}) -> sockeye_handler:result().
handle_close(_Code, _Reason, _Conn, #websock{why = {stops, Why}} = S) -> {[], S#websock{why = {ended, Why}}};
handle_close(_Code, _Reason, _Conn, #websock{stopping = true} = S) -> {[], S#websock{why = {ended, shutdown}}};
handle_close(Code, Reason, _Conn, S) -> {[], S#websock{why = {ended, closed(Code, Reason)}}}.

-spec closed(sockeye:close_code(), binary()) -> close_reason().
closed(1001, <<"idle timeout">>) -> timeout;
closed(1001, <<"ping timeout">>) -> timeout;
closed(1006, _Reason) -> {error, closed};
closed(_Code, _Reason) -> remote.

%% @private
-spec handle_call(term(), gen_server:from(), #websock{}) -> sockeye_handler:result().
handle_call(Request, From, S) ->
    handle_info({'$gen_call', From, Request}, S).

%% @private
-spec handle_info(term(), #websock{} | {module(), term()}) -> sockeye_handler:result().
handle_info({sockeye, Conn, passive}, #websock{conn = Conn} = S) -> {[], S};
handle_info(?STOPPING, #websock{} = S) -> {[], S#websock{stopping = true}};
handle_info(Message, #websock{module = Module, state = State, why = open} = S) -> result(Module:handle_info(Message, State), S);
handle_info(_Message, S) -> {[], S}.

%% @private
-spec terminate(term(), #websock{} | {module(), term()}) -> term().
terminate(Reason, #websock{module = Module, state = State, why = Why}) ->
    case erlang:function_exported(Module, terminate, 2) of
        true -> Module:terminate(ended(Why, Reason), State);
        false -> ok
    end;
terminate(_Reason, _NotOpen) ->
    ok.

-spec ended(open | {stops | ended, close_reason()}, term()) -> close_reason().
ended({_, Why}, _Reason) -> Why;
ended(open, normal) -> normal;
ended(open, shutdown) -> shutdown;
ended(open, {shutdown, _}) -> shutdown;
ended(open, Reason) -> {error, Reason}.

-spec result(term(), #websock{}) -> sockeye_handler:result().
result({ok, State}, S) ->
    {[], S#websock{state = State}};
result({push, Messages, State}, S) ->
    {push(Messages, S), S#websock{state = State}};
result({reply, _Term, Messages, State}, S) ->
    {push(Messages, S), S#websock{state = State}};
result({stop, Reason, State}, S) ->
    stop(Reason, code(Reason), [], State, S);
result({stop, Reason, Detail, State}, S) ->
    stop(Reason, Detail, [], State, S);
result({stop, Reason, Detail, Messages, State}, S) ->
    stop(Reason, Detail, Messages, State, S);
result(Other, _S) ->
    error({bad_return_value, Other}).

-spec stop(term(), term(), term(), term(), #websock{}) -> sockeye_handler:result().
stop(Reason, Detail, Messages, State, #websock{conn = Conn} = S) ->
    {Code, Text} = detail(Detail),
    Why = case Reason of
              normal -> normal;
              {shutdown, restart} -> normal;
              _ -> {error, Reason}
          end,
    {push(Messages, S) ++ [{close, Conn, Code, Text}], S#websock{state = State, why = {stops, Why}}}.

-spec code(term()) -> sockeye:close_code().
code(normal) -> 1000;
code({shutdown, restart}) -> 1012;
code(_Reason) -> 1011.

-spec push(term(), #websock{}) -> [sockeye_handler:command()].
push([], _S) -> [];
push(Messages, #websock{conn = Conn}) when is_list(Messages) -> [{send, Conn, [frame(Message) || Message <- Messages]}];
push(Message, #websock{conn = Conn}) -> [{send, Conn, frame(Message)}].

-spec frame(term()) -> sockeye:frame().
frame({Kind, nil}) when Kind =:= text; Kind =:= binary; Kind =:= ping; Kind =:= pong -> {Kind, <<>>};
frame({Kind, Data}) when Kind =:= text; Kind =:= binary; Kind =:= ping; Kind =:= pong -> {Kind, Data};
frame(Other) -> error({bad_message, Other}).

%% What a Close frame may have.
-spec detail(term()) -> {sockeye:close_code(), iodata()}.
detail({Code, nil}) -> detail(Code);
detail({Code, Text}) -> {allowed(close_code, Code, 1011), allowed(close_reason, Text, <<>>)};
detail(Code) -> detail({Code, <<>>}).

-spec allowed(sockeye_args:kind(), term(), term()) -> term().
allowed(Kind, Value, Else) ->
    case sockeye_args:wrong(Kind, Value) of
        none -> Value;
        _ -> Else
    end.
