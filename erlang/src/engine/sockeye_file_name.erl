%% @private
%% Names of files as the system has them: bytes.
-module(sockeye_file_name).

-export([native/1]).
-export([shown/1]).

%% A text is written as OTP does it in this node, a binary is taken as it is. Fails where there are no such bytes.
-spec native(file:name_all()) -> binary().
native(Name) when is_binary(Name) ->
    Name;
native(Name) ->
    Bytes = unicode:characters_to_binary(Name, unicode, file:native_name_encoding()),
    true = is_binary(Bytes),
    Bytes.

%% In a sentence. Bytes that are no UTF-8 are most likely Latin-1.
-spec shown(file:name_all()) -> binary().
shown(Name) ->
    try native(Name) of
        Bytes ->
            case unicode:characters_to_binary(Bytes) of
                Bytes -> Bytes;
                _ -> unicode:characters_to_binary(Bytes, latin1)
            end
    catch
        error:_ -> sockeye_shown:short(Name)
    end.
