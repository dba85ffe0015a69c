defmodule Sockeye.MixProject do
  use Mix.Project

  # What rebar3 reads is said there, once.
  {:ok, [{:application, :sockeye, app}]} =
    :file.consult(Path.join(__DIR__, "erlang/sockeye.app.src"))

  @app app

  def project do
    [
      app: :sockeye,
      version: to_string(@app[:vsn]),
      description: to_string(@app[:description]),
      elixir: "~> 1.14",
      compilers: [:sockeye_native] ++ Mix.compilers() ++ [:sockeye_manual],
      erlc_paths: ["erlang/src"],
      elixirc_paths: ["erlang/elixir"],
      test_paths: ["test/elixir"],
      # Beside rebar3's, when this is the project.
      build_path: "_build/mix",
      # Tests have structs of their own.
      consolidate_protocols: Mix.env() != :test,
      deps: []
    ]
  end

  def application do
    [mod: @app[:mod], registered: @app[:registered], env: @app[:env]]
  end
end

defmodule Mix.Tasks.Compile.SockeyeNative do
  @moduledoc false
  use Mix.Task.Compiler

  # Like rebar3's hook before it compiles.
  @impl true
  def run(_args), do: run_script("native/build_nif.escript")

  def run_script(script) do
    app_path = Mix.Project.app_path()
    File.mkdir_p!(app_path)
    env = [{"REBAR_BARE_COMPILER_OUTPUT_DIR", app_path}]

    case System.cmd("escript", [script], into: IO.stream(), stderr_to_stdout: true, env: env) do
      {_, 0} ->
        # It has a link to priv, which may be new.
        Mix.Project.build_structure()
        :ok

      {_, _} ->
        :error
    end
  end
end

defmodule Mix.Tasks.Compile.SockeyeManual do
  @moduledoc false
  use Mix.Task.Compiler

  @impl true
  def run(_args), do: Mix.Tasks.Compile.SockeyeNative.run_script("erlang/doc_chunks.escript")
end
