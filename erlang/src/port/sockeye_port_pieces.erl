%% @private
%% Sections that come from the engine's process in pieces, and how much of them there may be.
-module(sockeye_port_pieces).

-export([new/0]).
-export([fresh/1]).
-export([allow/2]).
-export([largest/1]).
-export([add/3]).
-export([last/3]).

-export_type([pieces/0]).

-define(MOST_STREAMS, 64).
%% More with larger messages, see allow/2.
-define(MOST_BYTES, 64 * 1024 * 1024).
%% A message grows in the external format: `"a",' of JSON takes six bytes, `1.5,' nine.
-define(GROWTH, 4).
%% What a piece takes beside its bytes.
-define(OVERHEAD, 128).

-record(pieces,
        {most = ?MOST_BYTES :: pos_integer(),
         sum = 0 :: non_neg_integer(),
         %% The last piece first, and the bytes of all.
         streams = #{} :: #{non_neg_integer() => {[binary(), ...], pos_integer()}}}).

-opaque pieces() :: #pieces{}.

-spec new() -> pieces().
new() ->
    #pieces{}.

%% Of a new engine: what the last one has begun is forgotten.
-spec fresh(pieces()) -> pieces().
fresh(#pieces{most = Most}) ->
    #pieces{most = Most}.

%% Messages of so many bytes are expected.
-spec allow(non_neg_integer(), pieces()) -> pieces().
allow(Bytes, #pieces{most = Most} = Pieces) ->
    Pieces#pieces{most = max(Most, ?MOST_BYTES + ?GROWTH * Bytes)}.

%% Bytes that a section may have.
-spec largest(pieces()) -> pos_integer().
largest(#pieces{most = Most}) ->
    Most.

-spec add(non_neg_integer(), binary(), pieces()) -> pieces() | error.
add(Stream, Bytes, #pieces{most = Most, sum = Sum, streams = Streams} = Pieces) ->
    Size = byte_size(Bytes) + ?OVERHEAD,
    case Streams of
        _ when Sum + Size > Most -> error;
        #{Stream := {Known, Taken}} -> Pieces#pieces{sum = Sum + Size, streams = Streams#{Stream := {[Bytes | Known], Taken + Size}}};
        _ when map_size(Streams) >= ?MOST_STREAMS -> error;
        _ -> Pieces#pieces{sum = Sum + Size, streams = Streams#{Stream => {[Bytes], Size}}}
    end.

%% All pieces of a stream, with the last one.
-spec last(non_neg_integer(), binary(), pieces()) -> {[binary(), ...], pieces()} | error.
last(Stream, Bytes, #pieces{sum = Sum, streams = Streams} = Pieces) ->
    case maps:take(Stream, Streams) of
        {{Known, Taken}, Rest} -> {lists:reverse(Known, [Bytes]), Pieces#pieces{sum = Sum - Taken, streams = Rest}};
        error -> error
    end.
