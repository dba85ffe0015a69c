defmodule Echo do
  @moduledoc "What a user's Elixir application looks like."
  use Application

  @impl true
  def start(_type, _args) do
    children = [{Sockeye, port: 0, handler: {Echo.Handler, nil}}]
    {:ok, sup} = Supervisor.start_link(children, strategy: :one_for_one)
    [{_, server, _, _}] = Supervisor.which_children(sup)
    {:ok, %{port: port}} = Sockeye.info(server)
    IO.puts("port #{port}")
    {:ok, sup}
  end

  @impl true
  def stop(_state), do: IO.puts("stopped")
end

defmodule Echo.Handler do
  @moduledoc false
  use Sockeye.Handler

  @impl true
  def handle_frame({:json, term}, _conn, state), do: {[{:reply, {:json, term}}], state}
end
