defmodule Money do
  defstruct [:amount, :currency]

  defimpl Sockeye.JSON do
    def to_json(money), do: "#{money.amount} #{money.currency}"
  end
end

defmodule User do
  @derive {Sockeye.JSON, only: [:name, :born, :paid]}
  defstruct [:name, :born, :paid, :password]
end

defmodule Everything do
  @derive Sockeye.JSON
  defstruct a: 1, b: nil
end

defmodule Most do
  @derive {Sockeye.JSON, except: [:secret]}
  defstruct a: 1, secret: 2
end

defmodule Secret do
  defstruct [:a]
end

# What the library of that name has of it.
defmodule Decimal do
  defstruct [:text]
  def to_string(decimal), do: decimal.text
end

defmodule SockeyeTest.Room do
  use Sockeye.Handler

  @impl true
  def handle_open(_info, conn, state), do: {[{:subscribe, conn, "room"}], state}

  @impl true
  def handle_frame({:json, %{"say" => text}}, _conn, state) do
    {[{:publish, "room", %{said: text, on: ~D[2001-02-03]}}], state}
  end

  def handle_frame({:json, %{"from" => from}}, _conn, state) do
    {[{:reply, %User{name: from, paid: %Money{amount: 1, currency: "EUR"}}}], state}
  end

  def handle_frame({:json, term}, _conn, state), do: {[{:reply, {:json, [term, state]}}], state}
end

defmodule Counting do
  use Sockeye.Handler

  @impl true
  def init(first), do: {:ok, first + 1}

  @impl true
  def handle_frame(_frame, _conn, state), do: {[{:reply, {:json, state}}], state + 1}
end

defmodule SockeyeTest do
  use ExUnit.Case, async: true
  doctest Sockeye

  alias Sockeye.Client

  defp start(options) do
    pid = start_supervised!({Sockeye, [port: 0] ++ options})
    {:ok, %{port: port}} = Sockeye.info(pid)
    {pid, "ws://127.0.0.1:#{port}/"}
  end

  defp connected(url) do
    {:ok, conn} = Client.connect(url)
    conn
  end

  test "a server is a child, and a handler a module" do
    {server, url} = start(handler: {SockeyeTest.Room, :argument})
    conn = connected(url)
    :ok = Client.send(conn, %{say: "Hello!"})
    assert {:ok, {:json, %{"said" => "Hello!", "on" => "2001-02-03"}}} = Client.recv(conn, 5000)
    :ok = Client.send(conn, %{from: "Ann"})

    assert {:ok, {:json, %{"name" => "Ann", "born" => nil, "paid" => "1 EUR"}}} ==
             Client.recv(conn, 5000)

    :ok = Client.send(conn, {:json, nil})
    assert {:ok, {:json, [nil, "argument"]}} == Client.recv(conn, 5000)
    assert {:ok, [_]} = Sockeye.connections(server)
    :ok = Client.close(conn)
  end

  test "a handler may have an init/1 of its own" do
    {_, url} = start(handler: {Counting, 6})
    conn = connected(url)
    for _ <- [7, 8], do: :ok = Client.send(conn, %{})
    assert {:ok, {:json, 7}} == Client.recv(conn, 5000)
    assert {:ok, {:json, 8}} == Client.recv(conn, 5000)
  end

  test "frames to one, some and all" do
    {server, url} = start(handler: self(), name: :frames_to_all)
    client = connected(url)
    assert_receive {:sockeye, conn, {:open, %{path: "/"}}}, 5000
    :ok = Sockeye.subscribe(conn, "t")

    for send <- [
          fn -> Sockeye.send(conn, %{day: ~D[2001-02-03]}) end,
          fn -> Sockeye.send([conn], %{day: ~D[2001-02-03]}) end,
          fn -> Sockeye.broadcast(:frames_to_all, %{day: ~D[2001-02-03]}) end,
          fn -> Sockeye.publish(server, "t", %{day: ~D[2001-02-03]}) end
        ] do
      assert :ok == send.()
      assert {:ok, {:json, %{"day" => "2001-02-03"}}} == Client.recv(client, 5000)
    end

    assert {:ok, %{sent: 1, dropped: 0}} == Sockeye.broadcast(server, %{}, wait: true)
    assert {:ok, %{sent: 0, dropped: 0}} == Sockeye.publish_from(conn, "t", %{}, wait: true)
    assert {:ok, %{sent: 0, dropped: 0}} == Sockeye.broadcast_from(conn, %{}, wait: true)
    assert {:error, {:not_json, pid, "$.pid"}} = Sockeye.send(conn, %{pid: self()})
    assert pid == self()
    :ok = Sockeye.unsubscribe(conn, "t")
    :ok = Sockeye.setopts(conn, active: 10)
    assert {:ok, %{path: "/"}} = Sockeye.info(conn)
    :ok = Sockeye.close(conn, 4000, "bye")
    assert {:ok, {:json, %{}}} = Client.recv(client, 5000)
    assert {:error, {:closed, 4000, "bye"}} == Client.recv(client, 5000)
    assert {:ok, %{}} = Sockeye.drain(server, deadline: 1000)
  end

  test "a client is a child" do
    {_, url} = start(handler: {SockeyeTest.Room, :argument})

    spec = {Client, url: url, handler: self(), name: :a_client, reconnect: [max_interval: 1000]}
    pid = start_supervised!(spec)
    assert_receive {:sockeye, _conn, {:open, _}}, 5000
    assert {:ok, %{url: ^url}} = Client.info(pid)
    :ok = Client.send(:a_client, {:json, %Money{amount: 2, currency: "CHF"}})
    assert_receive {:sockeye, _, {:json, ["2 CHF", "argument"]}}, 5000

    assert_raise ArgumentError, ~r/needs the option :url/, fn ->
      Client.child_spec(handler: self())
    end
  end

  test "the shell's functions, and topics" do
    {server, url} = start(handler: {SockeyeTest.Room, :argument}, dashboard: [path: "/_watch"])
    {:ok, _} = Client.connect(url)
    {:ok, [conn]} = Sockeye.connections(server)
    :ok = Sockeye.subscribe(conn, "a topic")
    assert {:ok, %{"a topic" => 1}} = Sockeye.topics(server)
    assert {:ok, [^conn]} = Sockeye.subscribers(server, "a topic")
    shown = ExUnit.CaptureIO.capture_io(fn -> :ok = Sockeye.i(server) end)
    assert shown =~ "SockeyeTest.Room"
    refute shown =~ "Elixir.SockeyeTest.Room"
    assert :ok = Sockeye.trace(conn, rate: 1, to: self())
    assert :ok = Sockeye.trace(conn, :off)
  end

  test "wrong options are told of" do
    assert {:error, {:bad_option, :prt, "unknown option; did you mean port?"}} ==
             Sockeye.start_link(prt: 1)

    assert {:error, {:bad_option, :tls, _}} = Sockeye.start_link(port: 0, tls: [certfile: "none"])
    assert_raise ErlangError, fn -> Sockeye.child_spec(port: 0) end
  end

  test "the protocol" do
    {:ok, offset} = DateTime.from_naive(~N[2001-02-03 04:05:06], "Etc/UTC")

    for {term, text} <- [
          {~D[2001-02-03], ~S("2001-02-03")},
          {~T[04:05:06.5], ~S("04:05:06.5")},
          {~N[2001-02-03 04:05:06], ~S("2001-02-03T04:05:06")},
          {offset, ~S("2001-02-03T04:05:06Z")},
          {%Decimal{text: "1.10"}, ~S("1.10")},
          {%User{name: "Ann", born: ~D[2001-02-03], password: "x"},
           ~S({"born":"2001-02-03","name":"Ann","paid":null})},
          {%Everything{}, ~S({"a":1,"b":null})},
          {%Most{}, ~S({"a":1})},
          {[%{~D[2001-02-03] => %Money{amount: 1, currency: "EUR"}}],
           ~S([{"2001-02-03":"1 EUR"}])}
        ] do
      {:ok, json} = Sockeye.encode(term)
      # The order of keys is the VM's.
      assert Sockeye.decode(text) == Sockeye.decode(json)
    end

    assert {:error, {:not_json, {:struct, Secret}, "$.a[1]"}} ==
             Sockeye.encode(%{a: [%Most{}, %Secret{}]})

    assert {:ok, %{"a" => [nil]}} == Sockeye.decode(~S({"a":[null]}))

    assert_raise ArgumentError, ~r/has no field :nme/, fn ->
      Code.eval_string(
        "defmodule Wrong do\n@derive {Sockeye.JSON, only: [:nme]}\ndefstruct [:name]\nend"
      )
    end
  end

  test "h has something to show" do
    for module <- [Sockeye, Sockeye.Handler, Sockeye.Client, Sockeye.JSON] do
      assert {:docs_v1, _, :elixir, _, %{"en" => _}, _, _} = Code.fetch_docs(module)
    end

    # Of Erlang's, too.
    assert {:docs_v1, _, :erlang, _, %{"en" => _}, _, _} = Code.fetch_docs(:sockeye)
  end
end
