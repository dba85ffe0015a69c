%% @private
%% Starts the engine's process and opens the socket to it. `sockeye_executable_end' has the end of both.
%%
%% The port is the lifeline: its end tells the engine that the node is gone, and it tells us of the engine's. All
%% data goes over the socket, whose packets have a bound.
-module(sockeye_executable).

-include_lib("kernel/include/file.hrl").

-export([start/1]).
-export([folder/0]).
-export([most_silence/0]).

-export_type([engine/0]).

-type engine() :: #{port := port(), os_pid := non_neg_integer(), socket := gen_tcp:socket(),
                    %% So many may be open there.
                    descriptors := pos_integer() | infinity,
                    %% What came before the answer to the first call.
                    came := [binary()]}.

-type error() :: {sockeye_port, Path :: binary(), Why :: binary()}.

%% From its start until it says that it is ready; for each answer after that, and what may come before the one to
%% the first call.
-define(START_MS, 10000).
-define(ANSWER_MS, 5000).
-define(SILENCE_S, 4).
-define(MOST_PACKETS, 16).
%% The system has room for so many bytes in the address of a Unix socket, everywhere.
-define(MOST_PATH, 103).
-define(MOST_PACKET, 1048576).
-define(LONGEST_LINE, 1024).

%% `First' is the call that it gets first.
-spec start(sockeye_wire:sections()) -> {ok, engine()} | {error, error()}.
start(First) ->
    Path = path(),
    try
        ok = is_there(Path),
        Folder = folder(),
        try started(Path, Folder, First)
        after _ = file:del_dir_r(Folder)
        end
    catch
        throw:{why, Why} -> {error, {sockeye_port, unicode:characters_to_binary(Path), why(Path, Why)}}
    end.

-spec why(file:filename_all(), unicode:chardata()) -> binary().
why(Path, Why) ->
    sockeye_shown:format("The engine's process could not be started from ~ts: ~ts", [Path, Why]).

-spec path() -> string().
path() ->
    case {os:getenv("SOCKEYE_ENGINE_PATH", ""), application:get_env(sockeye, engine_path)} of
        {"", {ok, Path}} -> unicode:characters_to_list(Path);
        {"", undefined} -> filename:join(priv_dir(), "sockeye-engine");
        {Path, _} -> Path
    end.

%% For so many seconds it may not answer, before it is killed. An atom is greater than each number.
-spec most_silence() -> pos_integer() | infinity.
most_silence() ->
    case application:get_env(sockeye, engine_timeout) of
        {ok, infinity} -> infinity;
        {ok, Ms} when is_integer(Ms), Ms > 0 -> (Ms + 999) div 1000;
        _ -> ?SILENCE_S
    end.

-spec priv_dir() -> file:filename().
priv_dir() ->
    case code:priv_dir(sockeye) of
        {error, bad_name} -> filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
        Dir -> Dir
    end.

-spec is_there(string()) -> ok.
is_there(Path) ->
    case file:read_file_info(Path) of
        {ok, #file_info{type = regular, mode = Mode}} when Mode band 8#111 =/= 0 ->
            ok;
        {ok, #file_info{type = regular}} ->
            throw({why, "it is not executable (chmod +x)"});
        {ok, _} ->
            throw({why, "it is not a file"});
        {error, enoent} ->
            throw({why, "there is no such file. Build it with `rebar3 compile' (needs cargo), or name a built one in "
                        "SOCKEYE_ENGINE_PATH"});
        {error, Reason} ->
            throw({why, file:format_error(Reason)})
    end.

%% For this user alone.
-spec folder() -> file:filename().
folder() ->
    Name = "sockeye-" ++ random(8),
    %% Where the node has changed its current directory, the engine has not.
    Above = [Tmp || Tmp <- [filename:absname(Set) || Set <- [os:getenv("TMPDIR", "")], Set =/= ""],
                    byte_size(sockeye_file_name:native(socket(filename:join(Tmp, Name)))) =< ?MOST_PATH],
    Folder = made(Name, Above ++ ["/tmp"]),
    case file:change_mode(Folder, 8#700) of
        ok -> Folder;
        {error, Why} -> throw({why, ["the folder ", Folder, " could not be kept for this user: ", file:format_error(Why)]})
    end.

%% In the first of these that takes it: the folder of $TMPDIR may be gone when the engine starts again.
-spec made(string(), [file:filename(), ...]) -> file:filename().
made(Name, [Above | Others]) ->
    Folder = filename:join(Above, Name),
    case {file:make_dir(Folder), Others} of
        {ok, _} -> Folder;
        {{error, _}, [_ | _]} -> made(Name, Others);
        {{error, Reason}, []} -> throw({why, ["a folder for its socket could not be made in ", Above, ": ", file:format_error(Reason)]})
    end.

-spec socket(file:filename()) -> file:filename().
socket(Folder) ->
    filename:join(Folder, "s").

-spec random(pos_integer()) -> string().
random(Bytes) ->
    lists:append([io_lib:format("~2.16.0b", [Byte]) || <<Byte>> <= rand_bytes(Bytes)]).

%% No cryptography in our dependencies: the system's source.
-spec rand_bytes(pos_integer()) -> binary().
rand_bytes(Bytes) ->
    case file:open("/dev/urandom", [read, raw, binary]) of
        {ok, File} ->
            {ok, Random} = file:read(File, Bytes),
            ok = file:close(File),
            Random;
        {error, Reason} ->
            throw({why, ["/dev/urandom could not be read: ", file:format_error(Reason)]})
    end.

-spec started(string(), file:filename(), sockeye_wire:sections()) -> {ok, engine()}.
started(Path, Folder, First) ->
    Secret = list_to_binary(random(32)),
    Port = try
               open_port({spawn_executable, Path},
                         [{args, [socket(Folder)]}, exit_status, {line, ?LONGEST_LINE}, stderr_to_stdout, binary, hide])
           catch
               error:Reason -> throw({why, reason(Reason)})
           end,
    try
        true = port_command(Port, [Secret, $\n]),
        ok = await_ready(Port, none, now_ms() + ?START_MS),
        Socket = connected(Port, socket(Folder)),
        ok = sent(Port, gen_tcp:send(Socket, sockeye_wire:hello(Secret))),
        Descriptors = case sockeye_wire:welcome(heard(Port, Socket)) of
                          {ok, Most} -> Most;
                          {error, Why} -> throw({why, Why})
                      end,
        {_, Sections} = First,
        ok = sent(Port, gen_tcp:send(Socket, Sections)),
        Came = answered(Port, Socket, []),
        {ok, #{port => Port, os_pid => os_pid(Port), socket => Socket, descriptors => Descriptors, came => Came}}
    catch
        Class:Thrown:Stack ->
            _ = sockeye_executable_end:killed(Port),
            erlang:raise(Class, Thrown, Stack)
    end.

-spec reason(term()) -> unicode:chardata().
reason(Reason) when is_atom(Reason) -> file:format_error(Reason);
reason(Reason) -> sockeye_shown:short(Reason).

%% The last line before an early end says why.
-spec await_ready(port(), none | binary(), integer()) -> ok.
await_ready(Port, Line, Deadline) ->
    receive
        {Port, {data, {eol, <<"ready">>}}} -> ok;
        {Port, {data, {_, Next}}} -> await_ready(Port, Next, Deadline);
        {Port, {exit_status, Status}} -> throw({why, early(Status, Line)})
    after max(0, Deadline - now_ms()) ->
            throw({why, "it did not say that it is ready within 10 seconds"})
    end.

-spec early(non_neg_integer(), none | binary()) -> unicode:chardata().
early(Status, none) -> io_lib:format("it ended at once, with status ~b", [Status]);
early(Status, Line) -> io_lib:format("it ended at once, with status ~b: ~ts", [Status, Line]).

-spec connected(port(), file:filename()) -> gen_tcp:socket().
connected(Port, Path) ->
    %% A port, whatever the node has by default: the writer gives it commands.
    Options = [{inet_backend, inet}, binary, {active, false}, {packet, 4}, {packet_size, ?MOST_PACKET}, {buffer, 131072},
               {sndbuf, ?MOST_PACKET}, {recbuf, ?MOST_PACKET}],
    case gen_tcp:connect({local, sockeye_file_name:native(Path)}, 0, Options, ?ANSWER_MS) of
        {ok, Socket} -> Socket;
        {error, Reason} -> throw({why, failed(Port, Reason)})
    end.

-spec heard(port(), gen_tcp:socket()) -> binary().
heard(Port, Socket) ->
    case gen_tcp:recv(Socket, 0, ?ANSWER_MS) of
        {ok, Packet} -> Packet;
        {error, Reason} -> throw({why, failed(Port, Reason)})
    end.

-spec sent(port(), ok | {error, term()}) -> ok.
sent(_Port, ok) -> ok;
sent(Port, {error, Reason}) -> throw({why, failed(Port, Reason)}).

%% What became of an executable that cannot be spoken to.
-spec failed(port(), term()) -> unicode:chardata().
failed(Port, Reason) ->
    case sockeye_executable_end:await(Port, 500) of
        {exited, Status, Lines} -> early(Status, lists:last([none | Lines]));
        running when Reason =:= timeout -> "it does not answer";
        running -> ["it is not to be reached over its socket: ", inet:format_error(Reason)]
    end.

%% The packets up to the one with an answer.
-spec answered(port(), gen_tcp:socket(), [binary()]) -> [binary()].
answered(_Port, _Socket, Before) when length(Before) >= ?MOST_PACKETS ->
    throw({why, "it does not answer, and says much else"});
answered(Port, Socket, Before) ->
    Packet = heard(Port, Socket),
    Came = [Packet | Before],
    case has_answer(Packet) of
        true -> lists:reverse(Came);
        false -> answered(Port, Socket, Came);
        {error, Why} -> throw({why, Why})
    end.

-spec has_answer(binary()) -> boolean() | {error, unicode:chardata()}.
has_answer(Packet) ->
    case sockeye_wire:next(Packet) of
        {{answer, _, Answer}, _} ->
            case sockeye_wire:term(Answer) of
                {ok, {return, ok}} -> true;
                {ok, {return, {error, Reason}}} -> {error, sockeye_shown:short(Reason)};
                _ -> {error, "its first answer makes no sense"}
            end;
        {_, Rest} ->
            has_answer(Rest);
        none ->
            false;
        error ->
            {error, "its first words make no sense"}
    end.

-spec os_pid(port()) -> non_neg_integer().
os_pid(Port) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} -> Pid;
        undefined -> 0
    end.

-spec now_ms() -> integer().
now_ms() ->
    erlang:monotonic_time(millisecond).
