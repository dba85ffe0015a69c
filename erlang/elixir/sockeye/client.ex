defmodule Sockeye.Client do
  @moduledoc """
  WebSocket clients, from Elixir.

      children = [{Sockeye.Client, url: "wss://example.com/feed", handler: {Feed, []}, reconnect: true}]

  starts a client under a supervisor; `Feed` is a module that has `use Sockeye.Handler`. Options are those of `:sockeye_client.start_link/3`
  (`h :sockeye_client`), with the defaults that `Sockeye` has for JSON.

  Without a process of its own, a connection is used like a socket:

      {:ok, conn} = Sockeye.Client.connect("ws://127.0.0.1:4000/")
      :ok = Sockeye.Client.send(conn, %{hello: "world"})
      {:ok, {:json, answer}} = Sockeye.Client.recv(conn)
      :ok = Sockeye.Client.close(conn)
  """

  import Kernel, except: [send: 2]

  @typedoc "A client: its pid or name."
  @type client :: pid() | atom()

  @doc "The child specification of a client. The options `:url` and `:handler` must be there."
  @spec child_spec(Sockeye.options()) :: :supervisor.child_spec()
  def child_spec(options) do
    {url, handler, options} = parts(options)
    :sockeye_client.child_spec(url, handler, options)
  end

  @doc "Starts a client that is linked to the caller, who gets its events as messages unless there is a `:handler`."
  @spec start_link(Sockeye.options()) :: {:ok, pid()} | {:error, term()}
  def start_link(options) do
    {url, handler, options} = parts(options)
    :sockeye_client.start_link(url, handler, options)
  end

  @doc "Connects, for `send/2`, `recv/2` and `close/3`, which the same process must call."
  @spec connect(String.t(), Sockeye.options()) :: {:ok, Sockeye.conn()} | {:error, term()}
  def connect(url, options \\ []), do: :sockeye_client.connect(url, Sockeye.to_options(options))

  @doc "Sends a frame, or several, over a connection, or over the one that a client has at the moment."
  @spec send(Sockeye.conn() | client(), Sockeye.frame() | [Sockeye.frame()]) ::
          :ok | {:error, term()}
  defdelegate send(client, frame), to: :sockeye_client

  @doc "Waits for the next frame of a connection made with `connect/2`, so many milliseconds or `:infinity`."
  @spec recv(Sockeye.conn(), timeout()) :: {:ok, :sockeye.event()} | {:error, term()}
  def recv(conn, timeout \\ :infinity), do: :sockeye_client.recv(conn, timeout)

  @doc "Closes a connection made with `connect/2`, and returns when it is closed."
  @spec close(Sockeye.conn(), :sockeye.close_code(), iodata()) :: :ok | {:error, :closed}
  def close(conn, code \\ 1000, reason \\ ""), do: :sockeye_client.close(conn, code, reason)

  @doc "Stops a client."
  @spec stop(client()) :: :ok | {:error, :not_found}
  defdelegate stop(client), to: :sockeye_client

  @doc "What there is to know of a client."
  @spec info(client()) :: {:ok, map()} | {:error, :not_found}
  defdelegate info(client), to: :sockeye_client

  defp parts(options) do
    {url, options} = options |> Map.new() |> Map.pop(:url)
    url || raise ArgumentError, "a client needs the option :url"
    {handler, options} = Map.pop(options, :handler, self())
    {url, handler, Sockeye.to_options(options)}
  end
end
