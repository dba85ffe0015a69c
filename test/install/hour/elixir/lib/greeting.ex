defmodule Greeting do
  @moduledoc "What Bob hears when Ann says something."

  def hear(text \\ "world") do
    {:ok, _} = Application.ensure_all_started(:sockeye)
    {:ok, server} = Sockeye.start_link(port: 0, handler: {Greeting.Room, []})
    {:ok, %{port: port}} = Sockeye.info(server)
    {:ok, ann} = Sockeye.Client.connect("ws://127.0.0.1:#{port}/")
    {:ok, bob} = Sockeye.Client.connect("ws://127.0.0.1:#{port}/")
    :ok = Sockeye.Client.send(ann, %{say: text})
    {:ok, {:json, %{"said" => heard}}} = Sockeye.Client.recv(bob, 5000)
    :ok = Sockeye.stop(server)
    heard
  end
end
