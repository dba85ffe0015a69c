%% @private
%% File descriptors: each connection of a server needs one, and the rest of the node needs some as
%% well. Where none is left, OTP's own look-up of a name ends the node.
-module(sockeye_descriptors).

-export([limits/1]).
-export([most/1]).
-export([limit/0]).
-export([reserve/1]).
-export([reserve/2]).
-export([chosen/0]).

%% As the engine wants them.
-spec limits(auto | pos_integer() | infinity) ->
          #{max_connections := pos_integer() | infinity, max_descriptor := pos_integer() | infinity}.
limits(auto) -> (limits(infinity))#{max_descriptor := most(auto)};
limits(Connections) -> #{max_connections => Connections, max_descriptor => most(Connections)}.

%% Accepted sockets get descriptors below this number. The system gives out the lowest number that is
%% free, so that those above stay for others, however many servers and clients a node has.
-spec most(auto | pos_integer() | infinity) -> pos_integer() | infinity.
most(infinity) ->
    infinity;
most(_Connections) ->
    case limit() of
        infinity -> infinity;
        Limit -> max(1, Limit - reserve(Limit))
    end.

%% Of the process that has the sockets.
-spec limit() -> pos_integer() | infinity.
limit() ->
    case sockeye_backend:engine() of
        nif -> own_limit();
        port -> sockeye_link:descriptors()
    end.

%% The soft limit, as the VM has found it.
-spec own_limit() -> pos_integer() | infinity.
own_limit() ->
    Found = [Most || List <- erlang:system_info(check_io), is_list(List), {max_fds, Most} <- List,
                     is_integer(Most), Most > 0],
    case Found of
        [] -> infinity;
        _ -> lists:min(Found)
    end.

%% Of so many descriptors.
-spec reserve(pos_integer()) -> non_neg_integer().
reserve(Limit) -> reserve(Limit, chosen()).

-spec reserve(pos_integer(), auto | non_neg_integer()) -> non_neg_integer().
reserve(Limit, auto) -> min(256, max(Limit div 8, min(64, Limit div 2)));
reserve(_Limit, Chosen) -> Chosen.

%% `descriptor_reserve' in the environment of the application.
-spec chosen() -> auto | non_neg_integer().
chosen() ->
    case application:get_env(sockeye, descriptor_reserve) of
        {ok, N} when is_integer(N), N >= 0 -> N;
        _ -> auto
    end.
