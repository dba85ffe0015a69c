%% A handler with the callbacks of a gen_server. Its state is a map with `seen', what it was called with.
-module(otp_handler).
-behaviour(sockeye_handler).

-export([init/1, handle_open/3, handle_frame/3, handle_call/3, handle_cast/2, handle_info/2, code_change/3]).

%% Tells the test which process this is.
init(Test) ->
    Test ! {handler, self()},
    {ok, #{test => Test, seen => []}}.

handle_open(_Info, Conn, State) ->
    {[], State#{conn => Conn}}.

handle_frame({json, <<"state">>}, _Conn, #{seen := Seen} = State) ->
    {[{reply, {json, length(Seen)}}], State};
handle_frame({json, Term}, _Conn, State) ->
    {[{reply, {json, Term}}], seen({frame, Term}, State)}.

handle_call(seen, _From, #{seen := Seen} = State) -> {reply, lists:reverse(Seen), [], State};
handle_call({tell, Term}, _From, #{conn := Conn} = State) -> {reply, told, [{send, Conn, {json, Term}}], seen({call, Term}, State)};
handle_call(rest, _From, State) -> {reply, rests, [], State, hibernate};
handle_call({wait, Term}, From, State) -> self() ! {answer, From, Term}, {[], State};
handle_call({wrong, Commands}, _From, State) -> {reply, ok, Commands, State};
handle_call({thrown, Term}, _From, State) -> throw({reply, Term, [], State});
handle_call({stop, Reason}, From, State) -> gen_server:reply(From, stopping), {stop, Reason, State};
handle_call({return, Value}, _From, _State) -> Value.

handle_cast({tell, Term}, #{conn := Conn} = State) -> {[{send, Conn, {json, Term}}], seen({cast, Term}, State)};
handle_cast(Message, State) -> {[], seen({cast, Message}, State)}.

handle_info({answer, From, Term}, State) -> gen_server:reply(From, Term), {[], State};
handle_info(Message, State) -> {[], seen({info, Message}, State)}.

code_change(_OldVsn, _State, refuse) -> {error, refused};
code_change(OldVsn, State, Extra) -> {ok, seen({code_change, OldVsn, Extra}, State)}.

seen(What, #{seen := Seen} = State) ->
    State#{seen := [What | Seen]}.
