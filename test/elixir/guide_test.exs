defmodule GuideTest do
  use ExUnit.Case, async: true

  @page "erlang/guide/elixir.md"

  # In their order. What the page says comes out is matched in it.
  test "each block of the page runs" do
    blocks =
      Regex.scan(~r/^```elixir (\S+)\n(.*?)^```$/ms, File.read!(@page), capture: :all_but_first)

    assert length(blocks) > 3

    for [name, text] <- blocks do
      port = Integer.to_string(free_port())
      Process.put(:port, Process.get(:port, port))
      Code.eval_string(String.replace(text, "4000", Process.get(:port)), [], file: name)
    end
  end

  defp free_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :ok = :gen_tcp.close(socket)
    port
  end
end
