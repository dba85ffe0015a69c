%% Starts the example from the command line: host, port and page come from the environment that
%% run_erl_app.sh sets, and a failure is one sentence and exit code 1.
-module(erlpy).

-export([main/0]).

-spec main() -> ok.
main() ->
    Host = os:getenv("ERLPY_HOST", "127.0.0.1"),
    Port = os:getenv("ERLPY_PORT", "19765"),
    case options(Host, Port) of
        {ok, Options} -> start(Host, Options);
        {error, Sentence} -> fail(Sentence)
    end.

-spec options(string(), string()) -> {ok, map()} | {error, iodata()}.
options(Host, PortText) ->
    case {address(Host), string:to_integer(PortText)} of
        {{error, _}, _} ->
            {error, ["the host ", Host, " is not known; give an address such as 127.0.0.1."]};
        {{ok, Ip}, {Port, ""}} when Port >= 0, Port =< 65535 ->
            %% The dashboard is for browsers on this machine.
            {ok, page(#{ip => Ip, port => Port, dashboard => #{}})};
        {_, _} ->
            {error, ["the port ", PortText, " is not a number from 0 to 65535."]}
    end.

%% The page for browsers, at the same address.
-spec page(map()) -> map().
page(Options) ->
    case os:getenv("ERLPY_PAGE") of
        false -> Options;
        File -> Options#{http => #{"/" => {file, File}}}
    end.

-spec address(string()) -> {ok, inet:ip_address()} | {error, inet:posix()}.
address(Host) ->
    case inet:parse_address(Host) of
        {ok, Ip} -> {ok, Ip};
        {error, _} -> inet:getaddr(Host, inet)
    end.

-spec start(string(), map()) -> ok.
start(Host, #{port := Port} = Options) ->
    case application:ensure_all_started(sockeye) of
        {ok, _} -> ok;
        {error, Why} -> fail(io_lib:format("Sockeye did not start: ~0p.", [Why]))
    end,
    %% The reports of a supervisor that cannot start would bury the sentence.
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, none),
    Result = sup(Options),
    ok = logger:set_primary_config(level, Level),
    case Result of
        {ok, Sup} -> ready(in_url(Host), Sup);
        {error, {shutdown, {failed_to_start_child, _, Reason}}} -> fail(sentence(Reason, Host, Port));
        {error, Reason} -> fail(sentence(Reason, Host, Port))
    end.

%% The caller is a process of init that is about to end; the supervisor must outlive it.
-spec sup(map()) -> {ok, pid()} | {error, term()}.
sup(Options) ->
    Trap = process_flag(trap_exit, true),
    Result = erlpy_sup:start_link(Options),
    case Result of
        {ok, Sup} -> unlink(Sup);
        {error, _} -> ok
    end,
    process_flag(trap_exit, Trap),
    Result.

-spec in_url(string()) -> string().
in_url(Host) ->
    case lists:member($:, Host) of
        true -> "[" ++ Host ++ "]";
        false -> Host
    end.

-spec ready(string(), pid()) -> ok.
ready(Host, Sup) ->
    [{_, Server, _, _}] = supervisor:which_children(Sup),
    {ok, #{port := Port}} = sockeye:info(Server),
    io:format("erlpy listens on ws://~s:~b~n", [Host, Port]),
    io:format("A page to talk to it: http://~s:~b/~n", [Host, Port]),
    io:format("What it does, live: http://~s:~b/_sockeye~n", [Host, Port]),
    io:format("To reach every client: sockeye:send_message(~b, #{type => <<\"notification\">>, "
              "message => <<\"Hello!\">>}).~n", [Port]).

-spec sentence(term(), string(), inet:port_number()) -> iodata().
sentence(eaddrinuse, Host, Port) ->
    io_lib:format("port ~b on ~s is in use; stop the program that has it, or choose another with "
                  "--port.", [Port, Host]);
sentence(eacces, Host, Port) ->
    io_lib:format("port ~b on ~s needs more rights than you have; choose one above 1023 with "
                  "--port.", [Port, Host]);
sentence(eaddrnotavail, Host, _Port) ->
    io_lib:format("~s is not an address of this machine; choose another with --host.", [Host]);
sentence(Reason, Host, Port) ->
    io_lib:format("the server did not start on ~s:~b: ~0p.", [Host, Port, Reason]).

-spec fail(iodata()) -> no_return().
fail(Sentence) ->
    io:format(standard_error, "erlpy: ~ts~n", [Sentence]),
    halt(1).
