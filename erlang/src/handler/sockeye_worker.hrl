%% What a worker knows beside the state of its handler: private to sockeye_worker, sockeye_callback and sockeye_handler_end.

%% Events that a worker takes at once when it has just started.
-define(FIRST_MAX, 64).

-record(s,
        {module :: module(),
         %% Called through a fun, which spares the search for the function.
         handle_frame :: fun((term(), sockeye:conn(), term()) -> term()),
         server_id :: sockeye_backend:server_id(),
         server :: pid(),
         %% Who has started it: the server, its client, or the supervisor of those with one connection each.
         parent :: pid(),
         %% `undefined' until there is a state.
         inbox :: sockeye_backend:inbox() | undefined | none,
         %% The connection at hand outside of frames: with a process per
         %% connection, the one it serves.
         conn = none :: sockeye:conn() | none,
         %% The URL of a client: it has one connection at a time, and outlives it.
         url = none :: binary() | none,
         encoder = none :: sockeye_encoder:encoder() | none,
         counts = none :: sockeye_counts:counts(),
         max = ?FIRST_MAX :: pos_integer(),
         %% Which optional callbacks there are.
         has_open = false :: boolean(),
         has_close = false :: boolean(),
         has_error = false :: boolean(),
         has_info = false :: boolean(),
         has_down = false :: boolean(),
         has_call = false :: boolean(),
         has_cast = false :: boolean(),
         has_terminate = false :: boolean(),
         %% Of the process of one connection: nothing is known yet; in use, or
         %% not since the timer was set; or since when it has hibernated.
         rest = off :: off | new | busy | quiet | integer()}).

-type acc() :: sockeye_commands:acc().

%% `ended' is the end of a process whose connection is gone.
-type outcome() :: {ok, acc(), State :: term(), Hibernate :: boolean()}
                 | {ended, acc(), State :: term()}
                 | {stop, fin(), acc(), State :: term()}.

%% Why a callback ends the process: it says so, or crashed.
-type fin() :: {stop, Reason :: term(), sockeye_crash:last()}
             | {crash, {error | exit | throw, term(), list()}, sockeye_crash:last()}.
