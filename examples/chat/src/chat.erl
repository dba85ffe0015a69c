%% Starts the chat: under a supervisor with chat:child_spec/1, or from the command line, where
%% run_chat.sh says host, port and page in the environment.
-module(chat).

-export([child_spec/1]).
-export([options/1]).
-export([main/0]).

-spec child_spec(map()) -> supervisor:child_spec().
child_spec(Options) ->
    sockeye:child_spec(options(Options)).

%% `page', a file, and whatever the caller wants otherwise.
-spec options(map()) -> map().
options(#{page := Page} = Options) ->
    maps:merge(#{name => chat,
                 scope => cluster,
                 handler => {chat_handler, maps:get(name, Options, chat)},
                 http => #{"/" => {file, Page}},
                 paths => [<<"/chat">>],
                 origins => [same_host],
                 max_message_size => 8192,
                 message_rate => #{rate => 5, burst => 20, action => close}},
               maps:remove(page, Options)).

-spec main() -> ok.
main() ->
    {ok, _} = application:ensure_all_started(sockeye),
    {ok, Ip} = inet:getaddr(os:getenv("CHAT_HOST", "127.0.0.1"), inet),
    Port = list_to_integer(os:getenv("CHAT_PORT", "8080")),
    meet(os:getenv("CHAT_JOIN", "")),
    Self = self(),
    %% The caller is a process of init that is about to end.
    Pid = spawn(fun() -> serve(Self, options(#{page => os:getenv("CHAT_PAGE"), ip => Ip, port => Port})) end),
    Monitor = monitor(process, Pid),
    receive
        {Pid, At} ->
            io:format("chat listens on ~ts~n", [At]);
        {'DOWN', Monitor, process, Pid, Why} ->
            io:format(standard_error, "The chat did not start: ~0p~n", [Why]),
            erlang:halt(1)
    end.

-spec serve(pid(), map()) -> ok.
serve(Parent, Options) ->
    process_flag(trap_exit, true),
    case sockeye:start_link(Options) of
        {ok, Server} ->
            {ok, #{ip := Ip, port := Port}} = sockeye:info(Server),
            Parent ! {self(), io_lib:format("http://~ts:~b/", [inet:ntoa(Ip), Port])},
            receive {'EXIT', Server, Reason} -> exit(Reason) end;
        {error, Why} ->
            exit(Why)
    end.

-spec meet(string()) -> ok.
meet("") ->
    ok;
meet(Node) ->
    case net_kernel:connect_node(list_to_atom(Node)) of
        true -> ok;
        _ -> io:format(standard_error, "The node ~ts does not answer.~n", [Node])
    end.
