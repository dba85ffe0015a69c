%% @private
%% Functions of the native library that need no running engine: JSON, the codec, and checks of options.
%%
%% By default it is where the engine is, see {@link sockeye_backend}.
-module(sockeye_pure).

-export([use/1, behaviour_info/1]).
-export([certificates_out_of_time/2, origin_rule/1, path_form/1, client_url/1, client_proxy/1, client_host/1,
         json_decode/2, json_decode_dirty/2, json_encode/2, json_encode_dirty/2, codec_new/2, codec_request/1,
         codec_response/3, codec_check_request/2, codec_accept/2, codec_refuse/3, codec_refuse_dirty/3,
         codec_encode/2, codec_encode_dirty/2, codec_decode/2, codec_decode_dirty/2, codec_eof/1, codec_eof_dirty/1,
         codec_info/1, codec_info_dirty/1]).

%% Twice as fast as a call of a module that is a variable.
-define(CALL(Call), case module() of
                        sockeye_nif -> sockeye_nif:Call;
                        sockeye_port -> sockeye_port:Call
                    end).

-compile({inline, [module/0]}).

%% Which functions a module that can do this has.
-spec behaviour_info(callbacks) -> [{atom(), arity()}].
behaviour_info(callbacks) ->
    ?MODULE:module_info(exports) -- [{use, 1}, {behaviour_info, 1}, {module_info, 0}, {module_info, 1}].

-spec use(module()) -> ok.
use(Module) ->
    persistent_term:put(?MODULE, Module).

-spec module() -> sockeye_nif | sockeye_port.
module() ->
    case persistent_term:get(?MODULE, none) of
        none -> ok = sockeye_backend:at_first(), persistent_term:get(?MODULE);
        Module -> Module
    end.

%% Of a PEM text; times are in seconds since 1970, the place of the server's own is 0.
-spec certificates_out_of_time(binary(), non_neg_integer()) ->
          [{expired | not_yet_valid, Place :: non_neg_integer(), Date :: non_neg_integer(), Hosts :: [binary()]}].
certificates_out_of_time(Text, Now) ->
    ?CALL(certificates_out_of_time(Text, Now)).

%% Whether a text is a rule of the option `origins'.
-spec origin_rule(binary()) -> boolean().
origin_rule(Text) ->
    ?CALL(origin_rule(Text)).

%% {ok, Host}: what the `Host' header will say.
-spec client_url(binary()) -> {ok, binary()} | {error, Why :: binary()}.
client_url(Url) ->
    ?CALL(client_url(Url)).

-spec client_proxy(binary()) -> ok | {error, Why :: binary()}.
client_proxy(Url) ->
    ?CALL(client_proxy(Url)).

%% Whether this can be the value of a `Host' header.
-spec client_host(binary()) -> boolean().
client_host(Host) ->
    ?CALL(client_host(Host)).

%% By what patterns of paths are compared; `error': it is none.
-spec path_form(binary()) -> {ok, Form :: binary()} | error.
path_form(Pattern) ->
    ?CALL(path_form(Pattern)).

-spec json_decode(iodata(), sockeye_json:decode_options()) ->
          {ok, term()} | {error, sockeye_json:decode_error()} | dirty | bad_option.
json_decode(Text, Options) ->
    ?CALL(json_decode(Text, Options)).

-spec json_decode_dirty(iodata(), sockeye_json:decode_options()) ->
          {ok, term()} | {error, sockeye_json:decode_error()} | bad_option.
json_decode_dirty(Text, Options) ->
    ?CALL(json_decode_dirty(Text, Options)).

-spec json_encode(term(), sockeye_json:encode_options()) ->
          {ok, binary()} | {error, {not_json, term()}} | dirty | bad_option.
json_encode(Term, Options) ->
    ?CALL(json_encode(Term, Options)).

-spec json_encode_dirty(term(), sockeye_json:encode_options()) ->
          {ok, binary()} | {error, {not_json, term()}} | bad_option.
json_encode_dirty(Term, Options) ->
    ?CALL(json_encode_dirty(Term, Options)).

-spec codec_new(client | server, map()) -> sockeye_codec:codec().
codec_new(Role, Options) ->
    ?CALL(codec_new(Role, Options)).

-spec codec_request(map()) -> {ok, binary(), binary()} | {error, atom()}.
codec_request(Options) ->
    ?CALL(codec_request(Options)).

-spec codec_response(binary(), map(), binary()) ->
          more | {ok, sockeye_codec:codec(), map(), non_neg_integer()} | {error, term()}.
codec_response(Key, Options, Bytes) ->
    ?CALL(codec_response(Key, Options, Bytes)).

-spec codec_check_request(map(), binary()) ->
          more | {ok, sockeye_codec:request(), non_neg_integer()} | {error, {atom(), binary()}}.
codec_check_request(Options, Bytes) ->
    ?CALL(codec_check_request(Options, Bytes)).

-spec codec_accept(map(), binary()) ->
          more | {ok, binary(), sockeye_codec:codec(), map(), non_neg_integer()} | {error, {atom(), binary()}}.
codec_accept(Options, Bytes) ->
    ?CALL(codec_accept(Options, Bytes)).

-spec codec_refuse(100..599, [{binary(), binary()}], binary()) -> binary().
codec_refuse(Status, Headers, Body) ->
    ?CALL(codec_refuse(Status, Headers, Body)).

%% The same for an answer of many bytes.
-spec codec_refuse_dirty(100..599, [{binary(), binary()}], binary()) -> binary().
codec_refuse_dirty(Status, Headers, Body) ->
    ?CALL(codec_refuse_dirty(Status, Headers, Body)).

-spec codec_encode(sockeye_codec:codec(), term()) ->
          {ok, binary()} | {error, sockeye_backend:refusal()} | dirty.
codec_encode(Codec, Frames) ->
    ?CALL(codec_encode(Codec, Frames)).

-spec codec_encode_dirty(sockeye_codec:codec(), term()) ->
          {ok, binary()} | {error, sockeye_backend:refusal()}.
codec_encode_dirty(Codec, Frames) ->
    ?CALL(codec_encode_dirty(Codec, Frames)).

-spec codec_decode(sockeye_codec:codec(), iodata()) -> {[sockeye_codec:event()], binary()} | dirty.
codec_decode(Codec, Bytes) ->
    ?CALL(codec_decode(Codec, Bytes)).

-spec codec_decode_dirty(sockeye_codec:codec(), iodata()) -> {[sockeye_codec:event()], binary()}.
codec_decode_dirty(Codec, Bytes) ->
    ?CALL(codec_decode_dirty(Codec, Bytes)).

-spec codec_eof(sockeye_codec:codec()) -> sockeye_codec:ending() | dirty.
codec_eof(Codec) ->
    ?CALL(codec_eof(Codec)).

-spec codec_eof_dirty(sockeye_codec:codec()) -> sockeye_codec:ending().
codec_eof_dirty(Codec) ->
    ?CALL(codec_eof_dirty(Codec)).

-spec codec_info(sockeye_codec:codec()) -> sockeye_codec:info() | dirty.
codec_info(Codec) ->
    ?CALL(codec_info(Codec)).

-spec codec_info_dirty(sockeye_codec:codec()) -> sockeye_codec:info().
codec_info_dirty(Codec) ->
    ?CALL(codec_info_dirty(Codec)).
