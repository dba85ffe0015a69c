defmodule Sockeye do
  @moduledoc """
  WebSocket servers, from Elixir.

      children = [{Sockeye, port: 4000, handler: {Room, []}}]

  starts a server under a supervisor, and `Room` is a module that has `use Sockeye.Handler`. Options are a keyword list or a map: those of
  `:sockeye.start_link/1` (`h :sockeye`), with these defaults of their own: `nil` is JSON's null, and terms that JSON does not know are written as
  the protocol `Sockeye.JSON` says: dates and times, decimals, and your structs. Options that are maps, as `tls`, `deflate`, `message_rate`,
  `connection_rate`, `dashboard` and `reconnect`, may be keyword lists too.

  A frame is a map, which is sent as JSON, or `{:json, term}`, `{:text, iodata}`, `{:binary, iodata}`, `{:ping, iodata}`, `{:close, code, reason}`.
  A connection is an opaque term, `conn`. Everything here is in the module `:sockeye` as well, with more options; errors are tuples, with the
  reasons that it documents.
  """

  @typedoc "A connection."
  @type conn :: :sockeye.conn()
  @typedoc "A server: its pid, its port or its name."
  @type server :: :sockeye.server()
  @typedoc "What can be sent."
  @type frame :: :sockeye.frame()
  @typedoc "Options, as a keyword list or a map."
  @type options :: keyword() | map()

  import Kernel, except: [send: 2]

  @doc """
  The child specification of a server, for `{Sockeye, options}` under a supervisor. Raises when an option is wrong, and without `:handler`.
  """
  @spec child_spec(options()) :: :supervisor.child_spec()
  def child_spec(options), do: :sockeye.child_spec(to_options(options))

  @doc """
  Starts a server that is linked to the caller. Without `:handler` the caller gets messages `{:sockeye, conn, event}`.

      iex> {:ok, server} = Sockeye.start_link(port: 0)
      iex> Sockeye.stop(server)
      :ok
  """
  @spec start_link(options()) :: {:ok, pid()} | {:error, term()}
  def start_link(options \\ []), do: :sockeye.start_link(to_options(options))

  @doc "Stops a server, and returns when its port is free."
  @spec stop(server()) :: :ok | {:error, :not_found}
  defdelegate stop(server), to: :sockeye

  @doc "Ends a server slowly, some connections at a time; see `:sockeye.drain/2`."
  @spec drain(server(), options()) :: {:ok, map()} | {:error, term()}
  def drain(server, options \\ []), do: :sockeye.drain(server, Map.new(options))

  @doc "Sends a frame, or several in this order, to a connection; or one frame to a list of connections."
  @spec send(conn() | [conn()], frame() | [frame()]) :: :ok | {:error, term()}
  defdelegate send(conn, frame), to: :sockeye

  @doc "Sends a frame to every client of a server."
  @spec broadcast(server(), frame(), options()) :: :ok | {:ok, map()} | {:error, term()}
  def broadcast(server, frame, options \\ []),
    do: :sockeye.broadcast(server, frame, Map.new(options))

  @doc "Sends a frame to every client of a server but this one."
  @spec broadcast_from(conn(), frame(), options()) :: :ok | {:ok, map()} | {:error, term()}
  def broadcast_from(conn, frame, options \\ []),
    do: :sockeye.broadcast_from(conn, frame, Map.new(options))

  @doc "Sends a frame to the subscribers of a topic."
  @spec publish(server(), String.t(), frame(), options()) :: :ok | {:ok, map()} | {:error, term()}
  def publish(server, topic, frame, options \\ []),
    do: :sockeye.publish(server, topic, frame, Map.new(options))

  @doc "Sends a frame to the subscribers of a topic but this connection."
  @spec publish_from(conn(), String.t(), frame(), options()) ::
          :ok | {:ok, map()} | {:error, term()}
  def publish_from(conn, topic, frame, options \\ []),
    do: :sockeye.publish_from(conn, topic, frame, Map.new(options))

  @doc "Subscribes a connection to a topic, which may end with `*`."
  @spec subscribe(conn(), String.t()) :: :ok | {:error, term()}
  defdelegate subscribe(conn, topic), to: :sockeye

  @doc "Ends a subscription."
  @spec unsubscribe(conn(), String.t()) :: :ok | {:error, :closed}
  defdelegate unsubscribe(conn, topic), to: :sockeye

  @doc "Closes a connection with a Close frame, behind what is queued."
  @spec close(conn(), :sockeye.close_code(), iodata()) :: :ok | {:error, :closed}
  def close(conn, code \\ 1000, reason \\ ""), do: :sockeye.close(conn, code, reason)

  @doc "Changes options of a connection, as `active: 10`; see `:sockeye.setopts/2`."
  @spec setopts(conn(), keyword()) :: :ok | {:error, :closed}
  defdelegate setopts(conn, options), to: :sockeye

  @doc "What there is to know of the engine."
  @spec info() :: {:ok, map()} | {:error, :not_running}
  defdelegate info(), to: :sockeye

  @doc "What there is to know of a server or a connection."
  @spec info(server() | conn()) :: {:ok, map()} | {:error, term()}
  defdelegate info(server_or_conn), to: :sockeye

  @doc "The open connections of a server."
  @spec connections(server()) :: {:ok, [conn()]} | {:error, term()}
  defdelegate connections(server), to: :sockeye

  @doc "The connections of a server that subscribe to a topic."
  @spec subscribers(server(), String.t()) :: {:ok, [conn()]} | {:error, term()}
  defdelegate subscribers(server, topic), to: :sockeye

  @doc "The topics of a server, each with the number of its subscribers."
  @spec topics(server()) :: {:ok, %{String.t() => pos_integer()}} | {:error, term()}
  defdelegate topics(server), to: :sockeye

  @doc "Prints servers and connections, for the shell; see `:sockeye.i/0`."
  @spec i() :: :ok
  defdelegate i(), to: :sockeye

  @doc "Prints a server and its connections, for the shell; see `:sockeye.i/1`."
  @spec i(server()) :: :ok | {:error, :not_found}
  defdelegate i(server), to: :sockeye

  @doc "Shows the frames of a connection in the log: `:on`, `:off`, or options as `rate: 10`; see `:sockeye.trace/2`."
  @spec trace(conn(), :on | :off | options()) :: :ok | {:error, term()}
  def trace(conn, options) when is_list(options), do: :sockeye.trace(conn, Map.new(options))
  def trace(conn, how), do: :sockeye.trace(conn, how)

  @doc """
  The sentence of an error, with what can be done: of `{:error, reason}`, or of the reason alone.

      iex> {:error, reason} = Sockeye.start_link(prt: 4000)
      iex> Sockeye.format_error(reason)
      "option prt: unknown option; did you mean port?"

  """
  @spec format_error(term()) :: String.t()
  def format_error(reason), do: reason |> :sockeye.format_error() |> List.to_string()

  @doc ~S"""
  The JSON text of a term, as a server writes it; options as `:sockeye_json.encode/2`.

      iex> Sockeye.encode(%{days: [~D[2001-02-03], nil]})
      {:ok, ~S({"days":["2001-02-03",null]})}
      iex> {:error, {:not_json, {1, 2}, path}} = Sockeye.encode(%{list: [0, {1, 2}]})
      iex> path
      "$.list[1]"
  """
  @spec encode(term(), options()) :: {:ok, binary()} | {:error, term()}
  def encode(term, options \\ []),
    do: :sockeye_json.encode(term, Map.merge(json(), Map.new(options)))

  @doc ~S"""
  The term of a JSON text, as a server reads it; options as `:sockeye_json.decode/2`.

      iex> Sockeye.decode(~S({"id": null}), keys: {:atoms, [:id]})
      {:ok, %{id: nil}}
  """
  @spec decode(iodata(), options()) :: {:ok, term()} | {:error, term()}
  def decode(text, options \\ []),
    do: :sockeye_json.decode(text, Map.merge(%{null: nil}, Map.new(options)))

  @doc "The encoder that servers and clients have here: what `Sockeye.JSON` makes of a term, or the term, if nobody has said what that is."
  @spec to_json(term()) :: term()
  def to_json(term) do
    case Sockeye.JSON.impl_for(term) do
      nil -> without_impl(term)
      impl -> impl.to_json(term)
    end
  end

  # An implementation for a module that may not be there is a warning in every project. Who has such a term has the module.
  defp without_impl(%{__struct__: Decimal} = decimal), do: apply(Decimal, :to_string, [decimal])
  defp without_impl(term), do: term

  # Keys whose value is a map.
  @maps [:tls, :deflate, :message_rate, :connection_rate, :dashboard, :reconnect]

  @doc false
  @spec to_options(options()) :: map()
  def to_options(options) do
    Map.merge(json(), Map.new(options, &to_option/1))
  end

  defp to_option({key, [{_, _} | _] = value}) when key in @maps, do: {key, Map.new(value)}
  defp to_option(option), do: option

  defp json, do: %{null: nil, encoder: &__MODULE__.to_json/1}
end
