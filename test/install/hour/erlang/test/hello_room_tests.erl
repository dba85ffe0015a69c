-module(hello_room_tests).
-include_lib("eunit/include/eunit.hrl").

room_test_() ->
    {setup, fun() -> {ok, Started} = application:ensure_all_started(sockeye), Started end,
     fun(Started) -> [application:stop(Application) || Application <- lists:reverse(Started)] end,
     [?_assertEqual(<<"hi">>, hello_room:heard(<<"hi">>)),
      ?_assertMatch({[{close, 1008, _}], #{}}, hello_room:handle_frame({text, <<"?">>}, conn, #{}))]}.
