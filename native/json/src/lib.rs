//! JSON text to Erlang external term format.
