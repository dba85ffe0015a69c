%% A node of its own whose engine is a process of the system, and what tests see of it there.
-module(port_node).

-export([start/0]).
-export([stop/1]).
-export([forget/1]).
-export([on/2]).
-export([with_engine/2]).
-export([logged/1]).
-export([log/2]).
-export([until/1]).
-export([is_alive/1]).

-define(TIMEOUT, 120000).
-define(LOG, port_node_log).

%% Its temporary files are its own.
start() ->
    Folder = filename:join(os:getenv("TMPDIR", "/tmp"), "port_node_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:make_dir(Folder),
    {ok, Peer, _} = peer:start(#{connection => standard_io, env => [{"SOCKEYE_ENGINE", "port"}, {"TMPDIR", Folder}], wait_boot => ?TIMEOUT,
                                 args => lists:append([["-pa", Dir] || Dir <- code:get_path(), filelib:is_dir(Dir)])}),
    {Peer, Folder}.

stop({Peer, Folder}) ->
    ok = peer:stop(Peer),
    ok = file:del_dir_r(Folder).

%% It has ended by itself.
forget({Peer, Folder}) ->
    catch peer:stop(Peer),
    ok = file:del_dir_r(Folder).

%% Runs a fun of a test module there.
on({Peer, _}, Fun) ->
    peer:call(Peer, erlang, apply, [Fun, []], ?TIMEOUT).

%% In that node: the application starts with this executable in the test, which returns its last word.
with_engine(Path, Test) ->
    _ = application:load(sockeye),
    _ = application:stop(sockeye),
    ok = application:set_env(sockeye, engine_path, Path),
    try Test()
    after
        _ = application:stop(sockeye),
        ok = application:unset_env(sockeye, engine_path)
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

log(#{msg := {report, Report}, meta := #{report_cb := Text, sockeye := What}}, _Config) ->
    ets:insert(?LOG, {erlang:unique_integer([monotonic]), {What, unicode:characters_to_binary(Text(Report, #{}))}});
log(_Event, _Config) ->
    ok.

%% Until it holds: what the test waits for says nothing when it comes.
until(Fun) ->
    until(Fun, erlang:monotonic_time(millisecond) + 20000).

until(Fun, Deadline) ->
    case Fun() of
        true -> ok;
        Other ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({never, Other}),
            receive after 5 -> until(Fun, Deadline) end
    end.

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
