%% A node of its own whose engine is a process of the system, and what tests see of it there.
-module(port_node).

-export([start/0]).
-export([start/1]).
-export([stop/1]).
-export([forget/1]).
-export([tests/2]).
-export([on/2]).
-export([with_engine/2]).
-export([logged/1]).
-export([is_logged/1]).
-export([log/2]).
-export([until/1]).
-export([is_alive/1]).
-export([kill/0]).
-export([another/1]).
-export([in_a_node/2]).
-export([listening/2]).
-export([is_listening/1]).
-export([handlers/1]).
-export([has_library/0]).
-export([no_library/0]).
-export([fault/1]).
-export([signal/2]).
-export([limit/3]).

-define(TIMEOUT, 120000).
%% A little less than a test has.
-define(CALL, 280000).
-define(LOG, port_node_log).

%% Tests with their names, in one node, one after the other, each in so many seconds.
tests(Seconds, Tests) ->
    {setup, fun start/0, fun stop/1,
     fun(Peer) -> [{Name, {timeout, Seconds, fun() -> on(Peer, Test) end}} || {Name, Test} <- Tests] end}.

start() ->
    start(#{}).

%% Options: env, of the node; before, of the shell before it begins; args, of the emulator. Its temporary files are its own.
start(Options) ->
    Folder = filename:join(os:getenv("TMPDIR", "/tmp"), "port_node_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:make_dir(Folder),
    Before = maps:get(before, Options, "true"),
    {ok, Peer, _} = peer:start(#{connection => standard_io, wait_boot => ?TIMEOUT,
                                 exec => {"/bin/sh", ["-c", Before ++ "; exec " ++ os:find_executable("erl") ++ " \"$@\"", "erl"]},
                                 env => [{"SOCKEYE_ENGINE", "port"}, {"SOCKEYE_ENGINE_FAULTS", "1"}, {"TMPDIR", Folder}
                                         | maps:get(env, Options, [])],
                                 args => maps:get(args, Options, [])
                                         ++ lists:append([["-pa", Dir] || Dir <- code:get_path(), filelib:is_dir(Dir)])}),
    {Peer, Folder}.

stop({Peer, Folder}) ->
    ok = peer:stop(Peer),
    ok = file:del_dir_r(Folder).

%% It has ended by itself.
forget({Peer, Folder}) ->
    _ = test_support:attempt(fun() -> peer:stop(Peer) end),
    ok = file:del_dir_r(Folder).

%% Runs a fun of a test module there.
on({Peer, _}, Fun) ->
    peer:call(Peer, erlang, apply, [Fun, []], ?CALL).

%% In that node: the application starts with this executable in the test, which returns its last word.
with_engine(Path, Test) ->
    _ = application:load(sockeye),
    _ = application:stop(sockeye),
    ok = application:set_env(sockeye, engine_path, Path),
    %% It would override that.
    Named = os:getenv("SOCKEYE_ENGINE_PATH"),
    true = os:unsetenv("SOCKEYE_ENGINE_PATH"),
    try Test()
    after
        _ = application:stop(sockeye),
        ok = application:unset_env(sockeye, engine_path),
        _ = [true = os:putenv("SOCKEYE_ENGINE_PATH", Named) || Named =/= false]
    end.

%% In that node: what was logged while the test ran, as texts, the first one first.
logged(Test) ->
    Self = self(),
    _ = ets:new(?LOG, [named_table, public, ordered_set]),
    ok = logger:add_handler(?LOG, ?MODULE, #{config => Self}),
    try
        Test(),
        [Text || {_, Text} <- ets:tab2list(?LOG)]
    after
        _ = logger:remove_handler(?LOG),
        ets:delete(?LOG)
    end.

%% In that node, in a test of logged/1: whether such an event has been logged.
is_logged(What) ->
    ets:match(?LOG, {'_', {What, '_'}}) =/= [].

log(#{msg := {report, Report}, meta := #{report_cb := Text, sockeye := What}}, _Config) ->
    ets:insert(?LOG, {erlang:unique_integer([monotonic]), {What, unicode:characters_to_binary(Text(Report, #{}))}});
log(_Event, _Config) ->
    ok.

%% Until it holds: what the test waits for says nothing when it comes.
until(Fun) ->
    until(Fun, erlang:monotonic_time(millisecond) + ?TIMEOUT).

until(Fun, Deadline) ->
    case Fun() of
        true -> ok;
        Other ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({never, Other}),
            receive after 5 -> until(Fun, Deadline) end
    end.

%% In that node: something goes wrong in the engine, which may not come to answer.
fault(How) ->
    _ = spawn(fun() -> sockeye_port_call:call_as(self(), fault, [How]) end),
    ok.

signal(Name, OsPid) ->
    [] = os:cmd("kill -" ++ Name ++ " " ++ integer_to_list(OsPid)),
    ok.

%% The process of the system has no more of it from now on.
limit(What, OsPid, Most) ->
    [] = os:cmd(lists:flatten(io_lib:format("prlimit --pid ~b --~s=~b:~b", [OsPid, What, Most, Most]))),
    ok.

%% Whether there is such a process of the system.
is_alive(OsPid) ->
    case file:read_file(io_lib:format("/proc/~b/stat", [OsPid])) of
        {ok, Stat} ->
            %% One that nobody has asked about yet is dead.
            [_, After] = binary:split(Stat, <<") ">>),
            binary:first(After) =/= $Z;
        {error, _} ->
            false
    end.

%% In that node: the engine is killed. How often it had been started again before.
kill() ->
    {ok, #{os_pid := OsPid, restarts := Restarts}} = sockeye:info(),
    ok = signal("KILL", OsPid),
    Restarts.

%% In that node: until it has been started again more often than that.
another(Restarts) ->
    until(fun() -> case sockeye:info() of
                       {ok, #{restarts := N}} -> N > Restarts;
                       Other -> Other
                   end
          end).

%% In that node: until the engine knows the server, which is on that port.
listening(Server, Port) ->
    ok = until(fun() -> case sockeye:info(Server) of
                            {ok, #{port := Port}} -> true;
                            Other -> Other
                        end
               end),
    until(fun() -> is_listening(Port) end).

is_listening(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
        {ok, Probe} -> ok = gen_tcp:close(Probe), true;
        Error -> Error
    end.

%% The handler's processes of a server.
handlers(Server) ->
    {links, Links} = process_info(Server, links),
    [Pid || Pid <- Links, is_pid(Pid), {_, Dictionary} <- [process_info(Pid, dictionary)],
            lists:keymember('$sockeye_worker', 1, Dictionary)].

%% In that node: whether the library is there. Our stubs may be loaded, as all modules are: the library behind them is not.
has_library() ->
    {ok, Maps} = file:read_file("/proc/self/maps"),
    binary:match(Maps, <<"sockeye_nif">>) =/= nomatch.

no_library() ->
    false = code:is_loaded(sockeye_nif) =/= false andalso has_library(),
    ok.

%% Tests that run in one node, one after the other.
in_a_node(Options, Tests) ->
    {setup, fun() -> start(Options) end, fun stop/1,
     fun(Node) -> [{Name, {timeout, 120, fun() -> on(Node, Test) end}} || {Name, Test} <- Tests] end}.
