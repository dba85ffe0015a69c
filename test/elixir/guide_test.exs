defmodule GuideTest do
  use ExUnit.Case, async: true

  # In their order. What a page says comes out is matched in it.
  for {page, least} <- [
        {"README.md", 1},
        {"erlang/guide/elixir.md", 4},
        {"erlang/guide/coming-from.md", 4}
      ] do
    test "each block of #{page} runs" do
      blocks =
        Regex.scan(~r/^```elixir (\S+)\n(.*?)^```$/ms, File.read!(unquote(page)),
          capture: :all_but_first
        )

      assert length(blocks) >= unquote(least)
      ports = for port <- ["4000", "4001"], into: %{}, do: {port, free_port()}
      for [name, text] <- blocks, do: run(name, String.replace(text, Map.keys(ports), &ports[&1]))
      for [name, _] <- blocks, do: theirs(name)
    end
  end

  # Libraries that no place of packages has from which tests may fetch: SOCKEYE_THEIRS names a folder of them.
  defp run("theirs/" <> _ = name, text) do
    quoted = Code.string_to_quoted!(text, file: name)
    if is_here(name), do: Code.eval_quoted(quoted, [], file: name)
  end

  defp run(name, text), do: Code.eval_string(text, [], file: name)

  # With the server of the page, which still runs.
  defp theirs("theirs/adder.ex" = name) do
    if is_here(name) do
      {:ok, pid} = apply(Theirs.Adder, :start_link, [self()])
      :ok = apply(Theirs.Adder, :add, [pid, 2])
      assert_receive %{"total" => 2}, 5000
      :ok = apply(Theirs.Adder, :add, [pid, 3])
      assert_receive %{"total" => 5}, 5000
    else
      IO.puts("left out: the program of websockex: SOCKEYE_THEIRS names no folder that has it")
    end
  end

  defp theirs(_), do: :ok

  defp is_here("theirs/adder.ex"),
    do: Code.ensure_loaded?(WebSockex) and Code.ensure_loaded?(Jason)

  defp is_here(_), do: false

  defp free_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :ok = :gen_tcp.close(socket)
    Integer.to_string(port)
  end
end
