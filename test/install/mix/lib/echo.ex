defmodule Echo do
  @moduledoc "What a user's Elixir application looks like."
  use Application

  @impl true
  def start(_type, _args) do
    options = %{port: 0, handler: {Echo.Handler, nil}}
    {:ok, sup} = Supervisor.start_link([:sockeye.child_spec(options)], strategy: :one_for_one)
    [{_, server, _, _}] = Supervisor.which_children(sup)
    {:ok, %{port: port}} = :sockeye.info(server)
    IO.puts("port #{port}")
    {:ok, sup}
  end

  @impl true
  def stop(_state), do: IO.puts("stopped")
end

defmodule Echo.Handler do
  @moduledoc false
  @behaviour :sockeye_handler

  @impl true
  def init(nil), do: {:ok, nil}

  @impl true
  def handle_frame({:json, term}, _conn, state), do: {[{:reply, {:json, term}}], state}
end
