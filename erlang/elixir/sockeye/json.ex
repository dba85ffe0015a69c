defprotocol Sockeye.JSON do
  @moduledoc ~S"""
  What is written for a term that JSON does not know: a struct, a tuple, a pid.

      defimpl Sockeye.JSON, for: Money do
        def to_json(money), do: %{amount: money.amount, currency: money.currency}
      end

  The answer may have such terms in it again. A struct that is to be an object of some of its fields, or all, derives the protocol:

      @derive {Sockeye.JSON, only: [:name, :born]}
      defstruct [:name, :born, :password]

  (`except: [...]`, or `@derive Sockeye.JSON` for all.) There is an implementation for `Date`, `Time`, `NaiveDateTime` and `DateTime` (ISO 8601). A
  `Decimal` is a string, unless you implement it. Another term without one is not JSON: `{:error, {:not_json, part, path}}`.
  """

  @doc "A term that is written in the place of this one."
  @spec to_json(t) :: term()
  def to_json(term)
end

defimpl Sockeye.JSON, for: Any do
  defmacro __deriving__(module, struct, options) do
    fields = struct |> Map.keys() |> List.delete(:__struct__)

    for key <- Keyword.get(options, :only, []) ++ Keyword.get(options, :except, []),
        key not in fields do
      raise ArgumentError, "#{inspect(module)} has no field #{inspect(key)}"
    end

    kept = Keyword.get(options, :only, fields) -- Keyword.get(options, :except, [])

    quote do
      defimpl Sockeye.JSON, for: unquote(module) do
        def to_json(struct), do: Map.take(struct, unquote(kept))
      end
    end
  end

  def to_json(term), do: term
end

defimpl Sockeye.JSON, for: [Date, Time, NaiveDateTime, DateTime] do
  def to_json(time), do: @for.to_iso8601(time)
end
