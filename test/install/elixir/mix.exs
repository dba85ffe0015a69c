defmodule Echo.MixProject do
  use Mix.Project

  def project, do: [app: :echo, version: "1.0.0", deps: deps()]
  def application, do: [mod: {Echo, []}]

  defp deps do
    [{:sockeye, git: System.fetch_env!("SOCKEYE_GIT"), ref: System.fetch_env!("SOCKEYE_REF")}]
  end
end
