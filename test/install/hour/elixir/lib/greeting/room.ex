defmodule Greeting.Room do
  @moduledoc false
  use Sockeye.Handler

  @impl true
  def handle_frame({:json, %{"say" => text}}, _conn, state), do: {[{:broadcast_from, %{said: text}}], state}
  def handle_frame(_frame, _conn, state), do: {[{:close, 1008, "say something"}], state}
end
