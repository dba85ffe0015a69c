defmodule GuideTest do
  use ExUnit.Case, async: true

  # In their order. What a page says comes out is matched in it.
  for page <- ["erlang/guide/elixir.md", "erlang/guide/coming-from.md"] do
    test "each block of #{page} runs" do
      blocks =
        Regex.scan(~r/^```elixir (\S+)\n(.*?)^```$/ms, File.read!(unquote(page)),
          capture: :all_but_first
        )

      assert length(blocks) > 3
      ports = for port <- ["4000", "4001"], into: %{}, do: {port, free_port()}
      for [name, text] <- blocks, do: run(name, String.replace(text, Map.keys(ports), &ports[&1]))
    end
  end

  # A program for a library that is not here.
  defp run("theirs/" <> _ = name, text), do: Code.string_to_quoted!(text, file: name)
  defp run(name, text), do: Code.eval_string(text, [], file: name)

  defp free_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :ok = :gen_tcp.close(socket)
    Integer.to_string(port)
  end
end
