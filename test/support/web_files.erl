%% A directory to serve: a page, a large file, secrets beside and within it, and links.
-module(web_files).

-export([with_files/1]).
-export([with_dir/1]).
-export([with_dir/2]).
-export([large/0]).

-import(test_support, [with_server/2]).

with_files(Test) ->
    Base = filename:join(os:getenv("TMPDIR", "/tmp"),
                         "sockeye_http_" ++ integer_to_list(erlang:unique_integer([positive]))
                         ++ "_" ++ os:getpid()),
    Dir = filename:join(Base, "www"),
    Write = fun(Name, Bytes) ->
        File = filename:join(Base, Name),
        ok = filelib:ensure_dir(File),
        ok = file:write_file(File, Bytes)
    end,
    Write("secret.txt", "secret"),
    Write("wwwx/secret.txt", "secret"),
    Write("www/index.html", "<p>index"),
    Write("www/app.js", "run()"),
    Write("www/ten.txt", "0123456789"),
    Write("www/empty.txt", ""),
    Write("www/sub/index.html", "<p>sub"),
    Write("www/sub/a b.css", "p{}"),
    Write("www/bare/x.bin", <<0, 1, 2>>),
    Write("www/.env", "secret"),
    Write("www/.git/config", "secret"),
    Write("www/.well-known/x.txt", "known"),
    Write("www/large.bin", large()),
    Link = fun(To, Name) -> ok = file:make_symlink(To, filename:join(Dir, Name)) end,
    Link("../secret.txt", "out.txt"),
    Link("..", "up"),
    Link("ten.txt", "in.txt"),
    Link("/etc", "etc"),
    Link("app.js", "script.css"),
    Link("circle", "circle"),
    Link("round", "about"),
    Link("about", "round"),
    try Test(Dir)
    after
        ok = file:del_dir_r(Base)
    end.

large() ->
    binary:copy(<<"0123456789abcdef">>, 20000).

with_dir(Test) -> with_dir(#{}, Test).

with_dir(Options, Test) ->
    with_files(fun(Dir) ->
        with_server(Options#{http => #{"/" => {dir, Dir}}}, fun(Port, _) -> Test(Port, Dir) end)
    end).
