%% @doc The callbacks of a connection handler.
%%
%% A module with these callbacks serves a server whose option `handler' is
%% `{Module, Arg}'. How many processes run it is the option `processes':
%%
%% <ul>
%% <li>`one' (default): a single process serves every connection and can
%%     keep what they share in its state;</li>
%% <li>`N': a pool; a connection stays with one process of it, so its frames
%%     keep their order;</li>
%% <li>`per_connection': each connection has a process, which ends after
%%     `handle_close/4'.</li>
%% </ul>
%%
%% When a handler process dies, its connections are closed with code 1011, and
%% only those. In the first two modes it is started again with `init/1'.
%%
%% A crash is reported once, with the callback, the connection, its peer, the frame
%% (1 KB of it) and the state (4 KB). Links and monitors see the reason that a `gen_server'
%% would have: `{Reason, Stack}' for an error, `Reason' for an exit.
%%
%% ```
%% -module(hello_handler).
%% -behaviour(sockeye_handler).
%% -export([init/1, handle_frame/3]).
%%
%% init(Greeting) ->
%%     {ok, Greeting}.
%%
%% handle_frame({json, #{<<"name">> := Name}}, _Conn, Greeting) ->
%%     {[{reply, #{greeting => <<Greeting/binary, ", ", Name/binary>>}}], Greeting};
%% handle_frame(_Other, _Conn, Greeting) ->
%%     {[{close, 1008, <<"a name, please">>}], Greeting}.
%% '''
%%
%% <h3>Callbacks</h3>
%%
%% What happened comes first, then the connection where there is one, and the state last.
%%
%% `init/1' and `handle_frame/3' are required. The others are optional: `accept/2' decides about
%% a client, `handle_open/3' and `handle_close/4' are called when it comes and goes, `handle_error/3' for a
%% command that failed, `handle_down/2' in a client that is not connected. The rest is as in
%% `gen_server': `handle_call/3', `handle_cast/2', `handle_info/2', `terminate/2', `code_change/3' and
%% `format_status/1'. `hcb(sockeye_handler, handle_frame, 3)' shows one of them in the shell.
%%
%% To other processes a handler is a `gen_server': `gen_server:call/2' and `sys' work. `sys:get_state/1' and
%% `sys:replace_state/2' have the state of the handler, `sys:suspend/1' lets frames wait within `inbox_size'.
%% Which optional callbacks there are is looked up when the process starts, and in `sys:change_code/4'.
%%
%% {@link sockeye_test} runs a handler without a server, for its tests.
%%
%% <h3>Commands</h3>
%%
%% They are carried out in order. When several frames came together, their commands
%% leave together, once the last of these callbacks has returned. A command that fails
%% affects no other; `handle_error/3' is called for it. A term that is not a command is also logged as an error.
%%
%% <h3>Calls in a callback</h3>
%%
%% A callback may call all functions of {@link sockeye}, {@link sockeye_pubsub}, {@link sockeye_presence}, {@link
%% sockeye_json} and {@link sockeye_codec}, with these exceptions: {@link sockeye:stop/1} and {@link sockeye:drain/2} of its
%% own server, and the functions of {@link sockeye_client} for its own client, wait for the handler itself. Its
%% connections stay with it: {@link sockeye:controlling_process/2} is for those of an owner. What a callback sends with
%% {@link sockeye:send/2} leaves at once, before the commands that this and earlier callbacks of the batch have returned.
-module(sockeye_handler).

-export_type([command/0]).
-export_type([failure/0]).
-export_type([result/0]).
-export_type([in_frame/0]).
-export_type([request/0]).
-export_type([decision/0]).

-type in_frame() :: {json, term()}
                  | {text, binary()}
                  | {binary, binary()}
                  | {invalid_json, binary(), Why :: term()}
                  | {ping, binary()}
                  | {pong, binary()}.
%% What a client sent. `{text, _}' comes with the option `format => raw' only,
%% `{invalid_json, Bin, Why}' with `on_invalid_json => deliver' only, `{ping, Bin}'
%% (answered already) and `{pong, Bin}' with `control_frames => true' only.

-type command() :: {reply, sockeye:frame() | [sockeye:frame()]}
                 | {send, sockeye:conn(), sockeye:frame() | [sockeye:frame()]}
                 | {broadcast, sockeye:frame()}
                 | {broadcast_from, sockeye:frame()}
                 | {subscribe | unsubscribe, sockeye:topic()}
                 | {subscribe | unsubscribe, sockeye:conn(), sockeye:topic()}
                 | {publish, sockeye:topic(), sockeye:frame()}
                 | {publish_from, sockeye:topic(), sockeye:frame()}
                 | {active, sockeye:active()}
                 | {close, sockeye:close_code(), Reason :: iodata()}
                 | {close, sockeye:conn(), sockeye:close_code(), Reason :: iodata()}.
%% `reply', `broadcast_from' and `publish_from' (every client but this one), `subscribe' and
%% `unsubscribe' without a connection, `active' and
%% `close' with a code and a reason speak of the connection at hand. In `handle_call/3',
%% `handle_cast/2' and `handle_info/2' there is none, unless each connection has its own process.

-type failure() :: sockeye:send_error()
                 | sockeye:subscribe_error()
                 | sockeye:publish_error()
                 | {bad_command, Why :: binary()}.
%% Why a command failed. `closed': the connection is closed or closing. `busy': its queue is full.
%% `bad_command': it is no command, or an argument is wrong; `Why' says which, and what is expected.

-type request() :: #{method := binary(),
                     path := binary(),
                     query := binary(),
                     headers := [{LowerCaseName :: binary(), Value :: binary()}],
                     subprotocols := [binary()],
                     http_version := {1 | 2, 0 | 1},
                     peer := term(),
                     local := term(),
                     tls := undefined | map(),
                     body => binary()}.
%% The path is in the normal form of RFC 3986, 6.2.2, the query as it came. Several `Cookie' headers are one, joined
%% with `; '. `body' is there in the functions of HTTP routes only.

-type decision() :: {accept, #{subprotocol => binary() | undefined,
                               headers => [{iodata(), iodata()}],
                               state => term(),
                               user_data => iodata(),
                               active => sockeye:active(),
                               max_message_size => pos_integer(),
                               max_frame_size => pos_integer(),
                               max_fragments => pos_integer(),
                               idle_timeout => pos_integer() | infinity,
                               ping_interval => pos_integer() | infinity,
                               pong_timeout => pos_integer() | infinity,
                               max_age => pos_integer() | infinity,
                               send_queue_size => pos_integer()}}
                  | {reject, Status :: 200..599, [{iodata(), iodata()}], Body :: iodata()}.
%% `subprotocol' must be one that the client offers; without the key the
%% server's own choice stands. `headers' go into the 101. `state' comes as the
%% key `state' of `Info' in `handle_open/3' or the event `{open, Info}'. `user_data' is for operators: at most 128 bytes
%% of UTF-8 that `sockeye:info/1' and the dashboard show, such as the name of the user. The
%% others are the options of that name, for this connection alone.

-type result() :: {[command()], State :: term()}
                | {[command()], State :: term(), hibernate}
                | {stop, Reason :: term(), State :: term()}.
%% `hibernate' takes effect once the frames that came together are served.
%% `{stop, Reason, State}' ends the handler process, after the commands so far.

-callback accept(request(), Arg :: term()) -> decision().
%% A client asks for a connection. Optional. `Arg' is that of the option `handler => {Module, Arg}'. The server calls it
%% in a process of its own, before it answers the handshake, for at most `accept_timeout' milliseconds: then the
%% client gets 503. `{accept, Options}' lets the client in; `{reject, Status, Headers, Body}' is the answer that it gets
%% instead. After a crash or a wrong return the client gets 500, and the log an error. A server with an owner has the
%% option `accept' instead, a function of the request.

-callback init(Arg :: term()) -> {ok, State :: term()} | {stop, Reason :: term()}.
%% A handler process starts; with `processes => per_connection', for each connection. With `one' and `N', `{stop, Reason}'
%% makes `sockeye:start_link/1' return `{error, Reason}'.

-callback handle_open(Info :: map(), sockeye:conn(), State :: term()) -> result().
%% A connection is open. Optional. `Info' is a map with `peer', `path', `query',
%% `subprotocol' and `headers'; see {@link sockeye:conn_info()}.

-callback handle_frame(in_frame(), sockeye:conn(), State :: term()) -> result().
%% A frame came in: text as `{json, Term}', binary as `{binary, Bin}'; see {@link in_frame()}.
%% ```
%% handle_frame({json, #{<<"name">> := Name}}, _Conn, State) ->
%%     {[{reply, #{hello => Name}}], State};
%% handle_frame(_Other, _Conn, State) ->
%%     {[{close, 1008, <<"a name, please">>}], State}.
%% '''

-callback handle_close(sockeye:close_code(), Reason :: binary(), sockeye:conn(),
                       State :: term()) -> result().
%% A connection has ended; nothing more comes from it. Optional. 1006 means that the
%% transport ended without a Close frame. What the callbacks returned for its frames leaves
%% before our Close frame. Sends from now on are `closed'.

-callback handle_down(sockeye_client:down_reason(), State :: term()) -> result().
%% Of a client (`sockeye_client') that reconnects: it is not connected, and will
%% try again. Optional. `Reason' is `{closed, Code, Text}' after `handle_close/4', or
%% why an attempt failed. `{stop, Why, State}' ends the client.

-callback handle_error({command(), failure()}, sockeye:conn() | none, State :: term()) -> result().
%% A command failed, see {@link failure()}. Optional. The command names its connection: it is
%% `{send, Conn, Frame}' for a `{reply, Frame}'. `Conn' is that connection, or `none' when the command was
%% for many. A command of this callback that fails again is only logged. Without this callback, a warning is
%% logged for each reason but `closed'. End with a clause for any reason.

-callback handle_call(Request :: term(), gen_server:from(), State :: term()) ->
    {reply, Reply :: term(), [command()], State :: term()}
    | {reply, Reply :: term(), [command()], State :: term(), hibernate}
    | result().
%% Another process calls `gen_server:call/2'. Optional; without it the caller gets
%% `{error, not_supported}'. `{reply, Reply, Commands, State}' answers the call, after these commands. After any other
%% {@link result()}, the handler answers with `gen_server:reply(From, Reply)', now or later.
%% ```
%% handle_call(count, _From, #{count := N} = State) ->
%%     {reply, N, [], State}.
%% '''

-callback handle_cast(Message :: term(), State :: term()) -> result().
%% A message of `gen_server:cast/2'. Optional; without this callback, `handle_info/2' gets
%% `{'$gen_cast', Message}'. Returns a {@link result()}, as `handle_frame/3' does.

-callback handle_info(Message :: term(), State :: term()) -> result().
%% Any other message to the process. Optional; without it, the message is logged as a warning. Clients cannot cause such
%% messages, with one exception: where credits are counted (`active => N', `{active, N}'), `{sockeye, Conn, passive}' says
%% that they ran out.

-callback terminate(Reason :: term(), State :: term()) -> term().
%% The process ends. Optional. Called as in `gen_server', and with `shutdown' when
%% the server stops.

-callback code_change(OldVsn :: term(), State :: term(), Extra :: term()) ->
    {ok, State :: term()} | {error, Reason :: term()}.
%% `sys:change_code/4' was called while the process was suspended: the state for a new version of the
%% module. Optional. After an error the process has the state from before.

-callback format_status(#{state := term(), message := term(), reason := term()}) -> map().
%% What crash reports and `sys:get_status/1' may show, as in `gen_server'. Optional. The map has
%% `state', `message' (the frame or message at hand) and `reason', and comes back with other values.

-optional_callbacks([accept/2, handle_open/3, handle_close/4, handle_down/2, handle_error/3, handle_call/3,
                     handle_cast/2, handle_info/2, terminate/2, code_change/3, format_status/1]).
