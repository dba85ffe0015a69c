%% Servers and clients of api_world: how they are started, and what comes to clients.
-module(api_clients).

-export([patience/0]).
-export([start/1]).
-export([own/1]).
-export([connect/3]).
-export([arrive/3]).
-export([adopted_by_none/2]).
-export([dial/3]).
-export([stream/3]).
-export([holders/0]).
-export([take/2]).
-export([over/3]).
-export([nothing_more/1]).

-define(PATIENCE, {api_world, patience}).

%% How long what must come may take, in milliseconds.
patience() ->
    persistent_term:get(?PATIENCE, 10000).

%% ---------------------------------------------------------------- servers and clients

start(Kind) ->
    Self = self(),
    Options = (options(Kind))#{port => 0, http2 => cleartext, close_timeout => 2000, ping_interval => infinity, idle_timeout => infinity},
    Holder = spawn(fun() ->
        process_flag(trap_exit, true),
        put(?MODULE, holder),
        {ok, Pid} = sockeye:start_link(Options),
        Self ! {self(), Pid},
        own(Pid)
    end),
    Pid = receive {Holder, Started} -> Started after patience() -> error(not_started) end,
    #{pid => Pid, holder => Holder, kind => Kind, port => test_support:port(Pid)}.

options(owner) -> #{active => true};
options(one) -> #{handler => {bare_handler, []}};
options(pool) -> (options(one))#{processes => 3};
options(each) -> (options(one))#{processes => per_connection};
options(asking) -> (options(one))#{accept => fun(_) -> {accept, #{}} end, scope => cluster, name => free_name([api_1, api_2, api_3, api_4])};
%% api_effects knows these bounds. What is refused is not seen by the handler.
options(narrow) ->
    (options(one))#{max_connections => 2, max_subscriptions => 2, max_message_size => 2000, max_fragments => 2, send_queue_size => 1000,
                    send_timeout => infinity};
options(web) -> (options(one))#{http => api_answers:functions(), accept_timeout => 500};
%% Of each address two.
options(few) -> (options(one))#{max_connections_per_address => 2};
options(tls) -> (options(one))#{tls => test_certs:localhost()}.

free_name([Name | Names]) ->
    case whereis(Name) of
        undefined -> Name;
        _ -> free_name(Names)
    end.

%% An owner answers as bare_handler does, until its server has ended.
own(Server) ->
    receive
        {sockeye, Conn, {json, <<"who">>}} ->
            _ = sockeye:send(Conn, {binary, term_to_binary({self(), Conn})}),
            own(Server);
        {sockeye, Conn, {json, Term}} ->
            _ = sockeye:send(Conn, {json, Term}),
            own(Server);
        {sockeye, _, {closed, _, _}} when Server =:= none -> ok;
        {'EXIT', Server, _} -> ok;
        _ -> own(Server)
    end.

%% At the server's own port, or at that of another server, of a kind of `front', which hands the socket over; from 127.0.0.Address. What
%% has just ended may still count for a bound.
connect(#{kind := Kind} = Server, Way, Address) ->
    Self = self(),
    Bounded = lists:member(Kind, [narrow, few]),
    true = hostile_client:until(fun() ->
        case arrive(Server, Way, Address) of
            {101, Socket} -> Self ! {upgraded, Socket}, true;
            {Status, Socket} -> ws_client:drop(Socket), Bounded orelse error({status, Status}), {status, Status}
        end
    end, patience()),
    Socket = receive {upgraded, Upgraded} -> Upgraded end,
    ok = ws_client:text(Socket, <<"\"who\"">>),
    {binary, Who} = ws_client:recv(Socket, patience()),
    {binary_to_term(Who), Socket}.

%% Which status was answered, and the socket.
arrive(#{port := Port, kind := Kind}, listener, Address) ->
    Options = case Kind of tls -> #{tls => [{verify, verify_none}]}; _ -> #{} end,
    handshake(Port, Options, Address);
arrive(#{pid := Pid}, Way, Address) ->
    Front = handover_server:start(Way, Pid),
    try
        Arrived = handshake(handover_server:port(Front), #{}, Address),
        {ok, _} = handover_server:adopted(),
        Arrived
    after handover_server:stop(Front)
    end.

handshake(Port, Options, Address) ->
    {ok, Status, _, Socket} = ws_client:handshake(Port, Options#{socket => [{ip, {127, 0, 0, Address}}]}),
    {Status, Socket}.

%% The server has ended: the socket is still that of who has it.
adopted_by_none(#{pid := Pid}, Way) ->
    Front = handover_server:start(Way, Pid),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, handover_server:port(Front), [binary, {active, false}]),
    ok = gen_tcp:send(Client, "GET / HTTP/1.1\r\n\r\n"),
    {Result, Socket} = handover_server:adopted(),
    Send = case Way of socket -> fun socket:send/2; _ -> fun gen_tcp:send/2 end,
    Sent = Result =/= ok andalso {Send(Socket, <<"ours">>), gen_tcp:recv(Client, 4, patience())},
    ok = handover_server:stop(Front),
    _ = Result =/= ok andalso case Way of socket -> socket:close(Socket); _ -> gen_tcp:close(Socket) end,
    ok = gen_tcp:close(Client),
    {Result, Sent}.

%% On the socket of another stream, where there is one.
stream(C, Server, Carrier) ->
    Stream = api_streams:open(C, Server, Carrier),
    receive
        {C, {binary, Who}} -> {binary_to_term(Who), Stream};
        {C, Other} -> error({C, Other})
    after patience() -> error(no_answer)
    end.

dial(C, #{port := Port} = Server, By) ->
    Self = self(),
    {Scheme, Tls} = case Server of
                        #{kind := tls} -> {"wss", #{tls => #{verify => verify_none}}};
                        #{} -> {"ws", #{}}
                    end,
    Options = Tls#{active => true, ping_interval => infinity, idle_timeout => infinity},
    Tell = fun(Event) -> Self ! {C, Event} end,
    Holder = spawn(fun() ->
        process_flag(trap_exit, true),
        put(?MODULE, holder),
        Handler = case By of
                      plain -> self();
                      handler -> {fun_handler, #{frame => fun(Frame, _, S) -> Tell(Frame), {[], S} end,
                                                 close => fun(_, Code, _, S) -> Tell({closed, Code}), {[], S} end}}
                  end,
        {ok, Client} = sockeye_client:start_link(Scheme ++ "://127.0.0.1:" ++ integer_to_list(Port), Handler, Options),
        ok = sockeye_client:send(Client, {text, <<"\"who\"">>}),
        Self ! {self(), Client},
        hold(Client, Tell)
    end),
    receive {Holder, Client} -> {Holder, Client} after patience() -> error(not_connected) end.

hold(Client, Tell) ->
    receive
        {sockeye, _, {closed, Code, _}} -> Tell({closed, Code}), hold(Client, Tell);
        {sockeye, _, {open, _}} -> hold(Client, Tell);
        {sockeye, _, Event} -> Tell(Event), hold(Client, Tell);
        {'EXIT', Client, _} -> ok;
        _ -> hold(Client, Tell)
    end.

%% Processes that hold servers and clients.
holders() ->
    [Pid || Pid <- processes(), {dictionary, Dictionary} <- [process_info(Pid, dictionary)], lists:member({?MODULE, holder}, Dictionary)].

%% ---------------------------------------------------------------- what comes to clients

%% The next frame, as api_effects names it.
take(C, World) ->
    case found(C, World) of
        #{socket := Socket} ->
            case sockeye_test_client:recv(Socket, patience()) of
                {ok, {text, Text}} when byte_size(Text) =:= 600 -> {large, number(Text)};
                {ok, {text, Text}} -> number(Text);
                {ok, {pong, Data}} -> {pong, number(Data)};
                {ok, {frame, #{fin := Fin, rsv := 0, opcode := Opcode, payload := Data}}} -> {piece, Fin =:= 1, Opcode, number(Data)};
                Other -> Other
            end;
        #{} ->
            receive
                {C, {json, N}} -> N;
                {C, {binary, Data}} -> {binary, number(Data)};
                {C, Event} -> Event
            after patience() -> timeout
            end
    end.

number(Text) -> binary_to_integer(string:trim(Text)).

%% The connection ends with one of these codes, and nothing comes before.
over(C, Codes, World) ->
    case found(C, World) of
        #{socket := Socket} ->
            Code = case ws_client:recv(Socket, patience()) of
                       {close, Number, _} ->
                           _ = ws_client:close(Socket, 1000, <<>>),
                           closed = ws_client:recv(Socket, patience()),
                           Number;
                       Other ->
                           Other
                   end,
            _ = ws_client:drop(Socket),
            is_one_of(C, Code, Codes);
        #{stream := _} ->
            receive
                {C, {closed, Code}} -> is_one_of(C, Code, Codes);
                {C, Event} -> error({C, Event})
            after patience() -> error({stream_lives, C})
            end;
        #{client := Client, holder := Holder} ->
            [begin
                 Monitor = monitor(process, Pid),
                 receive {'DOWN', Monitor, process, _, _} -> ok after patience() -> error({client_lives, C}) end
             end || Pid <- [Client, Holder]],
            %% One that was killed has told nothing.
            receive
                {C, {closed, 1006}} -> is_one_of(C, closed, Codes);
                {C, {closed, Code}} -> is_one_of(C, Code, Codes);
                {C, Event} -> error({C, Event})
            after 0 -> ok
            end
    end.

is_one_of(C, Code, Codes) ->
    lists:member(Code, Codes) orelse error({C, Code, not_one_of, Codes}),
    ok.

%% Nobody has got anything that the model knows nothing of.
nothing_more(#{conns := Conns}) ->
    [case ws_client:recv(Socket, 0) of
         timeout -> ok;
         closed -> ok;
         More -> error({C, More})
     end || {C, #{socket := Socket}} <- maps:to_list(Conns), is_port(Socket), erlang:port_info(Socket) =/= undefined],
    receive
        {sockeye_pubsub, _, _} = More -> error(More);
        {C, {json, N}} -> error({C, N})
    after 0 -> ok
    end.

found(C, #{conns := Conns}) -> maps:get(C, Conns).
