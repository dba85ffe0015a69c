defmodule Sockeye.Handler do
  @moduledoc ~S"""
  The module of a server, or of a client.

      defmodule Room do
        use Sockeye.Handler

        @impl true
        def handle_open(_info, conn, state), do: {[{:subscribe, conn, "room"}], state}

        @impl true
        def handle_frame({:json, %{"say" => text}}, _conn, state), do: {[{:publish, "room", %{said: text}}], state}
        def handle_frame(_frame, _conn, state), do: {[{:close, 1008, "say something"}], state}
      end

  `use Sockeye.Handler` makes the module a `:sockeye_handler` (`h :sockeye_handler`) and gives it an `init/1` that takes the argument of
  `handler: {Room, argument}` as the state. Only `handle_frame/3` has to be written. The callbacks:

    * `accept(request, argument)` decides about a handshake: `{:accept, options}` or `{:reject, status, headers, body}`;
    * `init(argument)` returns `{:ok, state}` or `{:stop, reason}`;
    * `handle_open(info, conn, state)`, `handle_frame(frame, conn, state)`, `handle_close(code, reason, conn, state)`;
    * `handle_info(message, state)`, `handle_call(request, from, state)`, `handle_cast(request, state)`;
    * `handle_error({command, reason}, conn, state)`, `handle_down(reason, state)` of a client, `terminate(reason, state)`.

  Those that return a result return `{commands, state}`, `{commands, state, :hibernate}` or `{:stop, reason, state}`. A command is
  `{:reply, frame}`, `{:send, conn, frame}`, `{:broadcast, frame}`, `{:publish, topic, frame}`, `{:subscribe, topic}`, `{:close, code, reason}` and
  some more. A frame that comes is `{:json, term}`, `{:text, text}` (with `format: :raw`) or `{:binary, binary}`.
  """

  @doc false
  defmacro __using__(_options) do
    quote do
      @behaviour :sockeye_handler

      @impl :sockeye_handler
      def init(argument), do: {:ok, argument}

      defoverridable init: 1
    end
  end
end
