%% @private
%% Messages from the engine's process to processes of the VM, other than batches: questions, failures, notices.
%%
%% A sound engine has few of them on their way to one process: one for each connection at most. One that does not end fills a mailbox,
%% so mailboxes are looked at now and then.
-module(sockeye_port_mailboxes).

-export([new/0]).
-export([sent/3]).

-export_type([sent/0]).

%% A mailbox is looked at after so many messages, to whomever, or so many bytes.
-define(LOOK, 4096).
-define(LOOK_BYTES, 16 * 1024 * 1024).
%% So many may wait in it, and so many bytes.
-define(MOST, 1000000).
-define(MOST_BYTES, 256 * 1024 * 1024).

-opaque sent() :: {Messages :: non_neg_integer(), Bytes :: non_neg_integer()}.
%% Since the last look.

-spec new() -> sent().
new() ->
    {0, 0}.

%% A message of so many bytes was sent to this process. `too_many' if that can be no sound engine.
-spec sent(pid(), non_neg_integer(), sent()) -> sent() | too_many.
sent(Pid, Size, {N, Sum}) when N + 1 >= ?LOOK; Sum + Size >= ?LOOK_BYTES ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Waiting} when Waiting > ?MOST; Waiting * ((Sum + Size) div (N + 1)) > ?MOST_BYTES -> too_many;
        _ -> new()
    end;
sent(_Pid, Size, {N, Sum}) ->
    {N + 1, Sum + Size}.
